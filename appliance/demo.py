"""The whole appliance on one laptop, in one folder, without root: database, model, API, plant, passes, a live table.

Everything started here ends here: children get a session of their own, so that Ctrl-C reaches this process alone, and
are told to stop in order; should this process be killed, the system ends them with it.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from appliance import (
    bundle,
    children,
    demo_airflow,
    demo_grafana,
    demo_offline,
    demo_once,
    demo_screen,
    demo_ui,
    durable,
    pipeline,
    ports,
    signing,
)
from appliance import settings as box_settings
from appliance.cli.output import hint
from appliance.errors import ApiAway, ApplianceError, Conflict, StoreAway, UsageError
from appliance.profile import Profile
from appliance.settings import Settings
from appliance.store import embedded, engine, migrations, overview, principals
from appliance.store.engine import Engine

TRAINING_ROWS = 20_000
TRAINING_SEED = 2020
PLANT_FAULTS = 0.25
FILES_PER_MACHINE_ONCE = 5
SECONDS_BETWEEN_FILES = 5
SECONDS_BETWEEN_PASSES = 3.0
API_START_SECONDS = 60.0
AIRFLOW_PORT = 8080


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for."""

    data: Path | None
    profile: str
    folder: Path
    once: bool
    machines: int
    rows_per_file: int
    port: int
    airflow: bool
    ui: bool
    grafana: bool
    offline: bool
    as_json: bool


@dataclass(slots=True)
class Progress:
    """What the passes in the background did, for the screen."""

    passes: int = 0
    trouble: str = ""
    stop: threading.Event = field(default_factory=threading.Event)


def run(wishes: Wishes) -> int:
    """Run the demo until it is done or stopped; the exit code."""
    if wishes.data is not None and not wishes.data.is_file():
        raise UsageError(f"There is no file {wishes.data}.", "Mend the path after DATA= or --data.")
    if wishes.offline:
        demo_offline.require()
    started = time.monotonic()
    try:
        with children.terminating(), ExitStack() as stack:
            return _run(wishes, stack, started)
    except KeyboardInterrupt:
        _tell("Stopped; no process is left.")
        return 130 if wishes.once else 0


def _run(wishes: Wishes, stack: ExitStack, started: float) -> int:
    folder = stack.enter_context(_own(wishes.folder))
    _tell("Starting PostgreSQL ...")
    server = embedded.start(folder / "db")
    stack.callback(server.stop)
    migrations.migrate(server.dsn)
    offline = demo_offline.start(stack, folder, _tell) if wishes.offline else None
    settings = _settings(folder, server.dsn, wishes, offline.settings if offline else {})
    if wishes.port not in (0, settings.api_port):
        _tell(f"Port {wishes.port} is taken: the API gets {settings.api_port}.")
    if wishes.airflow and wishes.port and settings.airflow_port != AIRFLOW_PORT:
        _tell(f"Port {AIRFLOW_PORT} is taken: Airflow gets {settings.airflow_port}.")
    environment = _environment(settings) | (offline.environment if offline else {})
    version = _model(wishes.profile, settings, environment)
    box = pipeline.open_box(settings)
    stack.callback(box.engine.dispose)
    if offline:
        offline.begin(box)
    user, token, schedule = _tokens(box.engine)
    box = replace(box, settings=settings.model_copy(update={"api_token": SecretStr(schedule)}))
    log = stack.enter_context((folder / "api.log").open("ab"))
    api = stack.enter_context(children.python(["-m", "appliance", "api"], environment, log))
    shown = {}
    if wishes.ui and demo_ui.installed(_tell):
        shown = {"screens": demo_ui.start(stack, environment, folder)}
    airflow = {}
    if wishes.airflow:
        known = demo_airflow.environment(environment, folder, schedule)
        airflow = demo_airflow.start(stack, settings, known, folder, _tell)
    _await_api(box, api, folder / "api.log")
    with engine.transaction(box.engine) as connection:
        since = overview.last_arrival(connection)
    plant_log = stack.enter_context((folder / "plant.log").open("ab"))
    plant = stack.enter_context(children.python(_plant(wishes, settings), environment, plant_log))
    if wishes.once:
        demo_once.play(box, plant, offline, _tell)
        profile = _profile(settings, wishes.profile)
        return demo_once.account(box, profile, since, version, started, offline, as_json=wishes.as_json)
    for child in shown.values():
        demo_ui.wait(settings, child)
    dashboards, told = demo_grafana.start(stack, box, folder, wishes.port, _tell) if wishes.grafana else ({}, [])
    lines = [
        f"API      {settings.base_url}  (described at {settings.base_url}/docs)",
        f"User     {user}, engineer, until tomorrow; token, shown this once: {token}",
        f"Model    {version}, profile {wishes.profile}",
        f"Drop     {settings.raw / wishes.profile}",
        *(demo_ui.lines(settings, box.engine) if shown else ()),
        *told,
        *(demo_airflow.lines(settings) if wishes.airflow else ()),
        "Ctrl-C stops everything.",
    ]
    away = {"stand-in for S3": offline.child} if offline else {}
    _show(wishes, box, {"API": api, "plant": plant, **shown, **dashboards, **airflow, **away}, lines, offline)
    return 0


