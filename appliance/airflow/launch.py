"""Becoming one of Airflow's processes: what can be wrong is said in one sentence first, then this process is Airflow."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from appliance.airflow import config
from appliance.errors import SettingError
from appliance.settings import Settings
from appliance.store import airflow as database
from appliance.store import engine

# What a stop of the api-server may wait for a page that is open.
_STOP_SECONDS = "15"


def require() -> None:
    """SettingError where Airflow is not installed."""
    found = importlib.util.find_spec("airflow")
    if found is None or found.origin is None:
        raise SettingError(
            "Airflow is not installed.",
            "Install the extra `airflow` (pip install 'failure-appliance[airflow]'), or keep the schedule another way.",
        )


def api_server(settings: Settings) -> NoReturn:
    """Become the api-server: pages for people, and what tasks report to."""
    _become(["api-server", "--worker-timeout", _STOP_SECONDS], _ready(settings))


def scheduler(settings: Settings) -> NoReturn:
    """Become the scheduler, the only one of this box."""
    _become(["scheduler", "--skip-serve-logs"], _ready(settings))


def command(settings: Settings, arguments: Sequence[str]) -> NoReturn:
    """Become any command of Airflow's own command line."""
    require()
    _become(arguments, config.environment(settings))


def python(module: str, *arguments: str) -> list[str]:
    """The command of a child that runs one of our modules beside Airflow.

    -P: a folder that is named as a module and lies where we happen to stand is none.
    """
    return [sys.executable, "-P", "-m", f"appliance.airflow.{module}", *arguments]


def _ready(settings: Settings) -> dict[str, str]:
    """The environment of a service; SettingError or StoreAway where it could not work."""
    require()
    environment = config.environment(settings)
    store = engine.connect(config.dsn(settings), "appliance-airflow", pool_size=1)
    with engine.transaction(store) as connection:
        held = database.held(connection)
    store.dispose()
    if not held.ready or not (settings.airflow / "airflow.cfg").is_file():
        raise SettingError("Airflow is not set up on this box.", "Run `appliance airflow init`.")
    return environment


def _become(arguments: Sequence[str], environment: dict[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    words = python("process", *arguments)
    os.execve(words[0], words, environment)
