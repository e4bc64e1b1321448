"""Rows that make the condition of an alert true, for a drill; and the way to be rid of them.

They can be mistaken for nothing else: their profiles bear names that no profile can have, their ids are below zero (or,
for a pass of the schedule or a backup, which has to be the newest, beyond all that a sequence will ever give), and no sequence moves.
Who drills holds a lock of the session for as long as there are any. So whoever finds such rows and gets the lock has
found what a killed drill left, and removes it: :func:`sweep`, once a minute by the API.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, text

from appliance.errors import Conflict
from appliance.store.engine import transaction, unlock

# A colon is in no name of a profile.
MARK = "drill:"

_LOCK = 0x6472696C6C  # "drill"
_NEWEST_RUN = 1 << 62
_HOUR, _DAY = 3600.0, 86_400.0


@contextmanager
def only_one(engine: Engine) -> Iterator[Connection]:
    """A session with the lock of drills; Conflict where another has it. Whoever is killed loses it at once."""
    with transaction(engine) as connection:
        mine = connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}).scalar_one()
        connection.commit()
        if not mine:
            raise Conflict("A drill of alerts is under way.", "Wait for its end.")
        try:
            yield connection
        finally:
            unlock(connection, _LOCK)


def is_on(conn: Connection) -> bool:
    """Whether a drill is under way."""
    query = (
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND CAST(CAST(classid AS text) AS bigint) = :high AND CAST(CAST(objid AS text) AS bigint) = :low"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
    )
    found: bool = conn.execute(text(query), {"high": _LOCK >> 32, "low": _LOCK & 0xFFFFFFFF}).scalar_one()
    return found


def sweep(conn: Connection) -> bool:
    """Remove what a killed drill left; True where there was anything."""
    if not conn.execute(text(_ANY), {"newest": _NEWEST_RUN}).scalar_one():
        return False
    if not conn.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}).scalar_one():
        return False
    remove(conn)
    return True


def remove(conn: Connection) -> None:
    for statement in _REMOVE:
        conn.execute(text(statement), {"newest": _NEWEST_RUN} if ":newest" in statement else {})


def make(conn: Connection, rule: str) -> None:
    """Make the condition of that rule true: as this transaction sees it, and as all do once it is committed."""
    _MAKERS[rule](conn)


def may_act_as(conn: Connection, role: str) -> bool:
    """Whether there is such a reader of this database, and we may look through its eyes."""
    query = (
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role AND pg_has_role(oid, 'MEMBER')"
        " AND has_schema_privilege(oid, 'report', 'USAGE'))"
    )
    found: bool = conn.execute(text(query), {"role": role}).scalar_one()
    return found


def ask(conn: Connection, sql: str, role: str | None) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names of columns and rows of a statement as that role sees them (None: as we do), in this transaction."""
    if role is not None:
        conn.exec_driver_sql(f'SET LOCAL ROLE "{role}"')
    found = conn.exec_driver_sql(sql)
    names, rows = list(found.keys()), [tuple(row) for row in found]
    if role is not None:
        conn.exec_driver_sql("RESET ROLE")
    return names, rows


_ANY = (
    "SELECT EXISTS (SELECT FROM profile WHERE id < 0) OR EXISTS (SELECT FROM metric WHERE id < 0)"
    " OR EXISTS (SELECT FROM run WHERE id >= :newest) OR EXISTS (SELECT FROM backup WHERE id >= :newest)"
)
_REMOVE = (
    # What others may have said of it meanwhile, which would hold it.
    "DELETE FROM outbox WHERE file_id < 0",
    "DELETE FROM outcome WHERE machine_id < 0",
    "DELETE FROM part WHERE id < 0",
    "DELETE FROM file WHERE id < 0",
    "DELETE FROM arrival WHERE id < 0",
    "DELETE FROM drift WHERE id < 0",
    "DELETE FROM drift_reference WHERE model_id < 0",
    "DELETE FROM model WHERE id < 0",
    "DELETE FROM machine WHERE id < 0",
    "DELETE FROM profile WHERE id < 0",
    "DELETE FROM metric WHERE id < 0",
    "DELETE FROM run WHERE id >= :newest",
    "DELETE FROM backup WHERE id >= :newest",
)

