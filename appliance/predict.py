"""Validated rows -> stored predictions, machine states and alarms, in the transaction of the caller.

The order matters for others who wait: rows that need no history are scored before any machine is locked, and those of a
file are stored before that too, so that a hundred thousand rows do not hold up a single reading of the same machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance import alarms, drift_count, features, scored
from appliance.ahead import Ahead, work_out
from appliance.outputs import read_part
from appliance.profile import MACHINE, ROW, TIME, Profile
from appliance.reasons import reason
from appliance.scored import Scored
from appliance.serving import Models, Served
from appliance.settings import Settings
from appliance.store import alarms as alarm_store
from appliance.store import known, parts, writer
from appliance.store import models as model_store
from appliance.store.engine import Connection
from appliance.store.rows import LATE, Batch, MachineState, Source

# A machine that nobody named: rows of a person's check. It has no state and no alarms.
NOBODY = "-"


@dataclass(frozen=True, slots=True)
class Predicted(Scored):
    """What was stored: ids run from ``first_id`` in the order of the rows."""

    first_id: int
    model_id: int
    predicted_at: datetime

    def slice(self, start: int, rows: int) -> Self:
        # The plain super() is of the class that slots=True replaced.
        return replace(super(Predicted, self).slice(start, rows), first_id=self.first_id + start)


@dataclass(frozen=True, slots=True)
class PartDone:
    part_id: int
    rows: int
    failing: int
    already: bool


def predict_part(
    connection: Connection, models: Models, part_id: int, settings: Settings, ahead: Ahead | None = None
) -> PartDone:
    """Score one waiting part and mark it; Conflict where another holds it. A part is never scored twice.

    ``ahead`` works at the next part of its file while this one is stored.
    """
    part = parts.lock_part(connection, part_id)
    if part.state == "predicted":
        return PartDone(part_id, part.rows, 0, already=True)
    served = models.get(part.profile)
    found: Scored | None = None
    if served.profile.history_rows:
        frame = read_part(settings.data_dir / part.good_path, part.start, part.rows)
    else:
        frame, found = (ahead and ahead.take(served, part_id)) or work_out(served, part, settings)
        if ahead is not None and (following := parts.following(connection, part)) is not None:
            ahead.begin(served, following, settings)
    done = predict_rows(connection, served, frame, "scheduled", settings, file_id=part.file_id, found=found)
    failing = int(done.scores.failing.sum())
    last_id = done.first_id + part.rows - 1
    parts.part_predicted(connection, part_id, part.rows, failing, done.model_id, done.first_id, last_id)
    return PartDone(part_id, part.rows, failing, already=False)


def predict_rows(
    connection: Connection,
    served: Served,
    frame: pl.DataFrame,
    source: Source,
    settings: Settings,
    *,
    file_id: int | None = None,
    before: pl.DataFrame | None = None,
    found: Scored | None = None,
) -> Predicted:
    """Score rows that passed the contract and store them with the features used.

    ``before``: earlier rows of the same file, for windows, as :func:`appliance.features.carried` gives them. ``found``: the
    scores of these rows, where they are known already.

    ``frame`` is of the shape that :mod:`appliance.quality` gives. Rows of the web application are somebody's question,
    not a reading: they move neither the state of a machine nor its alarms.
    """
    profile = served.profile
    profile_id, model_id = _known_ids(connection, served)
    machine_ids, names = _machines(connection, profile_id, frame)
    named = sorted(id_ for id_, name in names.items() if name != NOBODY)
    moves = source != "webapp"
    states: dict[int, MachineState] = {}
    if profile.history_rows:
        states = _states(connection, named, moves)
    if found is None:
        history = scored.history_of(profile, states, names)
        if before is not None:
            history = features.carried(profile, history, before)
        found = scored.score(served, frame, history, settings.chunk_rows)
    scores = found.scores
    # Storing the rows of a file takes long, and needs only to know what was predicted up to now.
    locks_last = file_id is not None and not profile.history_rows
    if moves and not profile.history_rows:
        states = _states(connection, named, moves and not locks_last)
    read_at = frame[TIME].cast(pl.Int64).to_numpy().astype("datetime64[us]")
    late = _late(machine_ids, read_at, states)
    flags = (late * LATE | found.flags).astype(np.int16)
    batch = Batch(
        profile_id=profile_id,
        model_id=model_id,
        source=source,
        file_id=file_id,
        machine_ids=machine_ids,
        read_at=read_at,
        rows=frame[ROW].to_numpy().astype(np.int32) if file_id is not None else None,
        probability=scores.probability,
        failing=scores.failing,
        flags=flags,
        features=found.features,
        modes=scores.modes,
    )
    first_id, predicted_at = writer.write_predictions(connection, batch)
    if file_id is not None:
        drift_count.count(connection, served, batch, predicted_at)
    done = Predicted(scores, flags, found.features, found.frame, first_id, model_id, predicted_at)
    if moves:
        if locks_last:
            states = _states(connection, named, moves)
            late = _late(machine_ids, read_at, states)
        rule = alarm_rule(profile, settings)
        moved = [
            _follow_machine(connection, profile, rule, states[machine], done, machine_ids == machine, late, read_at)
            for machine in named
        ]
        model_store.save_states(connection, moved)
    return done


def alarm_rule(profile: Profile, settings: Settings) -> alarms.Rule:
    """The profile's rule, where the settings of this box say nothing else."""
    rule = alarms.Rule.of(profile.alarms)
    minutes = settings.alarm_cooldown_minutes
    return replace(
        rule,
        needed=min(settings.alarm_needed or rule.needed, settings.alarm_window or rule.window),
        window=settings.alarm_window or rule.window,
        calm=settings.alarm_calm or rule.calm,
        cooldown=rule.cooldown if minutes is None else timedelta(minutes=minutes),
    )


