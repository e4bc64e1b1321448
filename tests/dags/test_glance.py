"""The cheap look: never a no where a pass would find something, and light."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from appliance import bundle, dropfolder, glance, intake, shelf
from appliance.errors import ApplianceError, SettingError, StoreAway
from appliance.store import engine as engines
from appliance.store import journal, ledger
from tests import counts
from tests.conftest import Cluster
from tests.dags.conftest import ROOT
from tests.dags.test_files import HEAVY
from tests.road.conftest import Road
from tests.unit.store import made

NAMES = st.sampled_from(["a.csv", ".a.csv", "a.csv.part", "Thumbs.db", "~$a.csv", "b.parquet", "x.tmp", "weird \udc80"])
PLACES = st.sampled_from(["", "milling", "pump", "milling/mill-1", "milling/.hidden", "milling/mill-1/deep", "other"])


@given(
    st.lists(st.tuples(PLACES, NAMES, st.sampled_from(["file", "folder", "link", "pipe"])), max_size=6),
    st.sets(st.sampled_from(["milling", "pump"])),
)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=counts.examples(60))
def test_it_sees_what_the_real_look_sees(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str, str]], served: set[str]
) -> None:
    raw = tmp_path_factory.mktemp("drop") / "raw_data"
    for place, name, kind in entries:
        path = raw / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            continue
        match kind:
            case "file":
                path.write_bytes(b"x")
            case "folder":
                path.mkdir()
            case "link":
                path.symlink_to(raw)
            case _:
                os.mkfifo(path)
    assert dropfolder.anything(raw, served) == bool(intake.look(raw, served))


def test_served_are_the_profiles_with_an_active_version(road: Road) -> None:
    models = road.settings.models
    assert shelf.served(models) == bundle.profiles(models) == ["milling", "pump"]
    (models / "pump" / "active").unlink()
    assert shelf.served(models) == ["milling"]
    assert shelf.served(models / "none") == []


def test_nothing_to_do_is_a_skipped_run(road: Road) -> None:
    assert glance.look_for_files(road.settings) == glance.Glance(False, False, "no new files")
    assert glance.look_for_parts(road.settings) == glance.Glance(False, False, "no new good data")
    found = road.rows("SELECT kind, outcome, why, finished_at >= started_at AS ended FROM run ORDER BY id")
    assert found == [
        {"kind": "ingest", "outcome": "skipped", "why": "no new files", "ended": True},
        {"kind": "predict", "outcome": "skipped", "why": "no new good data", "ended": True},
    ]


def test_a_file_or_a_half_done_one_is_work_for_a_pass(road: Road, mill: bytes) -> None:
    path = road.drop("milling", "a.csv", mill, "mill-1")
    assert glance.look_for_files(road.settings).work
    path.unlink()
    assert not glance.look_for_files(road.settings).work
    with engines.transaction(road.engine) as connection:
        arrival = made.claimed(connection, made.plant(connection).profile_id)
    assert glance.look_for_files(road.settings).work
    with engines.transaction(road.engine) as connection:
        ledger.abandoned(connection, arrival, "it went away")
    assert not glance.look_for_files(road.settings).work


def test_a_part_is_work_when_its_turn_has_come(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.ingest()
    assert glance.look_for_parts(road.settings).work
    road.rows("UPDATE part SET tries = 1, next_try_at = clock_timestamp() + interval '50 minutes' RETURNING id")
    assert not glance.look_for_parts(road.settings).work
    road.rows("UPDATE part SET state = 'failed', next_try_at = clock_timestamp() RETURNING id")
    assert not glance.look_for_parts(road.settings).work


def test_a_message_that_is_due_is_seen_beside_the_work(road: Road) -> None:
    with engines.transaction(road.engine) as connection:
        journal.event(connection, "disk_low", "error", "5 % left")
    assert glance.look_for_files(road.settings) == glance.Glance(False, True, "no new files")
    assert glance.look_for_parts(road.settings).alerts
    road.rows("UPDATE notice SET due_at = clock_timestamp() + interval '1 hour' RETURNING id")
    assert not glance.look_for_files(road.settings).alerts
    # By a clock that ran ahead, and was set back.
    road.rows("UPDATE notice SET due_at = clock_timestamp() + interval '10 years' RETURNING id")
    assert glance.look_for_files(road.settings).alerts
    road.rows("UPDATE notice SET due_at = created_at, settled_at = clock_timestamp() RETURNING id")
    assert not glance.look_for_parts(road.settings).alerts


@pytest.mark.parametrize("look", [glance.look_for_files, glance.look_for_parts])
def test_what_is_missing_is_told(road: Road, cluster: Cluster, look: object) -> None:
    assert callable(look)
    folder = road.settings.data_dir
    with pytest.raises(StoreAway, match="cannot be reached"):
        look(road.settings.model_validate(road.settings.model_dump() | {"dsn": f"postgresql://n@/n?host={folder}"}))
    with pytest.raises(SettingError) as refused:
        look(road.settings.model_validate(road.settings.model_dump() | {"dsn": "postgresql://u:secret@[bad/x"}))
    assert "secret" not in str(refused.value)
    empty = cluster.create("template1")
    try:
        with pytest.raises(ApplianceError, match="db migrate"):
            look(road.settings.model_validate(road.settings.model_dump() | {"dsn": cluster.dsn(empty)}))
    finally:
        cluster.drop(empty)


def test_the_address_may_name_a_driver(road: Road) -> None:
    assert road.settings.dsn is not None
    dsn = road.settings.dsn.get_secret_value().replace("postgresql:", "postgresql+psycopg2:")
    settings = road.settings.model_validate(road.settings.model_dump() | {"dsn": dsn})
    assert not glance.look_for_files(settings).work


def test_it_loads_nothing_heavy() -> None:
    program = "import json, sys, appliance.glance; print(json.dumps(sorted(m.partition('.')[0] for m in sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(json.loads(done.stdout)) & HEAVY == {"psycopg2"}


def test_steps_that_take_no_file_load_neither_polars_nor_onnxruntime() -> None:
    """What the schedule's other processes pay: not the second that only a file is worth."""
    program = (
        "import json, sys, appliance.pipeline, appliance.maintain, appliance.store.figures;"
        " print(json.dumps(sorted(m.partition('.')[0] for m in sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not set(json.loads(done.stdout)) & {"polars", "pandera", "onnx", "onnxruntime", "jinja2"}
