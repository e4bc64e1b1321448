"""A person tells what really happened: which alarm it is about, what was predicted, and the record that follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from appliance.alarms import Rule
from appliance.errors import NotFound, RequestError
from appliance.predict import NOBODY
from appliance.profile import Profile
from appliance.store import alarms as alarm_store
from appliance.store import cases, queries
from appliance.store import models as model_store
from appliance.store import outcomes as store
from appliance.store.engine import Connection
from appliance.store.queries import PredictionFilter
from appliance.store.rows import OutcomeKind


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody says. It is about an alarm, a prediction, or a machine of a profile: just one of them is given."""

    kind: OutcomeKind
    happened_at: datetime
    who: str
    note: str = ""
    alarm_id: int | None = None
    prediction_id: int | None = None
    machine: str | None = None
    profile: str | None = None


def tell(connection: Connection, told: Told, rules: Callable[[str], tuple[Profile, Rule] | None]) -> int:
    """Record it with a copy of what was predicted, and close the alarm that it answers; the outcome's id.

    ``rules`` gives the profile of a name and its rule for alarms, None where it is not served. NotFound, RequestError.
    """
    alarm, prediction = _meant(connection, told)
    machine_id, name = _machine(connection, told, alarm, prediction)
    profile, rule = rules(name[0]) or (None, None)
    # Before the alarms are looked at: whoever predicts rows of this machine holds the same lock.
    states = model_store.lock_states(connection, [machine_id])
    if alarm is None and told.kind != "missed_failure":
        alarm = _fitting(store.alarms_of(connection, machine_id), told, prediction, profile)
    _check(told, alarm, prediction, name)
    if prediction is None:
        prediction = _prediction(connection, told, alarm, name)
    if alarm is not None and alarm["closed_at"] is None:
        alarm_store.close(connection, alarm["id"], "outcome")
        state = states[machine_id]
        # What failed before it belongs to that episode: a new one begins with new rows, and after the usual pause.
        state.alarm_id, state.verdicts, state.calm = None, [], 0
        if rule is not None:
            quiet = (state.last_read_at or told.happened_at) + rule.cooldown
            state.cooldown_until = max(quiet, state.cooldown_until or quiet)
        model_store.save_states(connection, states.values())
    return alarm_store.record_outcome(
        connection,
        machine_id,
        told.happened_at,
        told.kind,
        told.who,
        told.note,
        _copy(alarm, prediction),
        None if alarm is None else alarm["id"],
    )


