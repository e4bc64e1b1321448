"""The drill: every alert fires for real, what it made is taken back, and whoever is killed in the middle leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from appliance import drill
from appliance.api import pulse
from appliance.drill_grafana import Grafana
from appliance.errors import ApplianceError, Conflict, SettingError, UsageError
from appliance.store import drill_rows, figures, journal, outbox, report
from appliance.store.engine import transaction
from grafana.alerts import RULES
from tests.api.conftest import People, running_tcp
from tests.grafana.conftest import ROLE
from tests.grafana.standin import StandIn, standing_in
from tests.unit.store import made

UIDS = [rule.uid for rule in RULES]
# A drill that is held is a matter of record, and so is what people were told of it.
RECORD = ("event", "notice", "delivery")


def contents(engine: Engine, *, without: tuple[str, ...]) -> dict[str, Any]:
    """Every row of every table, and where every sequence stands."""
    with transaction(engine) as conn:
        tables = conn.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
        ).scalars()
        found: dict[str, Any] = {
            name: sorted(conn.execute(text(f'SELECT CAST(t AS text) FROM "{name}" t')).scalars())
            for name in tables
            if name not in without
        }
        sequences = conn.execute(text("SELECT sequencename, last_value FROM pg_sequences")).all()
    found["sequences"] = sorted((name, at) for name, at in sequences if not name.startswith(without))
    return found


@pytest.fixture
def lived(engine: Engine, dsn: str) -> Engine:
    """A box that is well: files, predictions, passes and figures of just now; and Grafana's role."""
    with psycopg2.connect(dsn) as owner, owner.cursor() as cursor:
        cursor.execute(report.reader_sql(ROLE))
    owner.close()
    with transaction(engine) as conn:
        plant = made.plant(conn)
        made.ingested(conn, plant.profile_id, [50], 1)
        [part] = conn.execute(text("SELECT id FROM part")).scalars()
        made.predict(conn, plant, part)
        for kind in ("ingest", "predict"):
            journal.run_skipped(conn, kind, "nothing")  # type: ignore[arg-type]
        figures.keep(conn, {"box_disk_bytes": 1e11, "box_disk_free_bytes": 5e10, "box_faults": 0, "api_requests": 900})
    return engine


def reader(dsn: str) -> str:
    return make_url(dsn).set(username=ROLE).render_as_string(hide_password=False)


def test_every_alert_fires_and_nothing_is_left(lived: Engine) -> None:
    before = contents(lived, without=())
    found = drill.by_sql(lived, drill.chosen([]))
    assert [(one.rule, one.state, one.fired_before) for one in found.alerts] == [(uid, "fires", False) for uid in UIDS]
    assert found.is_well
    assert (found.by, found.seen_by) == ("sql", ROLE)
    assert contents(lived, without=()) == before


def test_on_a_box_that_was_set_up_just_now_too(engine: Engine) -> None:
    before = contents(engine, without=())
    found = drill.by_sql(engine, drill.chosen([]))
    assert {one.state for one in found.alerts} == {"fires"}
    assert found.seen_by == "the appliance itself", "there is no reader yet"
    assert contents(engine, without=()) == before


@pytest.mark.parametrize("uid", UIDS)
def test_a_drill_of_one_makes_no_other_fire(lived: Engine, uid: str) -> None:
    with drill_rows.only_one(lived) as conn:
        drill_rows.make(conn, uid)
        assert [rule.uid for rule in RULES if drill._firing(conn, rule, ROLE)] == [uid]
        conn.rollback()


def test_there_is_a_drill_of_every_alert() -> None:
    assert set(drill_rows._MAKERS) == set(UIDS)
    assert all("$" not in rule.sql and "%" not in rule.sql for rule in RULES), "statements are sent as they stand"


def test_an_alert_that_fires_of_itself_is_told_apart(lived: Engine) -> None:
    with transaction(lived) as conn:
        conn.execute(text("UPDATE run SET started_at = started_at - interval '1 hour'"))
    [one] = drill.by_sql(lived, drill.chosen(["scheduler"])).alerts
    assert (one.state, one.fired_before) == ("fires", True)


