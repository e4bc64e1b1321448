"""A disk that nobody can write to, told from a view of it that only this process has: with real mounts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# The folders disk and view, the disk itself in force, then frozen as the kernel does with one that fails.
_SCRIPT = """
set -e
mount -t tmpfs none disk
mkdir disk/data
mount --bind disk view
mount -o remount,bind,ro view
"$@"
mount -o remount,ro disk
"$@"
"""
_LOOK = """
from datetime import UTC, datetime
from pathlib import Path
from appliance.checks import Context, disk
from appliance.settings import Settings
for folder in ("disk/data", "view/data", "view/data/not/there/yet"):
    settings = Settings(data_dir=Path(folder))
    faults = disk.check(Context(settings, None, None, datetime.now(UTC)))
    print(f"{folder}: {next((fault.sentence for fault in faults if fault.severity == 'fault'), '')}")
"""


def test_a_frozen_disk_is_a_fault_and_a_locked_in_view_of_a_good_one_is_none(tmp_path: Path) -> None:
    apart = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount, not even apart from everybody else")
    (tmp_path / "disk").mkdir()
    (tmp_path / "view").mkdir()
    command = [*apart, "sh", "-c", _SCRIPT, "sh", sys.executable, "-c", _LOOK]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    frozen = "The data folder's disk is read-only."
    places = ("disk/data", "view/data", "view/data/not/there/yet")
    assert done.stdout.splitlines() == [f"{place}: {said}" for said in ("", frozen) for place in places]
