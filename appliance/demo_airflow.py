"""The demo's Airflow: set up once, run as children, and hurried at the start so that nobody waits for the clock."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from appliance import children, durable
from appliance.airflow import config, health, secrets, setup
from appliance.airflow.trigger import trigger
from appliance.errors import ApplianceError, StoreAway
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import engine, queries

SERVICES = ("api-server", "scheduler")
# Python's start, Airflow's imports and a small box; what takes longer is trouble.
_START_SECONDS = 120.0
_FILES_SECONDS = 60.0
_LOOK_SECONDS = 5.0


def environment(base: Mapping[str, str], folder: Path, token: str) -> dict[str, str]:
    """What Airflow's processes need to know besides: the token of the schedule, in a file for our eyes only."""
    hidden = folder / "secrets"
    hidden.mkdir(mode=0o700, exist_ok=True)
    durable.write(hidden / "appliance_api_token", token.encode(), 0o600)
    return {**base, "APPLIANCE_SECRETS_DIR": str(hidden)}


def start(
    stack: ExitStack, settings: Settings, environ: Mapping[str, str], folder: Path, tell: Callable[[str], None]
) -> dict[str, subprocess.Popen[bytes]]:
    """Set Airflow up where it is not, and start its services; they end with ``stack``, and with this process."""
    if not secrets.password_file(settings).exists():
        tell("Airflow is set up, once; this takes some ten seconds.")
    ready = setup.init(settings, tell, environ)
    if ready.broken:
        broken = ready.broken[0]
        raise ApplianceError(f"Airflow cannot read {broken.file}: {broken.reason}.", "The demo runs with --no-airflow.")
    tell("Starting Airflow, which takes some ten seconds until its first run ...")
    started = {}
    for service in SERVICES:
        log = stack.enter_context((folder / f"airflow-{service}.log").open("ab"))
        # KILL, for a scheduler that is asked to stop waits for its tasks, and these wait for what is gone by then.
        child = children.python(["-m", "appliance", "airflow", service], environ, log, children.KILL)
        started[f"Airflow {service}"] = stack.enter_context(child)
    return started


def lines(settings: Settings) -> list[str]:
    return [
        f"Airflow  {config.home_url(settings)}",
        f"         user {secrets.ADMIN}, password in {secrets.password_file(settings)}",
    ]


def keep(box: Box, stop: threading.Event, trouble: Callable[[str], None]) -> None:
    """Start each DAG once as soon as it has something to do, then tell what is wrong with Airflow until stopped."""
    url = config.home_url(box.settings)
    until = time.monotonic() + _START_SECONDS
    while not (found := health.look(url)).well and time.monotonic() < until:
        if stop.wait(0.5):
            return
    if found.well:
        with suppress(StoreAway):
            _hurry(box, stop, trouble)
    while not stop.wait(_LOOK_SECONDS):
        found = health.look(url)
        trouble("" if found.well else found.sentence())


def _hurry(box: Box, stop: threading.Event, trouble: Callable[[str], None]) -> None:
    for dag, ready in (("ingest", _files_wait), ("predict", _parts_wait)):
        until = time.monotonic() + _FILES_SECONDS
        while not ready(box) and time.monotonic() < until:
            if stop.wait(0.5):
                return
        try:
            trigger(box.settings, dag)
        except ApplianceError as error:
            trouble(str(error))


def _files_wait(box: Box) -> bool:
    return any(not name.startswith(".") for _, _, names in os.walk(box.settings.raw) for name in names)


def _parts_wait(box: Box) -> bool:
    with engine.transaction(box.engine) as connection:
        return queries.backlog(connection)["parts_waiting"] > 0
