"""A request to explain, from its body to its answer. Nothing is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from appliance import scored
from appliance.api import bodies, query, stored, wire
from appliance.api.state import Api
from appliance.api.wire import Ask
from appliance.errors import BundleRefused, NotFound, RequestError
from appliance.explain import row as rows
from appliance.explain.likeness import Case
from appliance.names import is_demo
from appliance.predict import NOBODY
from appliance.profile import MACHINE, Profile
from appliance.serving import Served
from appliance.store import cases, queries
from appliance.store import models as model_store
from appliance.store.engine import Connection
from appliance.store.rows import MachineState

_KEYS = {"prediction_id", "curve"}, {"profile", "row", "machine", "time", "curve"}


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be explained: a stored prediction, or a row that is nobody's reading yet."""

    prediction_id: int | None
    profile: str | None
    body: bytes  # the row as POST /predict takes it
    curve: str | None


def read(body: bytes) -> Question:
    """RequestError where it is no question."""
    document = wire.parse_json(body)
    if not isinstance(document, dict) or ("prediction_id" in document) == ("row" in document):
        raise RequestError(
            "The body is no object with either prediction_id or row.",
            'Send {"prediction_id": 17}, or {"profile": "...", "row": {...}}; see GET /openapi.json.',
        )
    known = _KEYS["row" in document]
    if unknown := sorted(set(document) - known):
        raise RequestError(
            f"The body has a key {unknown[0][:100]!r} that is not known here.", f"Known are {', '.join(sorted(known))}."
        )
    for name in ("profile", "machine", "time", "curve"):
        if document.get(name) is not None and not isinstance(document[name], str):
            raise RequestError(f"The key {name} holds no text.", "See GET /openapi.json.")
    given = {name: document[name] for name in ("machine", "time") if document.get(name) is not None}
    question = {"rows": [document.get("row")], **given}
    return Question(_id(document), document.get("profile"), json.dumps(question).encode(), document.get("curve"))


def answer(api: Api, question: Question) -> dict[str, Any]:
    """The explanation, in one or two short transactions that only read."""
    if question.prediction_id is not None:
        return _of_prediction(api, question.prediction_id, question.curve)
    return _of_row(api, question)


def _of_prediction(api: Api, prediction_id: int, curve: str | None) -> dict[str, Any]:
    with api.transaction() as connection:
        found = queries.prediction(connection, prediction_id)
    served = _version(api, found)
    profile = served.profile
    named = found["machine"] != NOBODY
    before: list[dict[str, Any]] = []
    with api.transaction() as connection:
        if named:
            most, windows = max(1, profile.history_rows), profile.history_rows > 0
            before = cases.earlier(connection, found, most, features=windows)
        past = _cases(connection, profile, found["machine"], prediction_id)
    history = [(one["read_at"], one["features"]) for one in before if "features" in one]
    row = rows.of_features(profile, found["features"], found["read_at"], history)
    said = served.explainer().explain(row, past, curve)
    return {
        "prediction_id": prediction_id,
        "machine": found["machine"] if named else None,
        "read_at": found["read_at"],
        "previous": stored.short(api.models, before[0]) if before else None,
        **said,
    }


def _of_row(api: Api, question: Question) -> dict[str, Any]:
    served = api.models.get(question.profile)
    profile = served.profile
    ask = Ask(question.profile, None, None, "json", "json", None, "")
    checked = bodies.read_rows(question.body, ask, profile, datetime.now(UTC), api.settings.timezone)
    if (refusal := bodies.refusal(checked, "json")) is not None:
        raise refusal
    name = checked.good[MACHINE].item() or NOBODY
    with api.transaction() as connection:
        state = _state(connection, profile, name)
        past = _cases(connection, profile, name)
    row = rows.of_readings(profile, checked.good, _history(profile, state))
    said = served.explainer().explain(row, past, question.curve)
    return {
        "prediction_id": None,
        "machine": None if name == NOBODY else name,
        "read_at": None,
        "previous": _last(profile, state),
        **said,
    }


def _id(document: Mapping[str, Any]) -> int | None:
    if "row" in document:
        if not isinstance(document["row"], dict):
            raise RequestError("The key row holds no object.", "See GET /openapi.json.")
        return None
    value = document["prediction_id"]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= query.BIGINT:
        raise RequestError("The key prediction_id holds no id.", "Ids are whole numbers from 1 on.")
    return value


def _version(api: Api, found: Mapping[str, Any]) -> Served:
    """The very model that made a prediction, whether it still serves or not."""
    try:
        served = api.models.version(found["profile"], found["model_version"])
    except NotFound as error:
        raise NotFound(
            f"Prediction {found['id']} cannot be explained: its model {found['model_version']} is not installed any more.",
            error.way_out,
        ) from None
    if tuple(found["feature_names"]) != served.profile.matrix_names:
        raise BundleRefused("explain", f"Prediction {found['id']} holds other features than its model has.")
    return served


def _cases(connection: Connection, profile: Profile, machine: str, but: int | None = None) -> list[Case]:
    """Past rows whose end is known, the newest first, each once; ``but`` is the prediction that is asked about.

    What a simulator played says nothing about a real machine.
    """
    found: dict[Any, Case] = {}
    simulated = is_demo(machine)
    told = cases.told(connection, profile.name, simulated=simulated)
    for row in (*told, *cases.calmed(connection, profile.name, simulated=simulated)):
        # Who corrects what was told before means the same row.
        found.setdefault(row["prediction_id"], Case(row.pop("features"), row))
    return [case for prediction_id, case in found.items() if but is None or prediction_id != but]


def _state(connection: Connection, profile: Profile, name: str) -> MachineState | None:
    """What is known of a machine that a question names; it need not exist yet."""
    machine = None if name == NOBODY else cases.machine_id(connection, profile.name, name)
    return None if machine is None else model_store.read_states(connection, [machine]).get(machine)


def _history(profile: Profile, state: MachineState | None) -> pl.DataFrame | None:
    return None if state is None else scored.history_of(profile, {state.machine_id: state}, {state.machine_id: NOBODY})


def _last(profile: Profile, state: MachineState | None) -> dict[str, Any] | None:
    if state is None or state.last_id is None or state.last_failing is None:
        return None
    return {
        "id": state.last_id,
        "read_at": state.last_read_at,
        "predicted_at": state.last_predicted_at,
        "probability": state.last_probability,
        "failing": state.last_failing,
        "verdict": profile.words.failing if state.last_failing else profile.words.passing,
    }
