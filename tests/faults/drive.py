"""``python -m tests.faults.drive``: a drive with a volatile cache, whose power fails at the request that it is told.

It is a file of FUSE, so that a loop device can stand on it: what the kernel writes to that device, and when it has it
flushed, arrives here request by request. Like a drive, it answers a write once it has it in its cache, and what is in
the cache outlives a power cut only from the next flush on. Of what was not flushed by then each sector is kept or lost
by chance, whatever the order in which it came.

Arguments: the file that holds what is durable, the file to mount on, a file for what is in the cache, the seed. Orders
come in as lines: ``arm N`` (the power fails when N more requests came), ``cut`` (now), ``off``, ``count``. With the power
gone nobody is answered until ``off``; from then on all are, and nothing of it counts.
"""

from __future__ import annotations

import ctypes
import errno
import io
import os
import random
import select
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path

SECTOR = 512
# What linux/fuse.h calls them.
_GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS, _RELEASE, _FSYNC = 3, 4, 14, 15, 16, 17, 18, 20
_FLUSH, _INIT, _INTERRUPT, _DESTROY, _FORGET, _FALLOCATE, _BATCH_FORGET = 25, 26, 36, 38, 2, 43, 42
_UNANSWERED = (_INTERRUPT, _FORGET, _BATCH_FORGET)
_BIG_WRITES, _MINOR = 1 << 5, 31
_LARGEST_WRITE = 128 << 10
_HEAD, _ANSWER = struct.Struct("=IIQQIIIHH"), struct.Struct("=IiQ")
_LONG_VALID = 1 << 20
# Discards and zeros are writes of zeros; anything else that fallocate does is not for drives.
_ZEROING = (0x03, 0x10, 0x11)


class Drive:
    """``durable`` is what a power cut leaves, ``live`` what whoever reads sees."""

    def __init__(self, durable: Path, live: Path, seed: str) -> None:
        self.size = durable.stat().st_size
        self._durable = os.open(durable, os.O_RDWR)
        self._live = os.open(live, os.O_RDWR)
        self._chance = random.Random(seed)
        self._cache: list[tuple[int, bytes]] = []
        self.requests = 0
        self.left: int | None = None
        self.is_cut = False

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._live, size, offset)

    def write(self, offset: int, data: bytes) -> None:
        os.pwrite(self._live, data, offset)
        if not self.is_cut:
            self._cache.append((offset, data))
            self._count()

    def flush(self) -> None:
        if not self.is_cut:
            for offset, data in self._cache:
                os.pwrite(self._durable, data, offset)
            self._cache.clear()
            self._count()

    def cut(self) -> None:
        """Each sector that waits is kept or lost: all of them, none, or some, at any place of a write."""
        self.is_cut = True
        kept = self._chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        for offset, data in self._cache:
            for at in range(0, len(data), SECTOR):
                if self._chance.random() < kept:
                    os.pwrite(self._durable, data[at : at + SECTOR], offset + at)
        self._cache.clear()

    def _count(self) -> None:
        self.requests += 1
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                self.cut()


class Mounted:
    """The drive as a file."""

    def __init__(self, drive: Drive, point: Path) -> None:
        self._drive = drive
        self.channel = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.channel},rootmode={stat.S_IFREG:o},user_id=0,group_id=0,max_read={_LARGEST_WRITE}"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"drive", os.fsencode(point), b"fuse", 0, options.encode()) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._does: dict[int, Callable[[bytes], bytes]] = {
            _INIT: self._init,
            _GETATTR: lambda body: self._attributes(),
            _SETATTR: lambda body: self._attributes(),
            _OPEN: lambda body: struct.pack("=QIi", 0, 0, 0),
            _READ: self._read,
            _WRITE: self._write,
            _FSYNC: lambda body: self._flush(),
            _FALLOCATE: self._zero,
            # Closing a file flushes no drive.
            _FLUSH: lambda body: b"",
            _RELEASE: lambda body: b"",
            _DESTROY: lambda body: b"",
            _STATFS: lambda body: struct.pack("=5Q4I24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0),
        }

    def serve(self) -> bool:
        """One request; False when there will be no more."""
        try:
            request = os.read(self.channel, _LARGEST_WRITE + (64 << 10))
        except OSError as error:
            return error.errno != errno.ENODEV
        _, operation, number, *_ = _HEAD.unpack_from(request)
        if operation in _UNANSWERED:
            return True
        does = self._does.get(operation)
        failed = -errno.ENOSYS
        answer = b""
        if does is not None:
            try:
                answer, failed = does(request[_HEAD.size :]), 0
            except OSError as error:
                failed = -(error.errno or errno.EIO)
        os.write(self.channel, _ANSWER.pack(_ANSWER.size + len(answer), failed, number) + answer)
        return True

    def _init(self, body: bytes) -> bytes:
        ahead = struct.unpack_from("=4I", body)[2]
        return struct.pack("=4I2H2I2HI28x", 7, _MINOR, ahead, _BIG_WRITES, 16, 12, _LARGEST_WRITE, 1, 0, 0, 0)

    def _attributes(self) -> bytes:
        size, mode = self._drive.size, stat.S_IFREG | 0o600
        # Number, size, blocks, six halves of times; mode, links, owner and group, device, block size, flags.
        attributes = struct.pack("=6Q3I7I", 1, size, size // SECTOR, *[0] * 6, mode, 1, 0, 0, 0, 4096, 0)
        return struct.pack("=QII", _LONG_VALID, 0, 0) + attributes

    def _read(self, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", body)
        return self._drive.read(offset, size)

    def _write(self, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", body)
        self._drive.write(offset, body[40 : 40 + size])
        return struct.pack("=II", size, 0)

    def _flush(self) -> bytes:
        self._drive.flush()
        return b""

    def _zero(self, body: bytes) -> bytes:
        _, offset, length, mode = struct.unpack_from("=QQQI", body)
        if mode not in _ZEROING:
            raise OSError(errno.EOPNOTSUPP, "")
        for at in range(offset, offset + length, _LARGEST_WRITE):
            self._drive.write(at, bytes(min(_LARGEST_WRITE, offset + length - at)))
        return b""


def main() -> None:
    durable, point, live, seed = sys.argv[1:]
    drive = Drive(Path(durable), Path(live), seed)
    mounted = Mounted(drive, Path(point))
    # Without a buffer: poll knows of none.
    orders = io.FileIO(0, closefd=False)
    _say("ready")
    ready = select.poll()
    for one in (mounted.channel, 0):
        ready.register(one, select.POLLIN)
    told = False
    while True:
        if drive.is_cut and not told:
            told = True
            _say(f"cut {drive.requests}")
            if not _obey(drive, orders.readline()):
                return
        for one, _ in ready.poll():
            if one == mounted.channel and not mounted.serve():
                return
            if one == 0 and not _obey(drive, orders.readline()):
                return


def _obey(drive: Drive, line: bytes) -> bool:
    match line.decode().split():
        case ["arm", number]:
            drive.left = int(number)
        case ["cut"]:
            drive.cut()
        case ["count"]:
            _say(f"count {drive.requests}")
        case []:
            return False
    return True


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main()
