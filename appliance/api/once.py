"""A request that is repeated under a key of its own is done once, and answered alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header

from appliance.api import wire
from appliance.api.auth import Principal
from appliance.api.respond import Json
from appliance.api.state import Api
from appliance.store import principals
from appliance.store.engine import Connection

Key = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="A key of your own: a request that is repeated under it is done once.",
    ),
]


def once(api: Api, who: Principal, key: str | None, digest: str, make: Callable[[Connection], dict[str, Any]]) -> Json:
    """The answer of ``make``, which stores what it stores in the same transaction as the answer under that key.

    ``digest`` is over the whole request: the same key with another one is KeyReused.
    """
    with api.transaction() as connection:
        known = None if key is None else principals.recall(connection, who.owner, key, digest)
        # Told as it will be remembered: a time looks the same in both answers.
        made = json.loads(wire.to_bytes(make(connection))) if known is None else known
        if key is not None and known is None:
            principals.remember(connection, who.owner, key, digest, made)
    response = Json(made)
    if known is not None:
        response.headers["idempotent-replay"] = "true"
    return response