def _follow_machine(
    connection: Connection,
    profile: Profile,
    rule: alarms.Rule,
    state: MachineState,
    done: Predicted,
    mine: NDArray[np.bool_],
    late: NDArray[np.bool_],
    read_at: NDArray[np.datetime64],
) -> MachineState:
    """Move one machine through its rows: alarms, the last reading, the rows that windows will need."""
    rows = np.flatnonzero(mine)
    rows = rows[np.argsort(read_at[rows], kind="stable")]
    recent = _recent(profile, state, done.frame, rows)
    # A late row is kept for windows, but it tells nothing about the machine of today.
    timely = rows[~late[rows]]
    if not len(timely):
        return replace(state, recent=recent)
    memory = alarms.Memory(tuple(state.verdicts), state.calm, state.alarm_id is not None, state.cooldown_until)
    memory, transitions = alarms.follow(rule, memory, done.scores.failing[timely], read_at[timely])
    alarm_id = _move_alarm(connection, profile, state, done, timely, transitions, read_at)
    last = int(timely[-1])
    return replace(
        state,
        recent=recent,
        verdicts=list(memory.recent),
        calm=memory.calm,
        alarm_id=alarm_id,
        cooldown_until=memory.quiet_until,
        last_id=done.first_id + last,
        last_probability=float(done.scores.probability[last]),
        last_failing=bool(done.scores.failing[last]),
        last_predicted_at=done.predicted_at,
        last_read_at=_moment(read_at[last]),
    )


def _move_alarm(
    connection: Connection,
    profile: Profile,
    state: MachineState,
    done: Predicted,
    timely: NDArray[np.int64],
    transitions: Sequence[alarms.Transition],
    read_at: NDArray[np.datetime64],
) -> int | None:
    """Write the episodes that these rows opened, carried on and closed; the one that is open in the end."""
    alarm_id, start = state.alarm_id, 0
    for transition in (*transitions, None):
        end = len(timely) if transition is None else transition.row + (transition.kind == "close")
        failing = timely[start:end][done.scores.failing[timely[start:end]]]
        if alarm_id is not None and len(failing):
            peak = float(done.scores.probability[failing].max())
            last = int(failing[-1])
            alarm_store.update_alarm(
                connection, alarm_id, _moment(read_at[last]), len(failing), peak, done.first_id + last
            )
        if transition is None:
            return alarm_id
        row = int(timely[transition.row])
        if transition.kind == "close":
            assert alarm_id is not None
            alarm_store.close(connection, alarm_id, "calm")
            alarm_id = None
        else:
            alarm_id = alarm_store.open_alarm(
                connection,
                state.machine_id,
                _moment(read_at[row]),
                rows=0,
                probability=float(done.scores.probability[row]),
                prediction_id=done.first_id + row,
                details=_why(profile, done, row),
            )
        start = transition.row + (transition.kind == "close")
    return alarm_id


