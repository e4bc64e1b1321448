# ruff: noqa: S608  (statements are put together from names of our own; values are bound)
"""What predicts and what is predicted: profiles, machines, models, and the state of each machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from psycopg2.extras import execute_values
from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from appliance.errors import NotFound
from appliance.names import is_demo
from appliance.profile import Profile
from appliance.store import known
from appliance.store import tables as t
from appliance.store.engine import cursor, storable, to_json
from appliance.store.rows import MachineState

_STATE = [field.name for field in fields(MachineState)]
_LATER = _STATE[2:]  # all but the machine and its recent rows, which are JSON
_LOCK_STATES = (
    f"SELECT {', '.join(_STATE)} FROM machine_state WHERE machine_id = ANY(%s) ORDER BY machine_id FOR UPDATE"
)
_SAVE_STATES = (
    f"INSERT INTO machine_state ({', '.join(_STATE)}) VALUES %s ON CONFLICT (machine_id) DO UPDATE SET"
    f" {', '.join(f'{name} = excluded.{name}' for name in _STATE[1:])}"
)


def ensure_profile(conn: Connection, profile: Profile) -> int:
    """The profile's id; its description is brought up to date."""
    p = t.profile.c
    digest = profile.hash()
    known = conn.execute(select(p.id).where(p.name == profile.name, p.hash == digest)).scalar()
    if known is not None:
        return int(known)
    values = {
        "title": profile.title,
        "hash": digest,
        "contract_hash": profile.contract_hash(),
        "document": profile.model_dump(mode="json", by_alias=True),
    }
    # An upsert takes a new number even where it updates, and smallint has few of them.
    changed = conn.execute(
        update(t.profile)
        .where(p.name == profile.name)
        .values(**values, updated_at=func.clock_timestamp())
        .returning(p.id)
    ).scalar()
    if changed is not None:
        return int(changed)
    statement = upsert(t.profile).values(name=profile.name, **values)
    statement = statement.on_conflict_do_update(index_elements=["name"], set_=values)
    return int(conn.execute(statement.returning(p.id)).scalar_one())


def ensure_machines(conn: Connection, profile_id: int, names: Iterable[str]) -> dict[str, int]:
    """The ids of those machines; new ones are made, also when two ask at the same time."""
    m = t.machine.c
    wanted = {name: storable(name) for name in names}
    seen: dict[str, int] = {}
    for name, stored in wanted.items():
        if (id_ := known.get(conn, ("machine", profile_id, stored))) is not None:
            seen[name] = id_
    if len(seen) == len(wanted):
        return seen
    mine = select(m.name, m.id).where(m.profile_id == profile_id, m.name.in_(set(wanted.values())))
    if any(map(is_demo, wanted)):
        # Simulated machines are removed one day: not before this transaction, which refers to them, has ended.
        mine = mine.order_by(m.id).with_for_update(read=True, key_share=True)

    def there() -> dict[str, int]:
        return {row.name: row.id for row in conn.execute(mine)}

    found = there()
    # In order, so that two that make the same machines wait for each other and do not lock each other out.
    if new := sorted(set(wanted.values()) - set(found)):
        values = [{"profile_id": profile_id, "name": name} for name in new]
        conn.execute(upsert(t.machine).values(values).on_conflict_do_nothing())
        found = there()
    for name, id_ in found.items():
        if not is_demo(name):
            known.learn(conn, ("machine", profile_id, name), id_)
    return {name: found[stored] for name, stored in wanted.items()}


def find_machines(conn: Connection, profile: str, names: Iterable[str]) -> dict[str, int]:
    """The ids of those of a profile's machines that are known; nothing is made."""
    wanted = {storable(name): name for name in names}
    query = (
        select(t.machine.c.name, t.machine.c.id)
        .join(t.profile, t.profile.c.id == t.machine.c.profile_id)
        .where(t.profile.c.name == profile, t.machine.c.name.in_(set(wanted)))
    )
    return {wanted[row.name]: row.id for row in conn.execute(query)}


