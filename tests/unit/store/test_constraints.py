"""Every CHECK refuses what it is for; one without a case here fails the last test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg2
import pytest
from sqlalchemy import CheckConstraint, Connection, Engine, insert, text
from sqlalchemy.exc import IntegrityError

from appliance.store import tables as t
from appliance.store.engine import transaction
from appliance.store.tables import metadata
from tests.unit.store import made

H = made.digest("h")
NOW = text("now()")

ARRIVAL: dict[str, Any] = {
    "profile_id": 1,
    "origin": "",
    "name": "a.csv",
    "path": "/raw/a.csv",
    "size": 1,
    "mtime_ns": 1,
    "device": 1,
    "inode": 1,
    "sha256": H,
    "contract_hash": H,
    "claim": H,
    "day": text("current_date"),
}
FILE: dict[str, Any] = {
    "id": 99,
    "arrival_id": 1,
    "profile_id": 1,
    "origin": "",
    "name": "a.csv",
    "sha256": H,
    "contract_hash": H,
    "arrived_at": NOW,
    "day": text("current_date"),
    "state": "ingested",
    "criticality": "low",
}
PART: dict[str, Any] = {"file_id": 1, "number": 9, "start": 0, "rows": 10}
PREDICTED: dict[str, Any] = PART | {
    "state": "predicted",
    "predicted_at": NOW,
    "model_id": 1,
    "failing": 0,
    "first_id": 1,
    "last_id": 10,
}
OUTBOX: dict[str, Any] = {
    "layer": "good",
    "profile_id": 1,
    "file_id": 1,
    "day": text("current_date"),
    "path": "good_data/1.parquet",
}
ALARM: dict[str, Any] = {"machine_id": 1, "opened_at": NOW, "last_seen_at": NOW, "probability": 0.5}
PREDICTION: dict[str, Any] = {
    "id": 1,
    "predicted_at": NOW,
    "read_at": NOW,
    "machine_id": 1,
    "model_id": 1,
    "probability": 0.5,
    "profile_id": 1,
    "source": 1,
    "flags": 0,
    "failing": False,
    "features": [1.0],
    "modes": [],
}
PROFILE: dict[str, Any] = {"name": "p", "title": "p", "hash": H, "contract_hash": H, "document": {}}
SESSION: dict[str, Any] = {"hash": H, "user_id": 1, "expires_at": text("now() + interval '1 day'")}
LINK: dict[str, Any] = SESSION | {"purpose": "welcome"}
DELIVERY: dict[str, Any] = {"notice_id": 1, "target": H, "label": "a"}
TOKEN: dict[str, Any] = {"name": "a", "hash": H, "role": "viewer", "source": "api"}
USER: dict[str, Any] = {"name": "a", "role": "viewer", "password_hash": "x"}
RUN: dict[str, Any] = {"kind": "ingest"}
OUTCOME: dict[str, Any] = {"machine_id": 1, "happened_at": NOW, "kind": "failure", "who": "a"}
DRIFT: dict[str, Any] = {"model_id": 1, "position": 1, "name": "a", "first": 1, "edges": [1.0, 2.0], "chance": 20.0} | {
    "groups": [0, 0, 1, 2],
    "counts": [0, 5, 5, 0],
}
EVENT: dict[str, Any] = {"kind": "a", "severity": "info", "message": "a"}

BACKUP: dict[str, Any] = {"name": "a", "place": "/b", "made_at": NOW, "bytes": 1, "sha256": H, "revision": "0001"}

GOOD: dict[str, Mapping[str, Any]] = {
    "backup": BACKUP | {"secrets": False},
    "arrival": ARRIVAL,
    "file": FILE,
    "part": PART,
    "alarm": ALARM,
    "prediction": PREDICTION,
    "profile": PROFILE,
    "session": SESSION,
    "link": LINK,
    "notice": {"kind": "alarm", "ref_id": 1},
    "delivery": DELIVERY,
    "token": TOKEN,
    "user": USER,
    "run": RUN,
    "outcome": OUTCOME,
    "manifest": {
        "bucket": "b",
        "day": text("current_date"),
        "key": "k",
        "etag": "e",
        "objects": 1,
        "bytes": 1,
        "made_at": NOW,
    },
    "inbox": {"bucket": "b", "key": "k", "etag": "e", "size": 1, "path": "milling/a.csv"},
    "outbox": OUTBOX,
    "outbox_part": {"outbox_id": 1, "number": 1, "sha256": H, "etag": "e"},
    "outbox_mark": {"layer": "predictions", "last_id": 1, "moved_at": NOW},
    "event": EVENT,
    "drift_reference": DRIFT,
    "machine": {"profile_id": 1, "name": "M-9"},
    "machine_state": {"machine_id": 1},
    "quality_issue": {"file_id": 1, "rule": "range", "column_name": "a"},
    "request": {"principal": "a", "key": "a", "body_hash": H},
}

# (constraint, what spoils the good row)
BAD: list[tuple[str, dict[str, Any]]] = [
    ("ck_drift_reference_bins", {"groups": [0, 0, 1]}),
    ("ck_drift_reference_bins", {"counts": [0, 5, 5, 0, 0]}),
    ("ck_profile_hash", {"hash": H.upper()}),
    ("ck_profile_contract_hash", {"contract_hash": H[:-1]}),
    ("ck_machine_named", {"name": ""}),
    ("ck_arrival_state", {"state": "lost"}),
    ("ck_arrival_sha256", {"sha256": "x"}),
    ("ck_arrival_contract_hash", {"contract_hash": f"{H}\n"}),
    ("ck_arrival_claim", {"claim": ""}),
    ("ck_arrival_duplicate_of", {"state": "duplicate"}),
    ("ck_arrival_duplicate_of", {"duplicate_of": 1}),
    ("ck_arrival_cleared", {"cleared_at": NOW}),
    ("ck_arrival_size", {"size": -1}),
    ("ck_file_state", {"state": "claimed"}),
    ("ck_file_criticality", {"criticality": "none"}),
    ("ck_file_sha256", {"sha256": "x"}),
    ("ck_file_contract_hash", {"contract_hash": "x"}),
    ("ck_file_rows", {"rows_in": 0, "rows_good": -1, "rows_bad": 1, "good_path": "a", "bad_path": "b"}),
    ("ck_file_rows", {"rows_in": 0, "rows_good": 1, "rows_bad": -1, "good_path": "a", "bad_path": "b"}),
    ("ck_file_rows_in", {"rows_in": 3, "rows_good": 1, "rows_bad": 1, "good_path": "a", "bad_path": "b"}),
    ("ck_file_reason", {"reason": "encoding"}),
    ("ck_file_reason", {"state": "quarantined", "criticality": "high"}),
    ("ck_file_quarantined", {"state": "quarantined", "reason": "encoding"}),
    (
        "ck_file_quarantined",
        {"state": "quarantined", "reason": "x", "criticality": "high", "rows_in": 1, "rows_bad": 1, "bad_path": "b"},
    ),
    ("ck_file_good_path", {"rows_in": 1, "rows_good": 1}),
    ("ck_file_bad_path", {"rows_in": 1, "rows_bad": 1}),
    ("ck_quality_issue_count", {"count": -1}),
    ("ck_part_state", {"state": "lost"}),
    ("ck_part_counts", {"number": 0}),
    ("ck_part_counts", {"start": -1}),
    ("ck_part_counts", {"rows": 0}),
    ("ck_part_counts", {"tries": -1}),
    ("ck_part_failing", PREDICTED | {"failing": 11}),
    ("ck_part_failing", PREDICTED | {"failing": -1}),
    ("ck_part_ids", PREDICTED | {"last_id": 9}),
    *(("ck_part_predicted", PREDICTED | {name: None}) for name in ("predicted_at", "model_id", "failing", "last_id")),
    ("ck_part_predicted", PREDICTED | {"state": "waiting"}),
    ("ck_prediction_probability", {"probability": 1.01}),
    ("ck_prediction_probability", {"probability": -0.01}),
    ("ck_prediction_probability", {"probability": float("nan")}),
    ("ck_prediction_source", {"source": 0}),
    ("ck_prediction_source", {"source": 4}),
    ("ck_request_body_hash", {"body_hash": "x"}),
    ("ck_alarm_close_reason", {"closed_at": NOW, "close_reason": "bored"}),
    ("ck_alarm_closed", {"closed_at": NOW}),
    ("ck_alarm_closed", {"close_reason": "calm"}),
    ("ck_alarm_acknowledged", {"acknowledged_at": NOW}),
    ("ck_alarm_acknowledged", {"acknowledged_by": "a"}),
    ("ck_alarm_seen", {"last_seen_at": text("now() - interval '1 s'")}),
    ("ck_alarm_rows", {"rows": -1}),
    ("ck_machine_state_calm", {"calm": -1}),
    ("ck_outcome_kind", {"kind": "rain"}),
    ("ck_inbox_path", {"path": None}),
    ("ck_inbox_path", {"refusal": "hidden"}),
    ("ck_inbox_size", {"size": -1}),
    ("ck_manifest_counts", {"objects": -1}),
    ("ck_manifest_counts", {"bytes": -1}),
    ("ck_outbox_layer", {"layer": "tea", "file_id": None}),
    ("ck_outbox_file", {"layer": "outcomes"}),
    ("ck_outbox_file", {"file_id": None}),
    ("ck_outbox_ids", {"first_id": 1, "last_id": 2, "model_id": 1}),
    ("ck_outbox_ids", {"layer": "predictions", "file_id": None}),
    ("ck_outbox_counts", {"tries": -1}),
    ("ck_outbox_counts", {"size": -1}),
    ("ck_outbox_counts", {"part_bytes": 0}),
    ("ck_outbox_sha256", {"sha256": "x"}),
    ("ck_outbox_proof", {"proof": "hope"}),
    ("ck_outbox_verified", {"verified_at": NOW}),
    ("ck_outbox_part_sha256", {"sha256": "x"}),
    ("ck_outbox_mark_layer", {"layer": "good"}),
    ("ck_run_kind", {"kind": "walk"}),
    ("ck_run_outcome", {"outcome": "lost", "finished_at": NOW}),
    ("ck_run_finished", {"outcome": "done"}),
    ("ck_run_finished", {"finished_at": NOW}),
    ("ck_event_severity", {"severity": "panic"}),
    ("ck_user_role", {"role": "king"}),
    ("ck_user_named", {"name": ""}),
    ("ck_user_failed_tries", {"failed_tries": -1}),
    ("ck_user_station", {"station": True, "role": "engineer"}),
    ("ck_session_hash", {"hash": "x"}),
    ("ck_session_expires", {"expires_at": text("now() - interval '1 s'")}),
    ("ck_link_hash", {"hash": "x"}),
    ("ck_link_purpose", {"purpose": "stay"}),
    ("ck_link_expires", {"expires_at": text("now() - interval '1 s'")}),
    ("ck_notice_kind", {"kind": "rumour"}),
    ("ck_delivery_target", {"target": "mailto:somebody"}),
    ("ck_delivery_ended", {"sent_at": NOW, "given_up_at": NOW}),
    ("ck_token_role", {"role": "king"}),
    ("ck_token_source", {"source": "claimed"}),
    ("ck_token_named", {"name": ""}),
    ("ck_token_hash", {"hash": "plain"}),
    ("ck_backup_bytes", {"bytes": -1}),
    ("ck_backup_sha256", {"sha256": "short"}),
    ("ck_backup_drill", {"drill_error": "It cannot be read."}),
]


def table_of(constraint: str) -> str:
    return max((name for name in GOOD if constraint.startswith(f"ck_{name}_")), key=len)


def prepared(conn: Connection) -> None:
    """What the rows above refer to."""
    plant = made.plant(conn, machines=["M-1"])
    arrival = made.ingested(conn, plant.profile_id, [10])
    assert (plant.profile_id, plant.model_id, plant.machines, arrival.id) == (1, 1, (1,), 1)
    conn.execute(insert(t.user).values(**USER | {"name": "b"}))
    conn.execute(insert(t.notice).values(kind="event", ref_id=1))
    conn.execute(insert(t.outbox).values(**OUTBOX | {"layer": "bad"}))
    conn.execute(
        text("CREATE TABLE prediction_all PARTITION OF prediction FOR VALUES FROM ('2000-01-01') TO ('2100-01-01')")
    )


@pytest.fixture
def ready(engine: Engine) -> Engine:
    with transaction(engine) as conn:
        prepared(conn)
    return engine


@pytest.mark.parametrize("table", sorted(GOOD))
def test_the_good_row_is_taken(ready: Engine, table: str) -> None:
    with transaction(ready) as conn:
        values = dict(GOOD[table])
        if table == "file":
            values["arrival_id"] = made.claimed(conn, 1).id
        conn.execute(insert(metadata.tables[table]).values(**values))


def test_the_good_part_may_be_predicted(ready: Engine) -> None:
    with transaction(ready) as conn:
        conn.execute(insert(t.part).values(**PREDICTED))


def test_each_check_refuses_what_it_is_for(ready: Engine) -> None:
    with transaction(ready) as conn:
        free = made.claimed(conn, 1).id
        for constraint, spoiled in BAD:
            table = table_of(constraint)
            values = {**GOOD[table], **({"arrival_id": free} if table == "file" else {}), **spoiled}
            with pytest.raises(IntegrityError) as refused, conn.begin_nested():
                conn.execute(insert(metadata.tables[table]).values(**values))
            assert isinstance(refused.value.orig, psycopg2.IntegrityError)
            assert refused.value.orig.diag.constraint_name == constraint, (constraint, spoiled)


def test_no_check_is_left_out() -> None:
    checks = {
        str(constraint.name)
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert checks == {name for name, _ in BAD}