def _why(profile: Profile, done: Predicted, row: int) -> dict[str, Any]:
    said = reason(profile, done.frame.row(row, named=True), done.scores.modes[row].tolist())
    return {"mode": said.mode, "title": said.title, "text": said.text, "action": said.action}


def store_ids(connection: Connection, served: Served) -> tuple[int, int]:
    """The ids of its profile and model; the store learns of them here, and that this version serves."""
    profile_id = model_store.ensure_profile(connection, served.profile)
    return profile_id, model_store.ensure_model(
        connection,
        profile_id,
        served.version,
        served.bundle.card,
        active=True,
        features=served.profile.matrix_names,
        modes=[mode.name for mode in served.profile.modes],
    )


def past(connection: Connection, profile: Profile, frame: pl.DataFrame) -> pl.DataFrame | None:
    """The stored rows that windows of these rows look back at; nothing is locked, and no machine is made."""
    names = [name for name in frame[MACHINE].unique().to_list() if name and name != NOBODY]
    ids = model_store.find_machines(connection, profile.name, names)
    states = model_store.read_states(connection, ids.values())
    return scored.history_of(profile, states, {id_: name for name, id_ in ids.items()})


def _known_ids(connection: Connection, served: Served) -> tuple[int, int]:
    """The same, asked once: which version serves is told to the store when it changes, not with each row."""
    key = ("served", served.profile.name, served.version)
    ids: tuple[int, int] | None = known.get(connection, key)
    if ids is None:
        ids = store_ids(connection, served)
        known.learn(connection, key, ids)
    return ids


def _machines(connection: Connection, profile_id: int, frame: pl.DataFrame) -> tuple[NDArray[np.int32], dict[int, str]]:
    """The machine of each row, as its id, and the names of these ids."""
    names = [name or NOBODY for name in frame[MACHINE].to_list()]
    ids = model_store.ensure_machines(connection, profile_id, sorted(set(names)))
    column = np.fromiter((ids[name] for name in names), np.int32, len(names))
    return column, {id_: name for name, id_ in ids.items()}


def _states(connection: Connection, machines: Sequence[int], moves: bool) -> dict[int, MachineState]:
    """Locked by those who will move them; a question only reads them, and waits for nobody."""
    look = model_store.lock_states if moves else model_store.read_states
    return look(connection, machines)


def _recent(
    profile: Profile, state: MachineState, frame: pl.DataFrame, rows: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """The last rows of a machine: as many as windows need, and at least the last reading, which forms start from."""
    keep = max(profile.history_rows, 1)
    columns = [frame[TIME], *(frame[c.name] for c in profile.with_role("reading") if c.name in frame.columns)]
    new = [{column.name: column[row] for column in columns} for row in rows[-keep:].tolist()]
    for row in new:
        row[TIME] = row[TIME].isoformat()
    # Late rows come in between; ties keep the order in which they came. ISO texts of one zone sort as their times.
    return sorted([*state.recent, *new], key=lambda row: datetime.fromisoformat(row[TIME]))[-keep:]


def _late(
    machine_ids: NDArray[np.int32], read_at: NDArray[np.datetime64], states: Mapping[int, MachineState]
) -> NDArray[np.bool_]:
    late = np.zeros(len(machine_ids), dtype=np.bool_)
    for machine, state in states.items():
        if state.last_read_at is not None:
            last = np.datetime64(state.last_read_at.astimezone(UTC).replace(tzinfo=None), "us")
            late |= (machine_ids == machine) & (read_at < last)
    return late


def _moment(value: np.datetime64) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(value.astype("datetime64[us]").astype(np.int64)))