_PROFILE = text(
    "INSERT INTO profile (id, name, title, hash, contract_hash, document) VALUES (:id, :name, 'Drill', :hash, :hash,"
    " jsonb_build_object('words', jsonb_build_object('failing', 'drill'), 'columns', jsonb_build_array()))"
)
_ARRIVAL = text(
    "INSERT INTO arrival (id, file_id, profile_id, origin, name, path, size, mtime_ns, device, inode, sha256,"
    " contract_hash, claim, arrived_at, day, state, cleared_at) SELECT :id, :id, :profile, 'drill', 'drill', 'drill', 0,"
    " 0, 0, 0, :hash, :hash, :hash, at, CAST(at AT TIME ZONE 'UTC' AS date), 'ingested', clock_timestamp()"
    " FROM (SELECT clock_timestamp() - make_interval(secs => :ago) AS at) AS made"
)
_FILE = text(
    "INSERT INTO file (id, arrival_id, profile_id, origin, name, sha256, contract_hash, arrived_at, day, state, rows_in,"
    " rows_good, rows_bad, criticality, good_path, bad_path, ingested_at) SELECT id, id, profile_id, origin, name, sha256,"
    " contract_hash, arrived_at, day, :state, :rows, :good, :bad, :criticality, :good_path, :bad_path, arrived_at"
    " FROM arrival WHERE id = :id"
)
_PREDICTED = text(
    "INSERT INTO part (id, file_id, number, start, rows, state, model_id, failing, first_id, last_id, predicted_at)"
    " VALUES (:id, :id, 1, 0, :rows, 'predicted', :model, :failing, :first, -1, clock_timestamp())"
)
# No pass takes it up: its turn comes when the drill is long over.
_WAITING = text(
    "INSERT INTO part (id, file_id, number, start, rows, state, next_try_at)"
    " VALUES (:id, :id, 1, 0, :rows, 'waiting', clock_timestamp() + interval '1 day')"
)
_MODEL = text(
    "INSERT INTO model (id, profile_id, version, card, active, activated_at) VALUES (:id, :id, 'drill',"
    " jsonb_build_object('created', CAST(clock_timestamp() - make_interval(days => :days) AS text),"
    " 'data', jsonb_build_object('rows', 1000),"
    " 'at_threshold', jsonb_build_object('true_alarms', 100, 'false_alarms', 0)), true, clock_timestamp())"
)
_MACHINE = text("INSERT INTO machine (id, profile_id, name) VALUES (:id, :id, 'drill')")
# Bins: below, two halves of the sample, above, missing.
_REFERENCE = text(
    "INSERT INTO drift_reference (model_id, position, name, first, edges, groups, counts, chance)"
    " VALUES (:id, 1, 'drill', 1, '{0,1,2}', '{1,1,2,2,3}', '{0,500,500,0,0}', 5)"
)
_DRIFT = text(
    "INSERT INTO drift (id, model_id, machine_id, day, rows, outside, counts) VALUES (:day - 3, :id, :id,"
    " CAST(clock_timestamp() AT TIME ZONE 'UTC' AS date) - :day, 1000, 0, '{0,0,1000,0,0}')"
)
_FIGURE = text(
    "INSERT INTO metric (id, at, name, value)"
    " VALUES (:id, clock_timestamp() + make_interval(secs => :ahead), :name, :value)"
)
_REQUESTS = text(
    "SELECT coalesce(sum(value), 0) FROM metric WHERE name = 'api_requests' AND at > now() - interval '10 minutes'"
)
# No pass sends it: the drill is over before its turn comes.
_COPY = text(
    "INSERT INTO outbox (id, layer, profile_id, file_id, day, path, created_at, next_try_at)"
    " VALUES (:id, 'good', :profile, :id, CAST(clock_timestamp() AS date), 'drill',"
    " clock_timestamp() - interval '2 days', clock_timestamp() + interval '100 minutes')"
)
_RUN = text(
    "INSERT INTO run (id, kind, started_at, finished_at, outcome, why) SELECT :id, 'ingest', at, at, 'skipped', 'drill'"
    " FROM (SELECT clock_timestamp() - interval '1 hour' AS at) AS made"
)
_DRILL_RUN = text(
    "INSERT INTO run (id, kind, started_at, finished_at, outcome, why) SELECT :id, 'drill', at, at, 'failed', 'drill'"
    " FROM (SELECT clock_timestamp() AS at) AS made"
)
# In a place that no setting can name.
_BACKUP = text(
    "INSERT INTO backup (id, name, place, made_at, bytes, sha256, revision)"
    " VALUES (:id, 'drill', 'drill', clock_timestamp() - interval '3 days', 0, :hash, 'drill')"
)
_NO_FIGURES = text(
    "UPDATE metric SET at = at - interval '1 hour' WHERE at > clock_timestamp() - interval '20 minutes'"
    " AND (starts_with(name, 'box_') OR starts_with(name, 'backlog_'))"
)


def _digest(number: int) -> str:
    return hashlib.sha256(f"drill {number}".encode()).hexdigest()


def _profile(conn: Connection, number: int, name: str) -> int:
    conn.execute(_PROFILE, {"id": -number, "name": f"{MARK}{name}", "hash": _digest(0)})
    return -number


