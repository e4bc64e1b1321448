"""What a screen needs to know about a kind of equipment to draw a form and to word an answer."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from appliance.api import schema
from appliance.api.auth import Viewer
from appliance.api.query import Name
from appliance.api.respond import Json
from appliance.api.state import State
from appliance.serving import Served

router = APIRouter(tags=["profiles"])


@router.get("/profiles", response_class=Json, summary="The profiles that are served")
def profiles(api: State, _: Viewer) -> Json:
    return Json({"items": [_short(served) for served in api.models.all()]})


@router.get("/profiles/{name}", response_class=Json, summary="A whole profile")
def profile(api: State, name: Name, _: Viewer) -> Json:
    """As in its TOML file, with the model that serves it, its threshold, the names of its features and an example."""
    served = api.models.get(name)
    return Json(
        {
            **served.profile.model_dump(mode="json", by_alias=True),
            **_short(served),
            "matrix_names": served.profile.matrix_names,
            "takes_machine": schema.takes_machine(served.profile),
            "takes_time": served.profile.time.from_ == "arrival",
            "hash": served.profile.hash(),
            "contract_hash": served.profile.contract_hash(),
            "example": schema.example(served.profile),
        }
    )


def _short(served: Served) -> dict[str, Any]:
    return {
        "name": served.profile.name,
        "title": served.profile.title,
        "description": served.profile.description,
        "model_version": served.version,
        "threshold": served.profile.threshold,
    }
