"""Setting Airflow up for real: what it makes, what a second time changes, what it never shows."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from appliance.airflow import config, launch, secrets, setup
from appliance.errors import SettingError
from appliance.settings import Settings
from appliance.store import airflow as database
from appliance.store import engine as engines
from tests.airflow.conftest import HUSH, First, command, environment_of, settings_of

DAG = """
from datetime import datetime
from airflow.sdk import DAG, task
@task
def work(): pass
for name in {names}:
    with DAG(dag_id=name, schedule="* * * * *", start_date=datetime(2026, 1, 1), catchup=False):
        work()
"""


@pytest.fixture
def store(box: Settings, first: First) -> Iterator[Engine]:
    """Airflow's database, set up."""
    engine = engines.connect(config.dsn(box), "tests")
    yield engine
    engine.dispose()


@pytest.fixture
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of DAGs in place of the installed one."""
    monkeypatch.setattr(config, "DAGS_FOLDER", tmp_path / "dags")
    config.DAGS_FOLDER.mkdir()
    return config.DAGS_FOLDER


def everything(box: Settings, store: Engine) -> tuple[dict[str, str], dict[str, int]]:
    """Files by content, and tables by rows and by what was ever written to them."""
    files = {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in box.airflow.rglob("*") if p.is_file()}
    with engines.transaction(store) as connection:
        tables = connection.scalars(text("SELECT relname FROM pg_stat_user_tables ORDER BY 1")).all()
        return files, {
            t: connection.execute(
                text(f'SELECT count(*) + coalesce(max(xmin::text::bigint), 0) FROM "{t}"')
            ).scalar_one()
            for t in tables
        }


def test_the_first_time_makes_all_there_is(box: Settings, first: First, store: Engine) -> None:
    ready = first.ready
    assert ready.changed
    assert ready.database_made
    assert ready.user_made
    assert ready.secrets_made == ["fernet_key", "jwt_secret", "secret_key"]
    assert ready.dags == ["ingest", "maintain", "predict"]
    assert ready.broken == []
    assert len(first.told) == 3
    with engines.transaction(store) as connection:
        held = database.held(connection)
    assert held.ready
    assert held.users == ("admin",)
    assert (box.airflow / "airflow.cfg").read_bytes() == b""


def test_the_second_time_changes_nothing(box: Settings, store: Engine) -> None:
    before = everything(box, store)
    told: list[str] = []
    ready = setup.init(box, told.append, environment_of(box))
    assert not ready.changed
    assert told == []
    assert ready.dags == ["ingest", "maintain", "predict"]
    assert everything(box, store) == before


def test_another_schedule_reaches_the_dags_and_nothing_else_is_touched(box: Settings, store: Engine) -> None:
    """A user who is there stays, and so does an absent file of the password."""
    password = secrets.password_file(box)
    kept = password.read_text()
    password.unlink()
    with engines.transaction(store) as connection:
        before = connection.execute(text("SELECT password FROM ab_user")).scalar_one()
    changed = box.model_copy(update={"predict_cron": "*/7 * * * *"})
    ready = setup.init(changed, base=environment_of(changed) | {"APPLIANCE_PREDICT_CRON": "*/7 * * * *"})
    assert (ready.changed, ready.user_made, ready.secrets_made) == (True, False, [])
    with engines.transaction(store) as connection:
        summary = "SELECT timetable_summary FROM dag WHERE dag_id = 'predict'"
        assert connection.execute(text(summary)).scalar_one() == "*/7 * * * *"
        assert connection.execute(text("SELECT password FROM ab_user")).scalar_one() == before
    assert not password.exists()
    password.write_text(kept)
    password.chmod(0o600)


def test_no_secret_was_seen_while_it_worked_or_after(box: Settings, first: First) -> None:
    """Neither in what ``ps`` shows nor in logs."""
    assert any("appliance.airflow.prepare" in words for words in first.seen)
    keys = secrets.read(box)
    hidden = [keys.fernet_key, keys.jwt_secret, keys.secret_key, secrets.read_password(box), HUSH]
    assert HUSH in config.dsn(box)
    said = "\n".join(first.seen) + "".join(p.read_text() for p in config.logs(box).rglob("*") if p.is_file())
    assert [secret for secret in hidden if secret in said] == []


def test_dags_that_vanish_are_dropped_and_broken_ones_are_told(box: Settings, store: Engine, dags: Path) -> None:
    base = environment_of(box)
    (dags / "one.py").write_text(DAG.format(names=["here", "gone"]))
    (dags / "two.py").write_text(DAG.format(names=["moved"]))
    (dags / "three.py").write_text("import airflow.nothing  # a DAG\n")
    ready = setup.init(box, base=base)
    assert ready.dags == ["gone", "here", "moved"]
    [broken] = ready.broken
    assert (broken.file, broken.reason) == ("three.py", "ModuleNotFoundError: No module named 'airflow.nothing'")
    (dags / "one.py").write_text(DAG.format(names=["here"]))
    (dags / "two.py").unlink()
    (dags / "three.py").unlink()
    ready = setup.init(box, base=base)
    assert (ready.changed, ready.dags, ready.broken) == (True, ["here"], [])


def test_a_killed_schedulers_work_is_free_at_once(store: Engine) -> None:
    with engines.transaction(store) as connection:
        for kind in ("SchedulerJob", "TriggererJob"):
            values = {"kind": kind}
            connection.execute(text("INSERT INTO job (job_type, state) VALUES (:kind, 'running')"), values)
        database.end_schedulers(connection)
        states = dict(connection.execute(text("SELECT job_type, state FROM job")).all())
        connection.execute(text("DELETE FROM job"))  # no scheduler of this box ever ran
    assert states == {"SchedulerJob": "failed", "TriggererJob": "running"}


def test_as_commands(box: Settings, store: Engine) -> None:
    environment = environment_of(box)
    for words in (["dag-processor"], ["init"]):
        told = json.loads(command(environment, *words, "--json").stdout)
        assert (told["dags"], told["broken"]) == (["ingest", "maintain", "predict"], [])


@pytest.mark.parametrize("name", ["ingest_cron", "predict_cron", "maintain_cron"])
def test_a_wrong_cron_is_named(settings: Settings, name: str) -> None:
    with pytest.raises(SettingError, match=f"'{name}': '0 25 \\* \\* \\*' is no schedule"):
        setup.init(settings.model_copy(update={name: "0 25 * * *"}))
    assert not settings.airflow.exists()


def test_before_it_is_set_up_every_command_says_so(settings: Settings, tmp_path: Path) -> None:
    environment = environment_of(settings)
    for words in (["api-server"], ["scheduler"]):
        assert "missing. Run `appliance airflow init`." in command(environment, *words, code=1).stderr
    secrets.make(settings)
    database.ensure(config.dsn(settings))
    for words in (["api-server"], ["scheduler"], ["dag-processor"], ["password"]):
        assert "not set up on this box. Run `appliance airflow init`." in command(environment, *words, code=1).stderr


def test_an_unreachable_database_is_one_sentence(tmp_path: Path) -> None:
    environment = environment_of(settings_of(tmp_path, "postgresql://nobody:hush@127.0.0.1:1/none"))
    said = command(environment, "init", code=1).stderr
    assert said.startswith("appliance: PostgreSQL cannot be reached")
    assert said.count("\n") == 1
    assert "hush" not in said


def test_without_airflow_it_says_what_to_install(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "airflow", None)
    for call in (setup.init, setup.read_dags, launch.api_server, launch.scheduler):
        with pytest.raises(SettingError, match=r"Airflow is not installed\. Install the extra `airflow`"):
            call(settings)


def test_a_folder_that_is_named_as_airflow_is_not_it(tmp_path: Path, settings: Settings) -> None:
    """The data folder holds one, and a person may stand in it."""
    (tmp_path / "airflow").mkdir(exist_ok=True)
    (tmp_path / "airflow" / "__init__.py").write_text("raise SystemExit('the wrong one')\n")
    elsewhere = settings.model_copy(update={"airflow_home": tmp_path / "home"})
    environment = environment_of(elsewhere) | {"APPLIANCE_AIRFLOW_HOME": str(tmp_path / "home")}
    secrets.make(elsewhere)
    told = command(environment, "command", "version", cwd=tmp_path).stdout
    assert told.strip().startswith("3.")
    shutil.rmtree(tmp_path / "airflow")