def record(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of :func:`appliance.store.outcomes.record` in figures and in a sentence."""
    words = ("alarms", "right", "false", "planned", "unanswered", "open", "missed")
    sums: dict[str, Any] = {word: sum(row[word] for row in rows) for word in words}
    return sums | {"sentence": _sentence(sums)}


def _sentence(sums: Mapping[str, int]) -> str:
    """``9 alarms, 7 right, 1 missed, 1 open``"""
    if not sums["alarms"] and not sums["missed"]:
        return "No alarms, and no missed failures."
    said = [f"{sums['alarms']:,} alarm{'' if sums['alarms'] == 1 else 's'}", f"{sums['right']:,} right"]
    said += [f"{sums['false']:,} false"] if sums["false"] else []
    said += [f"{sums['planned']:,} before planned work"] if sums["planned"] else []
    said += [f"{sums['missed']:,} missed"]
    said += [f"{sums['unanswered']:,} of which nobody told"] if sums["unanswered"] else []
    said += [f"{sums['open']:,} open"] if sums["open"] else []
    return f"{', '.join(said)}."


def _meant(connection: Connection, told: Told) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The alarm and the prediction that are named."""
    named = [value for value in (told.alarm_id, told.prediction_id, told.machine) if value is not None]
    if len(named) != 1:
        raise RequestError(
            "It is not clear what this is about.", "Give one of alarm_id, prediction_id and machine, and no other."
        )
    alarm = prediction = None
    if told.alarm_id is not None:
        alarm = store.alarm(connection, told.alarm_id)
        if alarm is None:
            raise NotFound(f"There is no alarm {told.alarm_id}.")
    if told.prediction_id is not None:
        prediction = queries.prediction(connection, told.prediction_id)
    return alarm, prediction


def _machine(
    connection: Connection, told: Told, alarm: dict[str, Any] | None, prediction: dict[str, Any] | None
) -> tuple[int, tuple[str, str]]:
    """The machine's id, and the names of its profile and its own."""
    if alarm is not None:
        return alarm["machine_id"], (alarm["profile"], alarm["machine"])
    profile, name = (told.profile or "", told.machine or "")
    if prediction is not None:
        profile, name = prediction["profile"], prediction["machine"]
        if name == NOBODY:
            raise RequestError(
                f"Prediction {prediction['id']} answered a question and is of no machine.", "Name the machine instead."
            )
    found = None if name == NOBODY else cases.machine_id(connection, profile, name)
    if found is None:
        raise NotFound(f"There is no machine {name!r} of profile {profile!r}.", "GET /machines lists those there are.")
    return found, (profile, name)


def _fitting(
    alarms: Sequence[dict[str, Any]], told: Told, prediction: dict[str, Any] | None, profile: Profile | None
) -> dict[str, Any] | None:
    """The alarm that this answers: the open one, unless it began later; for a failure also one that calmed down and said
    that the machine would fail within just this time."""
    for alarm in alarms:
        if prediction is not None:
            first = alarm["first_prediction_id"]
            begun = first is not None and first <= prediction["id"]
        else:
            begun = alarm["opened_at"] <= told.happened_at
        if alarm["closed_at"] is None and begun:
            return alarm
    hours = profile.words.horizon_hours if profile is not None else None
    if told.kind == "failure" and hours is not None:
        since = told.happened_at - timedelta(hours=hours)
        for alarm in alarms:
            if alarm["kind"] is None and since <= alarm["last_seen_at"] <= told.happened_at:
                return alarm
    return None


def _check(told: Told, alarm: dict[str, Any] | None, prediction: dict[str, Any] | None, name: tuple[str, str]) -> None:
    if told.kind == "missed_failure" and alarm is not None:
        raise RequestError(
            f"Alarm {alarm['id']} was given, so this failure was not missed.", "Say failure, or leave the alarm out."
        )
    if told.kind == "failure" and alarm is not None and told.happened_at < alarm["opened_at"]:
        raise RequestError(
            f"Alarm {alarm['id']} began after this failure.",
            "Mend happened_at; a failure before any alarm is a missed_failure of the machine.",
        )
    if told.kind == "false_alarm" and alarm is None and not (prediction and prediction["failing"]):
        where = f"prediction {prediction['id']}" if prediction else f"machine {name[1]!r}"
        raise RequestError(
            f"There is no open alarm of {where} that could be false.", "Give the alarm_id of the one that was."
        )


def _prediction(
    connection: Connection, told: Told, alarm: dict[str, Any] | None, name: tuple[str, str]
) -> dict[str, Any] | None:
    """The row that the copy is made of: the one that began the alarm, else the machine's last one before it happened."""
    if alarm is not None:
        for prediction_id in (alarm["first_prediction_id"], alarm["last_prediction_id"]):
            if prediction_id is not None:
                try:
                    return queries.prediction(connection, prediction_id)
                except NotFound:
                    continue  # predictions do not stay for ever
    wanted = PredictionFilter(profile=name[0], machine=name[1], to=told.happened_at)
    found = queries.predictions(connection, wanted, 1)
    return queries.prediction(connection, found[0]["id"]) if found else None


def _copy(alarm: dict[str, Any] | None, prediction: dict[str, Any] | None) -> dict[str, Any] | None:
    """What was predicted, in a form that needs no other table: predictions and models may be gone one day."""
    if alarm is None and prediction is None:
        return None
    made: dict[str, Any] = {}
    if prediction is not None:
        made = {
            "prediction_id": prediction["id"],
            "predicted_at": prediction["predicted_at"],
            "read_at": prediction["read_at"],
            "model_version": prediction["model_version"],
            "probability": prediction["probability"],
            "failing": prediction["failing"],
            "threshold": prediction["card"].get("threshold"),
            "features": dict(zip(prediction["feature_names"], prediction["features"], strict=True)),
            "modes": dict(zip(prediction["mode_names"], prediction["modes"], strict=True)),
        }
    if alarm is not None:
        made["alarm"] = {
            "opened_at": alarm["opened_at"],
            "probability": alarm["probability"],
            "title": alarm["details"].get("title"),
            "text": alarm["details"].get("text"),
        }
    return made