def _show(
    wishes: Wishes,
    box: pipeline.Box,
    children: Mapping[str, subprocess.Popen[bytes]],
    lines: Sequence[str],
    offline: demo_offline.Offline | None,
) -> None:
    """Have the schedule kept in the background and draw the table until Ctrl-C, or until a child dies."""
    progress = Progress()
    threads = [threading.Thread(target=_schedule if wishes.airflow else _passes, args=(box, progress), name="passes")]
    if offline:
        threads.append(threading.Thread(target=offline.keep, args=(box, progress.stop, _tell), name="copies"))
    for thread in threads:
        thread.start()
    try:
        with demo_screen.Screen(_profile(box.settings, wishes.profile), lines) as screen:
            while True:
                with suppress(StoreAway):
                    with engine.transaction(box.engine) as connection:
                        seen = overview.overview(connection, wishes.profile)
                    screen.draw(seen, progress.trouble, offline.said if offline else "")
                for name, child in children.items():
                    if child.poll() is not None and (name != "plant" or child.returncode):
                        raise ApplianceError(
                            f"The {name} ended with code {child.returncode}.", "Its log is in the demo's folder."
                        )
                time.sleep(1)
    finally:
        progress.stop.set()
        for thread in threads:
            thread.join()


def _passes(box: pipeline.Box, progress: Progress) -> None:
    """The schedule of the box in small: ingest, then predict, every few seconds."""
    while not progress.stop.is_set():
        try:
            pipeline.ingest(box)
            pipeline.predict(box)
        except ApplianceError as error:
            progress.trouble = str(error)
        else:
            progress.trouble = ""
        progress.passes += 1
        progress.stop.wait(SECONDS_BETWEEN_PASSES)


def _schedule(box: pipeline.Box, progress: Progress) -> None:
    """Airflow keeps it; what is left to do is to start it off, and to look whether it is well."""

    def tell(trouble: str) -> None:
        progress.trouble = trouble

    demo_airflow.keep(box, progress.stop, tell)


def _settings(folder: Path, dsn: str, wishes: Wishes, more: Mapping[str, Any]) -> Settings:
    port = ports.choose(wishes.port)
    airflow_port = ports.choose(AIRFLOW_PORT if wishes.port else 0, port)
    ui_port = ports.choose(demo_ui.PORT if wishes.port else 0, port, airflow_port)
    return box_settings.load(
        data_dir=folder / "data",
        dsn=dsn,
        api_host="127.0.0.1",
        api_port=port,
        airflow_port=airflow_port,
        ui_port=ui_port,
        schedule="airflow" if wishes.airflow else "other",
        settle_seconds=0.2 if wishes.once else 1.0,
        site="demo",
        # For who tries `appliance backup`; nothing makes one by itself here.
        backup_to=str(folder.absolute() / "backups"),
        **more,
    )


