"""What is known of backups without a look into one: where they go, and whether a restore was broken off."""

from __future__ import annotations

import json
from typing import Any

from appliance import bucket
from appliance.errors import SettingError
from appliance.settings import Settings

PLAN = "restore.json"


def place_name(settings: Settings) -> str:
    """What the ledger calls the place that the settings name; '' where they name none."""
    return bucket.place(settings) if settings.backup_to == "s3" else settings.backup_to or ""


def plan(settings: Settings) -> dict[str, Any]:
    """What a restore that was broken off in its last step had still to rename; {} where there is none."""
    try:
        found: dict[str, Any] = json.loads((settings.backups / PLAN).read_bytes())
    except FileNotFoundError:
        return {}
    except PermissionError:
        raise SettingError(f"{settings.backups} cannot be read.", "Call this as the box's administrator.") from None
    return found


def pending(settings: Settings) -> str:
    """The name of the backup of such a restore, '' where there is none."""
    found = plan(settings)
    return str(found["name"]) if found else ""
