"""Small disks: a file system of its own in a file, to be filled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from appliance.store import embedded

_STEP = 64 << 10


@contextmanager
def small(image: Path, folder: Path, mib: int) -> Iterator[Path]:
    """``folder`` as a disk of that size, mounted from the file ``image``; skips where nobody may mount."""
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(mib << 20)
    made_it = subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], capture_output=True, check=False)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True, check=False)
    if made_it.returncode or mounted.returncode:
        pytest.skip("this machine lets nobody mount a file as a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def used(folder: Path) -> float:
    disk = os.statvfs(folder)
    return 1 - disk.f_bavail / disk.f_blocks


def fill(folder: Path, leave: int = 0) -> Path:
    """A file that takes all but so many bytes; to be removed again."""
    filler = folder / "filler"
    with filler.open("ab") as file:
        free = os.statvfs(folder)
        with suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - leave - _STEP, 1))
        while not leave:
            try:
                os.write(file.fileno(), b"\0" * 1024)
            except OSError:
                break
    return filler


def write_ahead_in_small_pieces(folder: Path) -> None:
    """Have the server of ``folder``, which is stopped, write ahead in files of 1 MiB, where 16 are usual."""
    binaries = embedded._packaged_binaries()
    command = [str(binaries / "pg_resetwal"), "--wal-segsize=1", "-D", str(folder / "data")]
    owner = embedded.service_user(embedded.SERVICE_USER)
    subprocess.run(command, check=True, capture_output=True, **embedded.run_as(owner))
