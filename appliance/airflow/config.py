"""The whole configuration of this box's Airflow, as a process environment; ``airflow.cfg`` stays empty.

One place, so that the api-server, the scheduler, its tasks and a command by hand agree to the letter: Airflow signs
what its parts say to each other, and a part with another key or another address is a stranger.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import appliance
from appliance.airflow import secrets
from appliance.airflow.health import STALE_SECONDS
from appliance.errors import SettingError
from appliance.settings import Settings

# Beside this package, wherever it is installed; a folder of that name where the process happens to stand is not it.
DAGS_FOLDER = Path(appliance.__file__).resolve().parent.parent / "dags"

DATABASE = "airflow"
# A scheduled pass of one kind never waits for one of the other.
PARALLELISM = 2
# Of the scheduler and of the api-server each; most of the time one is used.
POOL_SIZE, POOL_OVERFLOW = 2, 6
# A folder a day and a file a run, where Airflow's own way makes three folders for each file.
LOG_NAME = (
    "{{ ti.dag_id }}/{{ ti.run_id.split('__')[-1][:10] }}/"
    "{{ ti.run_id }}.{{ ti.task_id }}.{{ try_number|default(ti.try_number) }}.log"
)

_ADDRESS = re.compile(
    r"postgres(?:ql)?(?:\+\w+)?://(?P<server>(?:[^/:@]*(?::[^@]*)?@)?[^/?]*)(?:/(?P<name>[^?]*))?(?P<rest>\?.*)?", re.S
)
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - compared, not bound


def environment(settings: Settings, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of any Airflow process of this box: ``base`` (ours where None) with Airflow's settings above it.

    It holds secrets. SettingError where one is missing, where the database is not set or is the appliance's own.
    """
    base = os.environ if base is None else base
    return {**base, **_process(settings, base), **_airflow(settings)}


def dsn(settings: Settings) -> str:
    """Airflow's own database for SQLAlchemy: as it is set, else ``airflow`` on the appliance's server."""
    return _address(settings, "psycopg2")


def home_url(settings: Settings) -> str:
    """Where processes of this box find the api-server, without a slash at the end."""
    host = _ANY_ADDRESS.get(settings.airflow_host, settings.airflow_host)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http://{host}:{settings.airflow_port}"


def logs(settings: Settings) -> Path:
    return settings.airflow / "logs"


def _process(settings: Settings, base: Mapping[str, str]) -> dict[str, str]:
    """What is not Airflow's own to configure."""
    named = [base.get("no_proxy", ""), base.get("NO_PROXY", ""), "127.0.0.1", "localhost", "::1", settings.airflow_host]
    # Tasks speak to the api-server over HTTP; a proxy that the site needs for other things would never find it.
    spared = ",".join(dict.fromkeys(word.strip() for text in named for word in text.split(",") if word.strip()))
    return {
        "AIRFLOW_HOME": str(settings.airflow),
        "AIRFLOW_CONFIG": str(settings.airflow / "airflow.cfg"),
        "MALLOC_ARENA_MAX": "2",
        "NO_PROXY": spared,
        "no_proxy": spared,
    }


def _airflow(settings: Settings) -> dict[str, str]:
    keys = secrets.read(settings)
    sections: dict[str, dict[str, object]] = {
        "core": {
            "auth_manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "dags_folder": DAGS_FOLDER,
            "dags_are_paused_at_creation": False,
            "default_timezone": settings.timezone,
            "execution_api_server_url": f"{home_url(settings)}/execution/",
            "executor": "LocalExecutor",
            "fernet_key": keys.fernet_key,
            # The default asks the name service, which a box without network waits for.
            "hostname_callable": "socket.gethostname",
            "load_examples": False,
            "max_active_runs_per_dag": 1,
            "mp_start_method": "fork",
            "parallelism": PARALLELISM,
        },
        "database": {
            "sql_alchemy_conn": _address(settings, "psycopg2"),
            # The one asynchronous driver that reads addresses as the others do, unix sockets and TLS included.
            "sql_alchemy_conn_async": _address(settings, "psycopg"),
            "sql_alchemy_pool_size": POOL_SIZE,
            "sql_alchemy_max_overflow": POOL_OVERFLOW,
        },
        "api": {
            "dag_cache_size": 8,
            # That page takes its scripts from the internet.
            "enable_swagger_ui": False,
            "host": settings.airflow_host,
            "instance_name": settings.site,
            "port": settings.airflow_port,
            "secret_key": keys.secret_key,
            "workers": 1,
        },
        "api_auth": {"jwt_secret": keys.jwt_secret},
        "dag_processor": {"parsing_processes": 1},
        "logging": {
            "base_log_folder": logs(settings),
            "colored_console_log": False,
            "dag_processor_child_process_log_directory": logs(settings) / "dag_processor",
            "file_task_handler_new_file_permissions": "0o640",
            "file_task_handler_new_folder_permissions": "0o750",
            "log_filename_template": LOG_NAME,
            "logging_level": settings.log_level.upper(),
            # Each running task asks once a second: a journal of nothing else.
            "namespace_levels": "http.access=WARNING",
        },
        "scheduler": {
            # A task whose process was killed is found within two minutes and not within five.
            "orphaned_tasks_check_interval": 60,
            # A turn with nothing to do takes some 40 ms of CPU: at one a second, most of what an idle box costs.
            "scheduler_idle_sleep_time": 2,
            # From when on Airflow too takes a scheduler for dead.
            "scheduler_health_check_threshold": STALE_SECONDS,
            "task_instance_heartbeat_timeout": 120,
        },
        "workers": {
            # The first call builds an application, for some seconds.
            "execution_api_timeout": 30,
            # Otherwise a run that is done idles for five seconds.
            "min_heartbeat_interval": 1,
        },
    }
    return {
        f"AIRFLOW__{section.upper()}__{option.upper()}": str(value)
        for section, options in sections.items()
        for option, value in options.items()
    }


def _address(settings: Settings, driver: str) -> str:
    ours = settings.require_dsn() if settings.airflow_dsn is None else None
    given = ours or (settings.airflow_dsn.get_secret_value() if settings.airflow_dsn else "")
    found = _ADDRESS.fullmatch(given)
    if found is None:
        # The text may hold a password, so it is not repeated.
        raise SettingError(
            f"Setting {'dsn' if ours else 'airflow_dsn'!r} is no PostgreSQL address.",
            "Write it as postgresql://user:password@host:5432/name, or postgresql://user@/name?host=/folder/of/socket.",
        )
    server, name, rest = found["server"], DATABASE if ours else found["name"] or "", found["rest"] or ""
    own = _ADDRESS.fullmatch(settings.dsn.get_secret_value()) if settings.dsn else None
    if not name or (own is not None and (own["server"], own["name"], own["rest"] or "") == (server, name, rest)):
        raise SettingError(
            "Airflow's database has to be one of its own.", "Name another one in airflow_dsn, or in dsn."
        )
    # Airflow replaces $NAME by the environment in what it reads.
    return f"postgresql+{driver}://{server}/{name}{rest}".replace("$", "%24")
