"""Setting Airflow up on this box: ``appliance airflow init``. Doing it again changes nothing, and is quick.

Nothing is asked, and nothing secret is an argument of a process or stands in a log.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import appliance
from appliance import children, durable
from appliance.airflow import config, launch, secrets
from appliance.errors import ApplianceError, SettingError
from appliance.settings import Settings
from appliance.store import airflow as database
from appliance.store import engine
from appliance.store.airflow import Broken, Held

Tell = Callable[[str], None]

_CRONS = ("ingest_cron", "predict_cron", "maintain_cron")
_PACKAGES = ("apache-airflow", "apache-airflow-providers-fab")
_WORDS = {
    "tables": "Bringing Airflow's tables to this version ...",
    "user": f"Looking after Airflow's user {secrets.ADMIN!r} ...",
    "password": f"Setting the password of Airflow's user {secrets.ADMIN!r} ...",
    "dags": "Reading the DAGs ...",
}


@dataclass(slots=True)
class Ready:
    """What setting up did, and what stands now."""

    changed: bool = False
    database_made: bool = False
    user_made: bool = False
    secrets_made: list[str] = field(default_factory=list)
    dags: list[str] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            "database_made": self.database_made,
            "user_made": self.user_made,
            "secrets_made": self.secrets_made,
            "dags": self.dags,
            "broken": [{"file": broken.file, "reason": broken.reason} for broken in self.broken],
        }

    def sentence(self) -> str:
        done = "Airflow is set up" if self.changed else "Airflow was set up before, and nothing has changed"
        return f"{done}; DAGs: {', '.join(self.dags) or 'none'}."


def init(settings: Settings, tell: Tell = lambda _: None, base: Mapping[str, str] | None = None) -> Ready:
    """Secrets, database, tables, first user, DAGs: whatever of them is missing or old.

    ``base`` is the environment in which DAGs find the same settings; None is ours. SettingError for a wrong setting, StoreAway where the database cannot be reached. DAGs that cannot be read are in
    the answer.
    """
    launch.require()
    prove_crons(settings)
    address = config.dsn(settings)
    settings.airflow.mkdir(parents=True, exist_ok=True)
    with durable.locked(settings.airflow):
        ready = Ready(secrets_made=secrets.make(settings))
        secrets.read(settings)
        config.logs(settings).mkdir(mode=0o750, exist_ok=True)
        (settings.airflow / "airflow.cfg").touch()
        beside = settings.require_dsn() if settings.airflow_dsn is None else None
        ready.database_made = database.ensure(address, beside)
        held = _held(settings)
        if ready.secrets_made or not _is_as_left(settings, held):
            ready.changed = True
            if secrets.ADMIN not in held.users:
                # The file of a user who is there may have been taken away, and stays so.
                secrets.make_password(settings)
            answers = _prepare(settings, ("tables", "user", "dags"), tell, base)
            ready.user_made = answers["user"]["made"]
            held = _held(settings)
            durable.write(_mark_file(settings), _mark(settings, held).encode())
    ready.dags, ready.broken = [name for name, _ in held.dags], list(held.broken)
    return ready


def read_dags(settings: Settings, tell: Tell = lambda _: None) -> Ready:
    """Read the files of DAGs once, for example after a schedule in the settings has changed."""
    launch.require()
    prove_crons(settings)
    if not _held(settings).ready:
        raise SettingError("Airflow is not set up on this box.", "Run `appliance airflow init`.")
    _prepare(settings, ("dags",), tell)
    held = _held(settings)
    return Ready(changed=True, dags=[name for name, _ in held.dags], broken=list(held.broken))


def new_password(settings: Settings, tell: Tell = lambda _: None) -> Path:
    """Another random password for the first user; the file that holds it."""
    launch.require()
    if not _held(settings).ready:
        raise SettingError("Airflow is not set up on this box.", "Run `appliance airflow init`.")
    secrets.renew_password(settings)
    _prepare(settings, ("password",), tell)
    return secrets.password_file(settings)


def prove_crons(settings: Settings) -> None:
    """SettingError, with its name, for a schedule that cron does not know."""
    from croniter import croniter

    for name in _CRONS:
        if not croniter.is_valid(getattr(settings, name)):
            raise SettingError(
                f"Setting {name!r}: {getattr(settings, name)!r} is no schedule that cron knows.",
                "Write minute, hour, day of the month, month and day of the week, as in */2 * * * *.",
            )


def _held(settings: Settings) -> Held:
    store = engine.connect(config.dsn(settings), "appliance-airflow", pool_size=1)
    try:
        with engine.transaction(store) as connection:
            return database.held(connection)
    finally:
        store.dispose()


def _is_as_left(settings: Settings, held: Held) -> bool:
    """Whether there is nothing to do: all is there, and as it was at the end of the last time."""
    if not held.ready or held.broken or not held.dags or secrets.ADMIN not in held.users:
        return False
    file = _mark_file(settings)
    return file.is_file() and file.read_text() == _mark(settings, held)


def _mark_file(settings: Settings) -> Path:
    return settings.airflow / "set-up"


def _mark(settings: Settings, held: Held) -> str:
    """A mark of all that setting up depends on and of what came of it."""
    versions = [sys.version, appliance.__version__, *map(metadata.version, _PACKAGES)]
    files = [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in _dag_files()]
    # What DAGs are made of; where things listen is none of it.
    facts = {n: v for n, v in settings.model_dump(mode="json").items() if not n.startswith(("api_", "airflow_"))}
    said = json.dumps([versions, files, facts, held.as_dict()], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def _dag_files() -> list[Path]:
    return sorted(config.DAGS_FOLDER.rglob("*.py"))


def _prepare(
    settings: Settings, steps: Sequence[str], tell: Tell, base: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Have :mod:`.prepare` do these steps; what it answered to each."""
    log = config.logs(settings) / "set-up.log"
    words = launch.python("prepare", str(secrets.password_file(settings)), *steps)
    answers: dict[str, dict[str, Any]] = {}
    with log.open("w") as said:
        child = subprocess.Popen(
            words,
            env=config.environment(settings, base),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            preexec_fn=children.end_with_parent,
        )
        try:
            for step in steps:
                tell(_WORDS[step])
                assert child.stdout is not None
                if line := child.stdout.readline():
                    answers[step] = json.loads(line)
            child.wait()
        finally:
            child.kill()
            child.communicate()
    if child.returncode != 0 or set(answers) != set(steps):
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise ApplianceError(f"Airflow could not be set up: {last[0].strip()}", f"All that it said is in {log}.")
    return answers