def ensure_model(
    conn: Connection,
    profile_id: int,
    version: str,
    card: Mapping[str, Any],
    active: bool,
    features: Sequence[str] = (),
    modes: Sequence[str] = (),
) -> int:
    """The id of that version; with ``active`` it is the one of its profile that serves.

    ``features`` and ``modes`` name the elements of the arrays in its predictions, in order.
    """
    m = t.model.c
    found = _model_id(conn, profile_id, version)
    if found is None:
        values = {"profile_id": profile_id, "version": version, "card": dict(card)}
        values |= {"features": list(features), "modes": list(modes)}
        conn.execute(upsert(t.model).values(**values).on_conflict_do_nothing())
        found = conn.execute(select(m.id).where(m.profile_id == profile_id, m.version == version)).scalar_one()
    if active and not conn.execute(select(m.active).where(m.id == found)).scalar_one():
        set_active(conn, profile_id, version)
    return found


def set_active(conn: Connection, profile_id: int, version: str) -> None:
    """That version serves from now on, and no other of its profile. NotFound where it was never installed."""
    m = t.model.c
    # Two that activate at once would meet at the unique index; one after the other they do not.
    conn.execute(select(t.profile.c.id).where(t.profile.c.id == profile_id).with_for_update(key_share=True))
    found = _model_id(conn, profile_id, version)
    if found is None:
        raise NotFound(f"Model {version} is not known.", "`appliance model list` shows those that are.")
    conn.execute(update(t.model).where(m.profile_id == profile_id, m.active, m.id != found).values(active=False))
    conn.execute(
        update(t.model).where(m.id == found, ~m.active).values(active=True, activated_at=func.clock_timestamp())
    )


def lock_states(conn: Connection, machine_ids: Iterable[int]) -> dict[int, MachineState]:
    """The states of those machines, ours until the transaction ends; a machine without one gets it."""
    wanted = sorted(set(machine_ids))
    if not wanted:
        return {}
    if all(known.get(conn, ("state", machine_id)) for machine_id in wanted):
        locked = _locked(conn, wanted)
        if len(locked) == len(wanted):
            return locked
    s = t.machine_state.c
    # Made and locked in the order of ids: two that share machines wait, and never for each other.
    missing = [{"machine_id": machine_id} for machine_id in wanted]
    existing = set(conn.execute(select(s.machine_id).where(s.machine_id.in_(wanted))).scalars())
    if missing := [m for m in missing if m["machine_id"] not in existing]:
        conn.execute(upsert(t.machine_state).values(missing).on_conflict_do_nothing())
    for machine_id in wanted:
        known.learn(conn, ("state", machine_id), True)
    return _locked(conn, wanted)


def _locked(conn: Connection, machine_ids: list[int]) -> dict[int, MachineState]:
    with cursor(conn) as asked:
        asked.execute(_LOCK_STATES, (machine_ids,))
        states = [MachineState(*row) for row in asked.fetchall()]
    return {state.machine_id: state for state in states}


def read_states(conn: Connection, machine_ids: Iterable[int]) -> dict[int, MachineState]:
    """The states as they are, without a lock; machines without one are left out."""
    s = t.machine_state.c
    query = select(t.machine_state).where(s.machine_id.in_(set(machine_ids)))
    return {row.machine_id: _state(row) for row in conn.execute(query)}


def save_states(conn: Connection, states: Iterable[MachineState]) -> None:
    """Write back what :func:`lock_states` gave."""
    changed = [(s.machine_id, to_json(s.recent), *(getattr(s, name) for name in _LATER)) for s in states]
    if not changed:
        return
    with cursor(conn) as told:
        execute_values(told, _SAVE_STATES, changed)


def _model_id(conn: Connection, profile_id: int, version: str) -> int | None:
    m = t.model.c
    return conn.execute(select(m.id).where(m.profile_id == profile_id, m.version == version)).scalar()


def _state(row: Row[Any]) -> MachineState:
    return MachineState(**row._mapping)
