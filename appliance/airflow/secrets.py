"""The secrets of this box's Airflow: from the settings, else files that are made once and never replaced.

All services need the same ones: what one signs the others check.
"""

from __future__ import annotations

import base64
import secrets
import stat
from binascii import Error as NotBase64
from dataclasses import dataclass, fields
from pathlib import Path

from appliance import durable
from appliance.errors import SettingError
from appliance.settings import Settings

ADMIN = "admin"
_FERNET_BYTES = 32
_SHORTEST = 32
_INIT = "Run `appliance airflow init`."


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    fernet_key: str  # encrypts connections and variables
    jwt_secret: str  # signs what the services say to each other
    secret_key: str  # signs sessions of the pages


def folder(settings: Settings) -> Path:
    return settings.airflow / "secrets"


def password_file(settings: Settings) -> Path:
    """Where the password of the first user stands."""
    return folder(settings) / "admin_password"


def make(settings: Settings) -> list[str]:
    """Make what neither the settings nor a file say; the names of those made. What is there stays."""
    _make_folder(settings)
    missing = [name for name in _names() if _set(settings, name) is None]
    return [name for name in missing if _make_file(folder(settings) / name, _fresh(name))]


def make_password(settings: Settings) -> bool:
    """Make a password for the first user where there is none; whether there was none."""
    _make_folder(settings)
    return _make_file(password_file(settings), secrets.token_urlsafe(18))


def renew_password(settings: Settings) -> None:
    """Put another password in place of the one in the file. It counts once Airflow's database has it too."""
    _make_folder(settings)
    durable.write(password_file(settings), secrets.token_urlsafe(18).encode(), 0o600)


def read(settings: Settings) -> Keys:
    """All three; SettingError where one is missing, cannot be read, is open to others, or is none."""
    return Keys(**{name: _checked(name, _set(settings, name) or _file(folder(settings) / name)) for name in _names()})


def read_password(settings: Settings) -> str:
    return _file(password_file(settings))


def _names() -> list[str]:
    return [field.name for field in fields(Keys)]


def _set(settings: Settings, name: str) -> str | None:
    found = getattr(settings, f"airflow_{name}")
    return found.get_secret_value() if found is not None else None


def _fresh(name: str) -> str:
    if name == "fernet_key":
        return base64.urlsafe_b64encode(secrets.token_bytes(_FERNET_BYTES)).decode()
    return secrets.token_urlsafe(48)


def _make_folder(settings: Settings) -> None:
    settings.airflow.mkdir(parents=True, exist_ok=True)
    try:
        folder(settings).mkdir(mode=0o700)
    except FileExistsError:
        return
    durable.sync_folder(settings.airflow)


def _make_file(path: Path, value: str) -> bool:
    if path.exists():
        return False
    try:
        durable.write_new(path, value.encode(), 0o600)
    except FileExistsError:  # another one was quicker
        return False
    return True


def _file(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        value = path.read_text().strip()
    except FileNotFoundError:
        raise SettingError(f"Airflow's secret {path} is missing.", _INIT) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingError(f"Airflow's secret {path} cannot be read ({reason}).", "See to whom it belongs.") from None
    if mode & 0o077:
        raise SettingError(
            f"Airflow's secret {path} is open to others (mode {mode:04o}).",
            f"Say `chmod 600 {path}`, and remove it before `appliance airflow init` if others may have read it.",
        )
    if not value:
        raise SettingError(f"Airflow's secret {path} is empty.", f"Remove it. {_INIT}")
    return value


def _checked(name: str, value: str) -> str:
    if name == "fernet_key":
        try:
            fits = len(base64.urlsafe_b64decode(value)) == _FERNET_BYTES
        except (ValueError, NotBase64):
            fits = False
        wanted = "32 bytes in URL-safe base64"
    else:
        fits = len(value) >= _SHORTEST
        wanted = f"at least {_SHORTEST} characters"
    # Airflow replaces $NAME and ~ by the environment in what it reads.
    if not fits or "$" in value or value.startswith("~"):
        raise SettingError(
            f"Airflow's secret {name} cannot be used: it has to be {wanted}, without $ and without ~ at its start.",
            f"Mend airflow_{name}, or leave it out and run `appliance airflow init`.",
        )
    return value
