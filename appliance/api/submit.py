"""A request to predict, from its body to its answer: one transaction, one result a key."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from appliance.api import answer, wire
from appliance.api.auth import Principal
from appliance.api.state import Api
from appliance.api.wire import Ask, Format
from appliance.predict import predict_rows
from appliance.store import principals
from appliance.store.engine import Connection


@dataclass(frozen=True, slots=True)
class Answer:
    """``rejected`` rows are counted in a header too, since CSV and Parquet have no other place for it."""

    content: bytes
    format: Format
    rejected: int
    replayed: bool = False


def submit(api: Api, who: Principal, ask: Ask, body: bytes) -> Answer:
    """Check, predict and store; nothing is answered that is not committed. Any error leaves nothing stored."""
    if ask.key is None:
        return _predicted(api, who, ask, body, None)
    # The key comes first: what was answered once is answered again, whichever model serves by now.
    with api.transaction() as connection:
        known = principals.recall(connection, who.owner, ask.key, ask.digest)
        if known is not None:
            return _unpacked(known)
        made = _predicted(api, who, ask, body, connection)
        principals.remember(connection, who.owner, ask.key, ask.digest, _packed(made))
    return made


def _predicted(api: Api, who: Principal, ask: Ask, body: bytes, connection: Connection | None) -> Answer:
    served = api.models.get(ask.profile)
    rows = wire.read_rows(body, ask, served.profile, datetime.now(UTC), api.settings.timezone)
    api.metrics.refused_rows(served.profile.name, rows.bad)
    wire.demand(rows, ask.format)
    if connection is None:
        with api.transaction() as own:
            done = predict_rows(own, served, rows.good, who.source, api.settings)
    else:
        done = predict_rows(connection, served, rows.good, who.source, api.settings)
    failing = int(done.scores.failing.sum())
    api.metrics.predicted(served.profile.name, who.source, rows.good.height, failing)
    return Answer(answer.render(served, done, rows, who.source, ask.accept), ask.accept, rows.bad)


def _packed(made: Answer) -> dict[str, Any]:
    content = base64.b64encode(gzip.compress(made.content, compresslevel=1, mtime=0)).decode("ascii")
    return {"content": content, "format": made.format, "rejected": made.rejected}


def _unpacked(known: Mapping[str, Any]) -> Answer:
    content = gzip.decompress(base64.b64decode(known["content"]))
    return Answer(content, known["format"], known["rejected"], replayed=True)
