"""Installed models, and which one serves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from appliance import bundle, signing
from appliance.api.auth import Engineer, Principal, Viewer
from appliance.api.query import Name, ProfileName
from appliance.api.respond import Json
from appliance.api.state import Api, State
from appliance.bundle import Bundle
from appliance.bundle_check import CARD_TEXT
from appliance.errors import NotFound, RequestError
from appliance.store import journal, queries
from appliance.store import models as store

log = logging.getLogger(__name__)
router = APIRouter(tags=["models"])


@router.get("/models", response_class=Json, summary="Installed models")
def models(api: State, _: Viewer, profile: ProfileName = None) -> Json:
    """By profile, the newest first: the card's figures, which one serves, and since when. A model that cannot be trusted
    says why."""
    shelf = api.settings.models
    names = bundle.profiles(shelf) if profile is None else [_known(api, profile)]
    with api.transaction() as connection:
        used = {(row["profile"], row["version"]): row for name in names for row in queries.models(connection, name)}
    keys = signing.trusted_keys(api.settings.keys)
    serving = {served.profile.name: served.version for served in api.models.all()}
    items: list[dict[str, Any]] = []
    for name in names:
        for installed in reversed(bundle.overview(shelf, name, keys)):
            row = used.get((name, installed.version), {})
            items.append(
                {
                    "profile": name,
                    "version": installed.version,
                    "active": installed.active,
                    "serving": serving.get(name) == installed.version,
                    "activated_at": row.get("activated_at"),
                    "problem": installed.problem or None,
                    "card": installed.card,
                }
            )
    return Json({"items": items})


@router.get(
    "/models/{version}/card",
    response_class=Response,
    responses={200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}},
    summary="A model's card, as text for people",
)
def card(api: State, version: Name, _: Viewer, profile: ProfileName = None) -> Response:
    """Out of its signed bundle; one that cannot be trusted is refused."""
    return Response(_document(api, profile, version, CARD_TEXT), media_type="text/markdown; charset=utf-8")


@router.get(
    "/models/{version}/plots/{plot}",
    response_class=Response,
    responses={200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}},
    summary="A plot of a model's card",
)
def plot(api: State, version: Name, plot: Name, _: Viewer, profile: ProfileName = None) -> Response:
    """A PNG out of its signed bundle: `precision_recall`, `calibration` or `importance`. A bundle that cannot be trusted
    is refused."""
    return Response(_document(api, profile, version, f"{plot}.png"), media_type="image/png")


@router.post("/models/{version}/activate", response_class=Json, summary="Let a model serve")
def activate(api: State, version: Name, who: Engineer, profile: ProfileName = None) -> Json:
    """It is verified and loaded before the present one is let go; requests under way are not disturbed."""
    name = _profile(api, profile)
    shelf = api.settings.models
    _demand(api, name, version)
    return _switch(api, who, "activated", lambda keys: bundle.activate(shelf, name, version, keys))


@router.post("/models/rollback", response_class=Json, summary="Let the model serve that served before")
def rollback(api: State, who: Engineer, profile: ProfileName = None) -> Json:
    name = _profile(api, profile)
    return _switch(api, who, "rolled back to", lambda keys: bundle.rollback(api.settings.models, name, keys))


def _document(api: Api, profile: str | None, version: str, file: str) -> bytes:
    name = _holder(api, version) if profile is None else _known(api, profile)
    _demand(api, name, version)
    found = bundle.documents(api.settings.models, name, version, signing.trusted_keys(api.settings.keys))
    if file not in found:
        raise NotFound(f"A model has no {file[:100]!r}.", f"It has {', '.join(sorted(found))}.")
    return found[file]


def _holder(api: Api, version: str) -> str:
    """The profile of a version, which tells it by itself unless two have one of the same name."""
    shelf = api.settings.models
    names = [name for name in bundle.profiles(shelf) if version in bundle.installed(shelf, name)]
    if not names:
        raise NotFound(f"There is no model {version!r}.", "GET /models lists them.")
    return names[0] if len(names) == 1 else _profile(api, None)


def _demand(api: Api, name: str, version: str) -> None:
    installed = bundle.installed(api.settings.models, name)
    if version not in installed:
        known = ", ".join(installed)
        raise NotFound(f"There is no model {version!r} of profile {name!r}.", f"Installed are {known or 'none'}.")


def _switch(api: Api, who: Principal, verb: str, switch: Callable[[Any], Bundle]) -> Json:
    # The row first: without a database the pointer stays where it is, and nobody wonders who moved it.
    with api.transaction() as connection:
        chosen = switch(signing.trusted_keys(api.settings.keys))
        name, version = chosen.profile.name, chosen.version
        profile_id = store.ensure_profile(connection, chosen.profile)
        store.ensure_model(
            connection,
            profile_id,
            version,
            chosen.card,
            active=True,
            features=chosen.profile.matrix_names,
            modes=[mode.name for mode in chosen.profile.modes],
        )
        store.set_active(connection, profile_id, version)
        said = f"{who.noted} {verb} model {version} of profile {name}."
        journal.event(connection, "model_active", "info", said, {"version": version, "by": who.noted}, profile_id)
    log.info("%s", said)
    api.refresh()
    return Json({"profile": name, "version": version, "active": True})


def _profile(api: Api, profile: str | None) -> str:
    """The profile that is meant: the only one with models, where none is named."""
    if profile is not None:
        return _known(api, profile)
    names = bundle.profiles(api.settings.models)
    if len(names) != 1:
        listed = ", ".join(names)
        raise RequestError("It is not clear which profile is meant.", f"Say ?profile= with one of {listed or 'none'}.")
    return names[0]


def _known(api: Api, profile: str) -> str:
    names = bundle.profiles(api.settings.models)
    if profile not in names:
        raise NotFound(f"There is no model of a profile {profile[:100]!r}.", f"There are {', '.join(names) or 'none'}.")
    return profile