def test_one_that_does_not_fire_is_no_success(lived: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_rows, "make", lambda *_: None)
    found = drill.by_sql(lived, drill.chosen(["lag"]))
    assert (found.alerts[0].state, found.is_well) == ("silent", False)


def test_names_may_be_short_and_a_wrong_one_is_said(lived: Engine) -> None:
    assert [rule.uid for rule in drill.chosen(["lag", "appliance-disk"])] == ["appliance-lag", "appliance-disk"]
    with pytest.raises(UsageError, match="There is no alert 'lagg'"):
        drill.chosen(["lagg"])


def test_one_drill_at_a_time(lived: Engine) -> None:
    with transaction(lived) as conn:
        assert not drill_rows.is_on(conn)
    with drill_rows.only_one(lived):
        with transaction(lived) as conn:
            assert drill_rows.is_on(conn)
        with pytest.raises(Conflict):
            drill.by_sql(lived, drill.chosen(["lag"]))
    assert drill.by_sql(lived, drill.chosen(["lag"])).is_well


NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("beyond", "rows", "wanted"),
    [
        (("gt", 1), [], []),
        (("gt", 1), [(NOW, "a", 2.0)], [("a",)]),
        (("gt", 1), [(NOW, "a", 1.0)], []),
        (("lt", 1), [(NOW, "a", 0.5), (NOW, "b", 1.5)], [("a",)]),
        (("gt", 1), [(NOW, "a", None)], []),
        (("gt", 1), [(NOW, "a", 9.0), (NOW + timedelta(minutes=1), "a", 0.0)], []),
        (("gt", 1), [(NOW, "a", 9.0), (NOW + timedelta(minutes=1), "a", None)], [("a",)]),
    ],
)
def test_it_fires_as_grafana_reckons(beyond: Any, rows: Any, wanted: Any) -> None:
    assert drill.firing(beyond, ["time", "profile", "value"], rows) == wanted


@pytest.fixture
def standin(dsn: str, app: FastAPI, token: Callable[..., str], lived: Engine) -> Iterator[StandIn]:
    """A stand-in for Grafana that tells this box's API."""
    with running_tcp(app) as address:
        given = {
            "APPLIANCE_GRAFANA_ALERTS_URL": f"{address}/alerts",
            "APPLIANCE_GRAFANA_ALERTS_TOKEN": token("operator"),
        }
        with standing_in(StandIn(reader(dsn), given)) as found:
            yield found


def test_with_a_grafana_all_but_one_fire_and_arrive_and_are_over_afterwards(standin: StandIn, lived: Engine) -> None:
    before = contents(lived, without=(*RECORD, "token"))
    said: list[str] = []
    found = drill.by_grafana(lived, drill.chosen([]), Grafana(standin.url), 2, said.append, pause=0.2)
    states = {one.rule: one for one in found.alerts}
    assert found.is_well
    assert states.pop("appliance-api-silent").state == "not tried"
    assert {one.state for one in states.values()} == {"fires"}
    assert all(one.arrived == 1 for one in states.values()), states
    assert said
    assert contents(lived, without=(*RECORD, "token")) == before
    with transaction(lived) as conn:
        told = conn.execute(
            text("SELECT details ->> 'rule', details ->> 'drill' FROM event WHERE kind = 'alert'")
        ).all()
        assert len(told) == len(states)
        assert all(how in ("rows", "meanwhile") for _, how in told)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with transaction(lived) as conn:
            if conn.execute(text("SELECT count(*) FROM event WHERE kind = 'alert_over'")).scalar_one() == len(states):
                return
        time.sleep(0.2)
    raise AssertionError("Grafana's word that it is over did not arrive")