def _file(conn: Connection, profile: int, good: int, bad: int, ago: float, *, which: int = 0) -> int:
    """The first or second file of a drill's profile; its id."""
    number = 2 * profile - which
    conn.execute(_ARRIVAL, {"id": number, "profile": profile, "hash": _digest(number), "ago": ago})
    values: Mapping[str, Any] = {
        "id": number,
        # Of a file that is gone nobody misses the rows, and nobody copies it to a bucket.
        "state": "evicted",
        "rows": good + bad,
        "good": good,
        "bad": bad,
        "criticality": "high" if bad > good else "low",
        "good_path": "drill" if good else None,
        "bad_path": "drill" if bad else None,
    }
    conn.execute(_FILE, values)
    return number


def _predicted(conn: Connection, number: int, name: str, rows: int, failing: int) -> None:
    """Rows of a day, by a model whose training rows failed one in ten."""
    profile = _profile(conn, number, name)
    conn.execute(_MODEL, {"id": profile, "days": 1})
    file = _file(conn, profile, rows, 0, _HOUR)
    values = {"id": file, "rows": rows, "model": profile, "failing": failing, "first": -rows}
    conn.execute(_PREDICTED, values)


def _all_bad(conn: Connection) -> None:
    _file(conn, _profile(conn, 1, "all-bad"), 0, 100, 60)


def _bad_share(conn: Connection) -> None:
    profile = _profile(conn, 2, "bad-share")
    _file(conn, profile, 990, 10, 2 * _DAY)
    _file(conn, profile, 100, 200, 60, which=1)


def _no_data(conn: Connection) -> None:
    _file(conn, _profile(conn, 3, "no-data"), 0, 10, 9 * _HOUR)


def _only_passing(conn: Connection) -> None:
    _predicted(conn, 4, "only-passing", 1000, 0)


def _only_failing(conn: Connection) -> None:
    _predicted(conn, 5, "only-failing", 250, 250)


def _drift(conn: Connection) -> None:
    profile = _profile(conn, 6, "drift")
    conn.execute(_MODEL, {"id": profile, "days": 1})
    conn.execute(_MACHINE, {"id": profile})
    conn.execute(_REFERENCE, {"id": profile})
    conn.execute(_DRIFT, [{"id": profile, "day": day} for day in range(3)])


def _stale_model(conn: Connection) -> None:
    conn.execute(_MODEL, {"id": _profile(conn, 7, "stale-model"), "days": 400})


def _lag(conn: Connection) -> None:
    file = _file(conn, _profile(conn, 8, "lag"), 10, 0, _HOUR)
    conn.execute(_WAITING, {"id": file, "rows": 10})


def _disk(conn: Connection) -> None:
    """Figures that stay the newest while the API goes on keeping its own."""
    for number, name, value in ((-1, "box_disk_bytes", 1e11), (-2, "box_disk_free_bytes", 1e9)):
        conn.execute(_FIGURE, {"id": number, "ahead": 2 * _HOUR, "name": name, "value": value})


def _bucket(conn: Connection) -> None:
    profile = _profile(conn, 9, "bucket")
    conn.execute(_COPY, {"id": _file(conn, profile, 10, 0, _HOUR), "profile": profile})


def _backup(conn: Connection) -> None:
    conn.execute(_BACKUP, {"id": _NEWEST_RUN, "hash": _digest(0)})


def _restore_drill(conn: Connection) -> None:
    conn.execute(_DRILL_RUN, {"id": _NEWEST_RUN + 1})


def _scheduler(conn: Connection) -> None:
    conn.execute(_RUN, {"id": _NEWEST_RUN})


def _api_errors(conn: Connection) -> None:
    """Enough of them, however much is asked."""
    value = float(conn.execute(_REQUESTS).scalar_one()) + 100
    for number, name in ((-3, "api_requests"), (-4, "api_errors")):
        conn.execute(_FIGURE, {"id": number, "ahead": 0.0, "name": name, "value": value})


def _api_silent(conn: Connection) -> None:
    """The one that changes rows which are there: never to be committed."""
    conn.execute(_NO_FIGURES)
    conn.execute(_FIGURE, {"id": -5, "ahead": -1800.0, "name": "box_faults", "value": 0.0})


_MAKERS: Mapping[str, Callable[[Connection], None]] = {
    "appliance-all-bad": _all_bad,
    "appliance-bad-share": _bad_share,
    "appliance-no-data": _no_data,
    "appliance-only-passing": _only_passing,
    "appliance-only-failing": _only_failing,
    "appliance-drift": _drift,
    "appliance-stale-model": _stale_model,
    "appliance-lag": _lag,
    "appliance-disk": _disk,
    "appliance-bucket": _bucket,
    "appliance-backup": _backup,
    "appliance-restore-drill": _restore_drill,
    "appliance-scheduler": _scheduler,
    "appliance-api-errors": _api_errors,
    "appliance-api-silent": _api_silent,
}
# What a running box contradicts every minute can be made true in a transaction alone.
ONLY_UNSEEN: Sequence[str] = ("appliance-api-silent",)
