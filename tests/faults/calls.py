"""Which system calls change something outside of a process, and what one of them was about to change."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# By architecture: the kernel's name of it for filters, and the numbers of the calls.
_X86_64 = {
    "write": 1, "pwrite64": 18, "writev": 20, "sendfile": 40, "sendto": 44, "sendmsg": 46, "fsync": 74,
    "fdatasync": 75, "truncate": 76, "ftruncate": 77, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85,
    "link": 86, "unlink": 87, "symlink": 88, "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94,
    "mkdirat": 258, "fchownat": 260, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266,
    "fchmodat": 268, "splice": 275, "utimensat": 280, "fallocate": 285, "pwritev": 296, "renameat2": 316,
    "copy_file_range": 326, "pwritev2": 328, "fchmodat2": 452, "open": 2, "openat": 257,
}  # fmt: skip
_AARCH64 = {
    "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38, "truncate": 45, "ftruncate": 46,
    "fallocate": 47, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "write": 64, "writev": 66,
    "pwrite64": 68, "pwritev": 70, "sendfile": 71, "splice": 76, "fsync": 82, "fdatasync": 83, "utimensat": 88,
    "sendto": 206, "sendmsg": 211, "renameat2": 276, "copy_file_range": 285, "pwritev2": 287, "fchmodat2": 452,
    "openat": 56,
}  # fmt: skip
ARCHITECTURES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}

# Opening changes something only where it makes or empties a file. Which argument holds the flags:
_OPENING = {"open": 1, "openat": 2}
_MAKES = os.O_CREAT | os.O_TRUNC

_TO_DESCRIPTOR = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg", "fsync", "fdatasync")
_ON_DESCRIPTOR = (*_TO_DESCRIPTOR, "ftruncate", "fallocate", "fchmod", "fchown", "sendfile")
_AT = ("mkdirat", "unlinkat", "renameat", "renameat2", "linkat", "fchmodat", "fchownat", "utimensat", "openat")

_TAKES_NO_ROOM = ("unlink", "rmdir", "chmod", "fchmod", "chown", "fchown", "lchown", "truncate", "ftruncate", "utimens")

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was about to be made: its name, the file or the statement it was about, and for a sync its descriptor."""

    name: str
    subject: str
    descriptor: int = field(default=-1, compare=False)

    @property
    def is_statement(self) -> bool:
        """Whether it would have sent something to PostgreSQL."""
        return self.name in ("sendto", "sendmsg")

    @property
    def is_sync(self) -> bool:
        """Whether it would have made something durable."""
        return self.name in ("fsync", "fdatasync")

    @property
    def takes_room(self) -> bool:
        """Whether a full disk could be the answer."""
        return not self.name.startswith(_TAKES_NO_ROOM)

    def __str__(self) -> str:
        return f"{self.name} {self.subject}"


def filter_calls(libc: Any) -> None:
    """From now on this process's changing calls stop for its tracer."""
    architecture, numbers = ARCHITECTURES[platform.machine()]
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, 0)]
    for name, number in numbers.items():
        if name in _OPENING:
            flags = 16 + 8 * _OPENING[name]
            program += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, flags), (_ANY_BIT, 0, 1, _MAKES)]
            program += [(_RETURN, 0, 0, _TRACE), (_RETURN, 0, 0, _ALLOW)]
        else:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _TRACE)]
    program.append((_RETURN, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    # struct sock_fprog: a count, and behind its padding the address.
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    for option, argument, more in ((_PR_SET_NO_NEW_PRIVS, 1, 0), (_PR_SET_SECCOMP, _MODE_FILTER, head)):
        if libc.prctl(option, argument, more, 0, 0) != 0:
            number = ctypes.get_errno() or errno.EPERM
            raise OSError(number, os.strerror(number))


def described(task: int, number: int, arguments: Sequence[int]) -> Call | None:
    """What a stopped task is about to do; None where it only wakes another thread or talks to a pipe."""
    numbers = ARCHITECTURES[platform.machine()][1]
    name = next(name for name, known in numbers.items() if known == number)
    if name in _ON_DESCRIPTOR:
        try:
            subject = str(Path(f"/proc/{task}/fd/{arguments[0]}").readlink())
        except OSError:
            return None
        if subject.startswith("socket:"):
            return Call(name, _statement(task, arguments) if name == "sendto" else subject)
        is_file = subject.startswith("/") and not subject.startswith("/dev/")
        return Call(name, subject, arguments[0]) if is_file else None
    return Call(name, _text(task, arguments[1 if name in _AT else 0]))


def _text(task: int, address: int) -> str:
    return os.fsdecode(_memory(task, address, 4096).split(b"\0", 1)[0])


def _statement(task: int, arguments: Sequence[int]) -> str:
    """A message to PostgreSQL: a letter, its length, and for a statement (Q) its text."""
    message = _memory(task, arguments[1], min(arguments[2], 200))
    if message[:1] == b"Q":
        return " ".join(message[5:].split(b"\0", 1)[0].decode(errors="replace").split())[:100]
    return {b"d": "COPY data", b"c": "end of COPY", b"X": "goodbye"}.get(message[:1], "connection")


def _memory(task: int, address: int, length: int) -> bytes:
    """Memory of a stopped task; as much of it as there is."""
    with Path(f"/proc/{task}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        # A page that is not there ends the reading; what lies before it is given.
        page = 4096 - address % 4096
        data = memory.read(min(length, page))
        if length > page and b"\0" not in data:
            with suppress(OSError):
                data += memory.read(length - page)
        return data