def test_what_has_to_last_longer_than_one_waits_is_said_to_come(standin: StandIn, lived: Engine) -> None:
    standin.faster = 1
    found = drill.by_grafana(lived, drill.chosen(["stale-model", "all-bad"]), Grafana(standin.url), 0.15, pause=0.2)
    assert [(one.rule, one.state) for one in found.alerts] == [
        ("appliance-all-bad", "fires"),
        ("appliance-stale-model", "will fire"),
    ]
    assert found.is_well


def test_an_alert_that_does_not_arrive_is_no_success(standin: StandIn, lived: Engine) -> None:
    standin.points["Appliance"][0]["settings"]["authorization_credentials"] = "fa_wrong"
    found = drill.by_grafana(lived, drill.chosen(["all-bad"]), Grafana(standin.url), 0.05, pause=0.2)
    assert [(one.state, one.arrived) for one in found.alerts] == [("fires", 0)]
    assert not found.is_well


def test_a_grafana_that_is_none_of_ours_is_refused_in_a_sentence(standin: StandIn, lived: Engine) -> None:
    before = contents(lived, without=())
    standin.version = "11.6.1"
    with pytest.raises(SettingError, match=r"is Grafana 11\.6\.1"):
        Grafana(standin.url).version()
    standin.version, standin.password = "12.4.2", "Bearer right"
    with pytest.raises(SettingError, match="who signs in"):
        Grafana(standin.url, "wrong").states()
    assert set(Grafana(standin.url, "right").states()) == set(UIDS)
    standin.password = None
    standin.rules = standin.rules[1:]
    with pytest.raises(ApplianceError, match="does not have the rule"):
        drill.by_grafana(lived, drill.chosen([]), Grafana(standin.url), 1)
    with pytest.raises(ApplianceError, match="There is no Grafana"):
        Grafana("http://127.0.0.1:9").version()
    assert contents(lived, without=()) == before


