"""Room, and leave to write, where the data lies."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from appliance.checks.base import Context, Fault

_MIB = 1 << 20
# Below this not even the journal of a small file and its database rows are safe to fit.
_FAULT_BYTES = 256 * _MIB
# A tenth of a large disk is a lot, so the warning comes at the smaller of both.
_WARN_SHARE, _WARN_BYTES = 0.10, 5 * 1024 * _MIB
_INODES_SHARE = 0.02


def check(context: Context) -> list[Fault]:
    folder = context.settings.data_dir.absolute()
    while not folder.exists():  # nothing was written yet: its disk is that of the folder it will lie in
        folder = folder.parent
    disk = os.statvfs(folder)
    if _is_frozen(folder, disk):
        return [
            Fault(
                "disk", "fault", "The data folder's disk is read-only.", "Check the disk: a failing one often ends so."
            )
        ]
    free, size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    way_out = "Free some, shorten archive_days, or move data_dir to a larger disk."
    if free < _FAULT_BYTES:
        return [Fault("disk", "fault", f"The disk is full: {free // _MIB} MiB are left.", way_out)]
    if free < min(size * _WARN_SHARE, _WARN_BYTES):
        return [Fault("disk", "warning", f"The disk fills up: {free // _MIB} MiB are left.", way_out)]
    if disk.f_files and disk.f_favail < disk.f_files * _INODES_SHARE:
        return [Fault("disk", "warning", "The disk is running out of inodes: too many small files.", way_out)]
    return []


def _is_frozen(folder: Path, disk: os.statvfs_result) -> bool:
    """Whether nobody may write to the folder's disk, as when the kernel has found it failing.

    A service that is locked in sees as read-only what others write to: what counts is the disk, not our view of it.
    """
    if not disk.f_flag & os.ST_RDONLY:
        return False
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            mounted, _, source = line.partition(" - ")
            if mounted.split()[2] == number:
                return "ro" in source.split()[2].split(",")
    return True
