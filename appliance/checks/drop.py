"""Files that lie in the drop folders and are not taken."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta

from appliance import bundle, intake
from appliance.checks.base import Context, Fault, long

_LONG = timedelta(minutes=15)


def check(context: Context) -> list[Fault]:
    settings = context.settings
    if not settings.raw.is_dir():
        return []
    profiles = [name for name in bundle.profiles(settings.models) if bundle.active_version(settings.models, name)]
    found = []
    # When the file came to this disk by this box's clock: its mtime is that of whoever wrote it.
    ages = []
    for path in intake.look(settings.raw, profiles):
        try:
            entry = path.lstat()
        except FileNotFoundError:
            continue  # taken at this moment
        if stat.S_ISREG(entry.st_mode):
            ages.append(context.now - datetime.fromtimestamp(entry.st_ctime, UTC))
    late = [age for age in ages if age > _LONG]
    if late:
        said = f"{len(late)} files wait in the drop folders, the oldest for {long(max(late))}."
        found.append(Fault("drop", "warning", said, "Is the schedule running? `appliance ingest` takes them by hand."))
    strays = intake.strays(settings.raw, profiles)
    if strays:
        named = ", ".join(sorted(ascii(path.name)[1:-1] for path in strays)[:3])
        said = f"{len(strays)} entries in the drop folders belong to no served profile ({named})."
        way_out = f"Files belong into {settings.raw}/<profile>/, for a profile with an active model."
        found.append(Fault("drop", "warning", said, way_out))
    return found