def command(dsn: str, tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
    environment |= {"APPLIANCE_DSN": dsn, "APPLIANCE_DATA_DIR": str(tmp_path)}
    return subprocess.Popen(
        [sys.executable, "-m", "appliance", "alerts", "drill", *words],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_command_says_what_fired(lived: Engine, dsn: str, tmp_path: Path) -> None:
    asked = command(dsn, tmp_path, "--json")
    out, err = asked.communicate(timeout=60)
    assert asked.returncode == 0, err
    found = json.loads(out)
    assert found["well"] is True
    assert {one["state"] for one in found["alerts"]} == {"fires"}
    asked = command(dsn, tmp_path, "--only", "lag")
    out, err = asked.communicate(timeout=60)
    assert asked.returncode == 0, err
    assert "Predictions are late" in out
    assert "No Grafana was asked" in out


def _until(found: Callable[[], bool], why: str) -> None:
    deadline = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


def test_killed_in_the_middle_of_its_transaction_it_leaves_nothing(lived: Engine, dsn: str, tmp_path: Path) -> None:
    before = contents(lived, without=())
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'appliance-drill' AND wait_event_type = 'Lock'"
    )
    holder = psycopg2.connect(dsn)
    with holder.cursor() as cursor:
        # It gets as far as the first part that it makes.
        cursor.execute("LOCK TABLE part IN SHARE ROW EXCLUSIVE MODE")
        asked = command(dsn, tmp_path, "--only", "lag")

        def waiting() -> bool:
            with transaction(lived) as conn:
                return bool(conn.execute(text(waits)).scalar_one())

        _until(waiting, "the drill did not come to the middle")
        asked.send_signal(signal.SIGKILL)
        asked.communicate()
        holder.rollback()
    holder.close()

    def gone() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'appliance-drill'"
        with transaction(lived) as conn:
            return not conn.execute(text(query)).scalar_one()

    _until(gone, "its session stayed")
    assert contents(lived, without=()) == before


def _there(engine: Engine) -> bool:
    with transaction(engine) as conn:
        return bool(conn.execute(text("SELECT count(*) FROM profile WHERE id < 0")).scalar_one())


def test_killed_while_grafana_looks_the_api_takes_it_back(
    standin: StandIn,
    lived: Engine,
    app: FastAPI,
    dsn: str,
    tmp_path: Path,
) -> None:
    before = contents(lived, without=(*RECORD, "token"))
    asked = command(dsn, tmp_path, "--grafana", standin.url)
    _until(lambda: _there(lived), "the drill did not begin")
    with transaction(lived) as conn:
        assert not drill_rows.sweep(conn), "while it goes on nobody takes its rows away"
    asked.send_signal(signal.SIGKILL)
    asked.communicate()

    def swept() -> bool:
        with transaction(lived) as conn:
            return drill_rows.sweep(conn)

    # The server notices within a moment that the session is gone.
    _until(swept, "its rows were not taken back")
    assert contents(lived, without=(*RECORD, "token")) == before


def test_the_api_sweeps_once_a_minute(lived: Engine, app: FastAPI) -> None:
    with transaction(lived) as conn:
        for uid in UIDS:
            if uid not in drill_rows.ONLY_UNSEEN:
                drill_rows.make(conn, uid)
    assert _there(lived)
    pulse.keep(app.state.api)
    assert not _there(lived)
    with transaction(lived) as conn:
        left = "SELECT (SELECT count(*) FROM metric WHERE id < 0) + (SELECT count(*) FROM run WHERE why = 'drill')"
        assert conn.execute(text(left)).scalar_one() == 0


def test_stopped_it_takes_its_rows_back_itself(standin: StandIn, lived: Engine, dsn: str, tmp_path: Path) -> None:
    standin.faster = 1
    before = contents(lived, without=(*RECORD, "token"))
    asked = command(dsn, tmp_path, "--grafana", standin.url, "--only", "stale-model")
    _until(lambda: _there(lived), "the drill did not begin")
    asked.send_signal(signal.SIGTERM)
    asked.communicate(timeout=30)
    assert asked.returncode != 0
    assert contents(lived, without=(*RECORD, "token")) == before


def test_screens_and_programs_are_answered_while_its_rows_are_there(lived: Engine, people: People) -> None:
    admin = people("admin")
    paths = [path for path, methods in admin.get("/openapi.json").json()["paths"].items() if "get" in methods]
    plain = [path for path in paths if "{" not in path]
    assert len(plain) > 12
    before = {path: admin.get(path).status_code for path in plain}
    with transaction(lived) as conn:
        for uid in UIDS:
            if uid not in drill_rows.ONLY_UNSEEN:
                drill_rows.make(conn, uid)
    assert _there(lived)
    with transaction(lived) as conn:
        files = list(conn.execute(text("SELECT id FROM file WHERE id < 0")).scalars())
    assert files
    # That the box is well nobody says during a drill.
    assert {path: admin.get(path).status_code for path in plain if path != "/health/ready"} == {
        path: status for path, status in before.items() if path != "/health/ready"
    }
    for path in plain:
        assert admin.get(path).status_code < 500 or path == "/health/ready", path


def test_its_rows_go_to_no_bucket_and_what_people_said_of_them_does_not_hold_them(lived: Engine) -> None:
    with transaction(lived) as conn:
        outbox.gather(conn)
    before = contents(lived, without=RECORD)
    with transaction(lived) as conn:
        for uid in UIDS:
            if uid not in drill_rows.ONLY_UNSEEN:
                drill_rows.make(conn, uid)
        assert outbox.gather(conn) == 0
        [machine] = conn.execute(text("SELECT id FROM machine WHERE id < 0")).scalars()
        said = (
            "INSERT INTO outcome (id, machine_id, happened_at, kind, who) VALUES (-1, :machine, now(), 'failure', 'me')"
        )
        conn.execute(text(said), {"machine": machine})
        # As another release may do it.
        conn.execute(
            text(
                "INSERT INTO outbox (id, layer, profile_id, file_id, day, path)"
                " SELECT -1, 'good', profile_id, id, day, 'x' FROM file WHERE id < 0 LIMIT 1"
            )
        )
    with transaction(lived) as conn:
        assert drill_rows.sweep(conn)
    assert contents(lived, without=RECORD) == before
