"""The tests' end of :mod:`tests.faults.drive`: a file system on a drive whose power can be cut."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_ANSWER_SECONDS = 30.0
_LETTING_GO_SECONDS = 20.0


class Drive:
    """The process that plays the drive; ``point`` is it as a file."""

    def __init__(self, image: Path, seed: str) -> None:
        self.point, live = image.with_suffix(".point"), image.with_suffix(".live")
        self.point.touch()
        copy(image, live)
        command = [sys.executable, "-m", "tests.faults.drive", str(image), str(self.point), str(live), seed]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT)
        self._said = b""
        self._failed = self._off = False
        if self._line(_ANSWER_SECONDS) != "ready":
            self.end()
            raise OSError("this machine lets nobody play a drive")

    def arm(self, requests: int) -> None:
        """Have the power fail when so many more requests came."""
        self._tell(f"arm {requests}")

    def cut(self) -> None:
        """Now, where it is not cut yet."""
        if not self._failed:
            self._tell("cut")
            assert self.is_cut(_ANSWER_SECONDS), "the drive does not answer"

    def is_cut(self, seconds: float) -> bool:
        """Whether the power fails within that time. Whoever asks the drive then hangs, until it is off."""
        self._failed = self._failed or self._line(seconds).startswith("cut")
        return self._failed

    def off(self) -> None:
        """Let those go that hang; nothing of what they wrote counts."""
        self.cut()
        if not self._off:
            self._off = True
            self._tell("off")

    def requests(self) -> int:
        """How many came so far: of writes and flushes, for nothing else changes what a power cut leaves."""
        self._tell("count")
        return int(self._line(_ANSWER_SECONDS).split()[1])

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(_ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # The loop device lets go of it in its time.
        subprocess.run(["umount", "--lazy", str(self.point)], capture_output=True, check=False)

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def _line(self, seconds: float) -> str:
        """The next line that it says, '' where it says none in that time."""
        assert self._process.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self._said:
            left = until - time.monotonic()
            if left < 0 or not select.select([self._process.stdout], [], [], left)[0]:
                return ""
            more = os.read(self._process.stdout.fileno(), 4096)
            if not more:
                return ""
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()


def hindrance() -> str:
    """Why no power can be cut here, '' where it can."""
    if os.geteuid() != 0:
        return "to mount disks takes root"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "there is no /dev/fuse"
    missing = [name for name in ("mkfs.ext4", "e2fsck", "losetup") if shutil.which(name) is None]
    return f"there is no {missing[0]}" if missing else ""


def make(image: Path, mib: int) -> None:
    """A file with an empty file system."""
    with image.open("wb") as file:
        file.truncate(mib << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)


def copy(image: Path, to: Path) -> None:
    subprocess.run(["cp", "--sparse=always", str(image), str(to)], check=True)


@contextmanager
def mounted(device: Path, folder: Path) -> Iterator[Path]:
    """The file system in a file. A name that replaces another makes no file durable by itself, as ext4 else would."""
    folder.mkdir(exist_ok=True)
    options = "loop,noauto_da_alloc,errors=remount-ro"
    subprocess.run(["mount", "-t", "ext4", "-o", options, str(device), str(folder)], check=True)
    try:
        yield folder
    finally:
        _unmount(folder)


@contextmanager
def switched_on(image: Path, folder: Path, seed: str) -> Iterator[Drive]:
    """The file system in the image, on a drive. In the end the image holds what was durable, no more."""
    drive = Drive(image, seed)
    try:
        with mounted(drive.point, folder):
            try:
                yield drive
            finally:
                drive.off()
    finally:
        drive.end()


def faults(image: Path, folder: Path) -> list[str]:
    """What is wrong with a file system once its journal was replayed, a line each."""
    with mounted(image, folder):
        pass
    checked = subprocess.run(["e2fsck", "-f", "-n", str(image)], capture_output=True, text=True, check=False)
    return [] if checked.returncode == 0 else [f"e2fsck: {line}" for line in checked.stdout.splitlines()]


def _unmount(point: Path) -> None:
    """Whoever was killed lets go of it in its time."""
    until = time.monotonic() + _LETTING_GO_SECONDS
    while subprocess.run(["umount", str(point)], capture_output=True, check=False).returncode != 0:
        if time.monotonic() > until:
            subprocess.run(["umount", "--lazy", str(point)], capture_output=True, check=False)
            raise AssertionError(f"{point} is still in use")
        time.sleep(0.02)