def _environment(settings: Settings) -> dict[str, str]:
    """What children need to know of these settings; the database lets in its owner alone, so the DSN holds no secret."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
    return ours | {
        "APPLIANCE_DATA_DIR": str(settings.data_dir),
        "APPLIANCE_DSN": settings.require_dsn(),
        "APPLIANCE_API_HOST": settings.api_host,
        "APPLIANCE_API_PORT": str(settings.api_port),
        "APPLIANCE_AIRFLOW_PORT": str(settings.airflow_port),
        "APPLIANCE_UI_PORT": str(settings.ui_port),
        "APPLIANCE_SCHEDULE": settings.schedule,
        "APPLIANCE_SETTLE_SECONDS": str(settings.settle_seconds),
        "APPLIANCE_SITE": settings.site,
        "APPLIANCE_BACKUP_TO": settings.backup_to or "",
        "APPLIANCE_LOG_LEVEL": "warning",
    }


def _model(profile: str, settings: Settings, environment: Mapping[str, str]) -> str:
    """The version that serves; trained on the simulator's rows where there is none yet."""
    version = bundle.active_version(settings.models, profile)
    if version is not None:
        return version
    rows = settings.data_dir / f"training-{profile}.csv"
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    _tell(f"No model yet: simulating {TRAINING_ROWS:,} rows and training on them, once ...")
    simulate = ["-m", "model.simulate", "--plant", profile, "--rows", str(TRAINING_ROWS), "--seed", str(TRAINING_SEED)]
    _workshop([*simulate, "--out", str(rows)], environment)
    _workshop(["-m", "model.train", "--profile", profile, "--data", str(rows), "--activate"], environment)
    rows.unlink()
    version = bundle.active_version(settings.models, profile)
    assert version is not None
    return version


def _workshop(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    with children.python(arguments, environment, sys.stderr) as child:
        if child.wait() != 0:
            raise ApplianceError("There is no model to serve.", "What went wrong stands above.")


def _tokens(box_engine: Engine) -> tuple[str, str, str]:
    """A new user for this run, its token, and the token of the schedule; those of earlier runs end."""
    name = f"demo-{secrets.token_hex(3)}"
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with engine.transaction(box_engine) as connection:
        for token in principals.tokens(connection):
            if token["revoked_at"] is None and token["name"].startswith("demo-"):
                principals.revoke_token(connection, token["name"])
        person = principals.create_token(connection, name, role="engineer", source="api", expires_at=tomorrow)
        schedule = principals.create_token(
            connection, f"{name}-schedule", role="operator", source="scheduled", expires_at=tomorrow
        )
    return name, person, schedule


def _plant(wishes: Wishes, settings: Settings) -> list[str]:
    play = ["-m", "model.simulate", "--plant", wishes.profile, "--into", str(settings.raw)]
    play += ["--machines", str(wishes.machines), "--rows-per-file", str(wishes.rows_per_file)]
    play += ["--every", "0" if wishes.once else str(SECONDS_BETWEEN_FILES)]
    if wishes.data is not None:
        return [*play, "--from", str(wishes.data)]
    play += ["--faults", str(PLANT_FAULTS)]
    return [*play, "--files", str(FILES_PER_MACHINE_ONCE)] if wishes.once else play


def _profile(settings: Settings, name: str) -> Profile:
    return bundle.active_profile(settings.models, name, signing.trusted_keys(settings.keys))


def _await_api(box: pipeline.Box, api: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + API_START_SECONDS
    while time.monotonic() < deadline:
        if api.poll() is not None:
            break
        with suppress(ApiAway), box.client() as client:
            client.health()
            return
        time.sleep(0.1)
    last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    raise ApplianceError(f"The API did not start: {last[0]}.", f"Its log is {log}.")


@contextmanager
def _own(folder: Path) -> Iterator[Path]:
    """The demo's folder, for one demo at a time."""
    (folder / "backups").mkdir(parents=True, exist_ok=True)
    with durable.exclusive(folder / "lock", Conflict(f"A demo is running in {folder}.", "Stop it, or say --folder.")):
        yield folder.resolve()


def _tell(text: str) -> None:
    hint(f"demo: {text}")
