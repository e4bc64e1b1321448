"""The description of the API (OpenAPI 3.1), made from the profiles that are served at this moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from appliance.api import schema
from appliance.api.auth import Needs
from appliance.api.problems import MEDIA_TYPE, TITLES
from appliance.profile import Profile
from appliance.serving import Models, Served

DESCRIPTION = """\
Which machine is heading for failure, why, and what to do.

Every request but the two below `/health` and this page needs a token (`Authorization: Bearer TOKEN`), made by
`appliance token create`, or the cookie of a person who signed in at `/sign-in`. The role of either decides what it may.
What changes something by a cookie has to come from a page of ours (`Origin`), or from a program that says so with the
header `X-Appliance-Request: 1`. A station says who stands before it with `X-Appliance-Person`. Every error is a problem document (RFC 9457) with a stable `code` and a `way_out`.
An answer that says `stored` is durable. Unknown parameters and fields are refused.
"""

_PROBLEM = {
    "type": "object",
    "description": "What went wrong, and what to do about it (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code", "way_out", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, in one sentence."},
        "code": {"type": "string", "description": "Stable, for programs.", "examples": sorted(TITLES)},
        "way_out": {"type": "string", "description": "What to do about it."},
        "instance": {"type": "string"},
    },
}
_CURVE = {"type": "string", "description": "A reading: the answer tells what becomes of the row over its range."}
_ERROR = {
    "description": "A problem document.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


class Description:
    """Made again whenever another set of bundles serves."""

    def __init__(self, app: FastAPI, models: Models) -> None:
        self._app = app
        self._models = models
        self._made: tuple[tuple[tuple[str, str], ...], dict[str, Any]] | None = None

    def whole(self) -> dict[str, Any]:
        """With the bodies of the profiles that are served."""
        served = self._models.all()
        key = tuple((one.profile.name, one.version) for one in served)
        if self._made is None or self._made[0] != key:
            self._made = (key, _describe(self._app, served))
        return self._made[1]


def general(app: FastAPI) -> dict[str, Any]:
    """Without anything about this plant: what may be shown to who has no token."""
    return _describe(app, [])


def _describe(app: FastAPI, served: Sequence[Served]) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _PROBLEM
    for route in app.routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods:
            operation = document["paths"][route.path_format][method.lower()]
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = _ERROR
            role = _role(route)
            if role is None:
                operation["security"] = []
            else:
                operation["x-role"] = role
                operation["description"] = f"{operation.get('description', '')}\n\nRole: {role}.".strip()
    profiles = [one.profile for one in served]
    document["paths"]["/predict"]["post"]["requestBody"] = _predict_body(profiles, schemas)
    document["paths"]["/explain"]["post"]["requestBody"] = _explain_body(profiles, schemas)
    return document


def _predict_body(profiles: Sequence[Profile], schemas: dict[str, Any]) -> dict[str, Any]:
    """One schema a profile: a row of one is none of another."""
    names = []
    for profile in profiles:
        model = schema.body_model(profile)
        whole = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= whole.pop("$defs", {})
        schemas[model.__name__] = whole
        names.append(model.__name__)
    references = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    body = references[0] if len(references) == 1 else {"oneOf": references} if references else {"type": "object"}
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": body,
                "examples": {p.name: {"summary": p.title, "value": schema.example(p)} for p in profiles},
            },
            "text/csv": {
                "schema": {"type": "string", "description": "As the machine writes it; the profile says how."},
                "examples": {p.name: {"summary": p.title, "value": schema.example_csv(p)} for p in profiles},
            },
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
        },
    }


def _explain_body(profiles: Sequence[Profile], schemas: dict[str, Any]) -> dict[str, Any]:
    """A stored prediction, or a row of one of the profiles; their rows are described with ``POST /predict``."""
    schemas["ExplainPrediction"] = {
        "type": "object",
        "title": "A stored prediction",
        "additionalProperties": False,
        "required": ["prediction_id"],
        "properties": {"prediction_id": {"type": "integer", "minimum": 1}, "curve": _CURVE},
    }
    names = ["ExplainPrediction"]
    for profile in profiles:
        model = schema.explain_model(profile)
        whole = model.model_json_schema(ref_template="#/components/schemas/{model}")
        whole.pop("$defs", {})
        schemas[model.__name__] = whole
        names.append(model.__name__)
    examples = {p.name: {"summary": f"Try out a row: {p.title}", "value": schema.explain_example(p)} for p in profiles}
    examples["prediction"] = {"summary": "A stored prediction", "value": {"prediction_id": 1}}
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]},
                "examples": examples,
            }
        },
    }


def _role(route: APIRoute) -> str | None:
    """The role that a route asks for; None where everybody may."""
    pending = [route.dependant]
    while pending:
        dependant = pending.pop()
        if isinstance(dependant.call, Needs):
            return dependant.call.role
        pending += dependant.dependencies
    return None
