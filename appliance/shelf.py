"""Which profiles a box has models of, and which version is to serve: told from names alone, without opening a model.

Light to import: a look at an empty drop folder asks this every minute. All else about models is in
:mod:`appliance.bundle`.
"""

from __future__ import annotations

import re
from pathlib import Path

from appliance.errors import UsageError

ACTIVE = "active"
_PROFILE_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def profiles(models: Path) -> list[str]:
    """Names of the profiles that have a shelf."""
    if not models.is_dir():
        return []
    return sorted(p.name for p in models.iterdir() if _PROFILE_NAME.fullmatch(p.name) and p.is_dir())


def served(models: Path) -> list[str]:
    """Names of the profiles of which a version is to serve."""
    return [name for name in profiles(models) if active_version(models, name)]


def active_version(models: Path, profile: str) -> str | None:
    """The version that is to serve, as the pointer says it; None where there is none."""
    try:
        return (shelf_of(models, profile) / ACTIVE).read_text(encoding="ascii", errors="replace").strip()[:80]
    except (FileNotFoundError, NotADirectoryError):
        return None


def shelf_of(models: Path, profile: str) -> Path:
    """The folder of a profile's models."""
    if not _PROFILE_NAME.fullmatch(profile):
        raise UsageError(f"{profile[:80]!r} is no name of a profile.", "One looks like milling.")
    return models / profile
