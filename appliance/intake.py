"""A file of the drop folder -> a copied, hashed, safe file, and its removal when it is done.

What lies there is made by strangers: it may be half written, a link to somewhere else, a pipe that never ends, or
change while it is read. So a file is copied before anyone parses it, and removed only while it is still the same.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import signal
import stat
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance import durable
from appliance.dropfolder import Identity, Look, look, parent, settled, strays
from appliance.errors import Conflict, DiskTrouble, FileRefused
from appliance.gate import ByteGate, Format, format_of
from appliance.names import DEMO, as_demo, is_demo, machine_fault, name_fault, printable
from appliance.profile import Profile
from appliance.removal import LEAVING, move, move_entry, put_back, remove

__all__ = [
    "Candidate",
    "Claimed",
    "Identity",
    "Left",
    "Look",
    "claim",
    "exclusive",
    "look",
    "release",
    "remove",
    "settled",
    "strays",
    "tidy",
]

BLOCK = 2**20
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_CLAIM = "claim-"

Candidate = Look
Why = Literal["changed", "vanished", "being_written", "unreadable"]


@dataclass(frozen=True, slots=True)
class Claimed:
    """An arrival.

    ``path``: its copy in the work folder; None, and ``sha256`` '', where the entry is refused without being opened.
    ``refusal``: why it cannot be taken as a whole. ``name``: as it may be shown and stored. ``origin``: the machine
    that folder or file name says, '' where the profile says otherwise. That of a simulated file begins with the mark
    of such (:data:`appliance.names.DEMO`), and that of no other does.
    """

    look: Look
    name: str
    path: Path | None
    sha256: str
    size: int
    origin: str
    format: Format | Literal[""]
    refusal: FileRefused | None


@dataclass(frozen=True, slots=True)
class Left:
    """Not taken this time: no arrival; the next pass looks again."""

    look: Look
    why: Why


class _NotNowError(Exception):
    def __init__(self, why: Why) -> None:
        self.why = why


def exclusive(work: Path, *, wait: bool = False) -> AbstractContextManager[None]:
    """Hold the one lock of a pass; :class:`Conflict` where another is running and ``wait`` is not asked for."""
    work.mkdir(parents=True, exist_ok=True)
    busy = Conflict("Another pass is running.", "It takes new files along; wait until it is done.")
    return durable.exclusive(work / ".pass", busy, wait=wait)


def tidy(work: Path, raw: Path) -> None:
    """Under :func:`exclusive`, before the first look: undo what a killed pass left half done."""
    for path in work.glob(f"{_CLAIM}*"):
        path.unlink(missing_ok=True)
    for path in (*raw.glob(f"*/{LEAVING}*"), *raw.glob(f"*/*/{LEAVING}*")):
        with suppress(FileNotFoundError, NotADirectoryError), parent(raw, path) as folder:
            put_back(folder, path.name)


def claim(look: Look, profile: Profile, work: Path, size_limit: int) -> Claimed | Left:
    """Copy a settled file of at most ``size_limit`` bytes into ``work``, hashing it and looking at its bytes.

    A file that is refused is copied all the same, so that it can be kept; one that must not be opened is not.
    """
    name = printable(look.path.name)
    origin = DEMO if is_demo(look.path.name) or is_demo(look.folder) else ""
    if refusal := _unopened(look, size_limit):
        return Claimed(look, name, None, "", look.identity.size, origin, "", refusal)
    form: Format | Literal[""] = ""
    try:
        _check_names(look)
        origin = _origin(look, profile, origin)
        form = format_of(look.path.name, profile)
    except FileRefused as error:
        refusal = error
    gate = ByteGate(profile, form)
    copy = work / f"{_CLAIM}{secrets.token_hex(8)}"
    try:
        digest = _copy(look, copy, gate)
    except _NotNowError as error:
        return Left(look, error.why)
    found = gate.end()
    # What a file really is says more than its extension: unpack report.csv.gz.
    refusal = found if found and found.reason == "compressed" else refusal or found
    return Claimed(look, name, copy, digest, look.identity.size, origin, form, refusal)


def release(claimed: Claimed, keep: Path | None) -> bool:
    """Keep the copy at ``keep`` (or drop it) and remove the original, after everything else is committed.

    An entry that was refused unopened is itself moved to ``keep``. False: the original changed since it was claimed
    and is left for the next pass.
    """
    if claimed.path is None:
        return move_entry(claimed.look, keep)
    if keep is not None:
        move(claimed.path, keep)
    gone = remove(claimed.look.raw, claimed.look.path, claimed.look.identity)
    claimed.path.unlink(missing_ok=True)
    return gone


def _unopened(look: Look, size_limit: int) -> FileRefused | None:
    if look.kind == "symlink":
        return FileRefused("symlink", "The entry is a symbolic link; none is followed.", "Copy the file itself.")
    if look.kind == "other":
        return FileRefused("not_regular", "The entry is no file (a pipe, device or socket).", "Copy a file.")
    if look.links > 1:
        return FileRefused("hard_link", "The file has a second name elsewhere (a hard link).", "Copy the file instead.")
    if look.identity.size > size_limit:
        size = f"{look.identity.size / 2**20:,.0f} MiB, over the limit of {size_limit / 2**20:,.0f} MiB"
        return FileRefused("too_large", f"The file has {size}.", "Split it, or raise the setting file_limit_mb.")
    return None


def _check_names(look: Look) -> None:
    for name in (look.path.name, *([look.folder] if look.folder else [])):
        if fault := name_fault(name):
            raise FileRefused("name", f"The name {printable(name)[:80]!r} {fault}.", "Rename it and drop it again.")


def _origin(look: Look, profile: Profile, mark: str) -> str:
    """The machine that folder or file name says; ``mark``, if there is one, stands before whatever they say."""
    machine = profile.machine
    if machine.from_ == "folder":
        if not look.folder:
            place = f"raw_data/{profile.name}/<machine>/"
            raise FileRefused("machine", "The file lies in no machine's folder.", f"Drop it into {place}.")
        named = look.folder
    elif machine.from_ == "filename":
        # The profile knows nothing of the mark.
        found = re.search(machine.pattern or "", look.path.name.removeprefix(mark))
        if found is None or not found.group(1):
            raise FileRefused("machine", "The file's name names no machine.", f"It must match {machine.pattern}.")
        named = found.group(1)
    else:
        return mark
    named = as_demo(named) if mark else named
    if fault := machine_fault(named):
        raise FileRefused("machine", f"The machine's name {printable(named)[:80]!r} {fault}.", "Rename it.")
    return named


def _copy(look: Look, copy: Path, gate: ByteGate) -> str:
    """The SHA-256 of the copy, which is durable then; :class:`_NotNowError` where the file is not at rest."""
    try:
        with parent(look.raw, look.path) as folder:
            source = os.open(look.path.name, _FILE, dir_fd=folder)
    except OSError as error:
        raise _NotNowError(_WHY.get(error.errno or 0, "unreadable")) from None
    try:
        _at_rest(source, look)
        if _being_written(source):
            raise _NotNowError("being_written")
        digest = hashlib.sha256()
        target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        with os.fdopen(target, "wb", buffering=0) as file:
            left = look.identity.size
            while block := _read(source):
                left -= len(block)
                if left < 0:
                    raise _NotNowError("changed")
                digest.update(block)
                gate.feed(block)
                _write(file.fileno(), block)
            os.fsync(file.fileno())
        if left:
            raise _NotNowError("changed")
        _at_rest(source, look)
        durable.sync_folder(copy.parent)
        return digest.hexdigest()
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    finally:
        os.close(source)


_WHY: dict[int, Why] = {
    errno.ENOENT: "vanished",
    errno.ENOTDIR: "vanished",
    errno.ELOOP: "changed",
    errno.ENXIO: "changed",
}


def _read(source: int) -> bytes:
    try:
        return os.read(source, BLOCK)
    except OSError:
        raise _NotNowError("unreadable") from None


def _write(target: int, block: bytes) -> None:
    try:
        view = memoryview(block)
        while view:
            view = view[os.write(target, view) :]
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskTrouble("The disk is full.", "Free some space; the file stays in the drop folder.") from None
        raise


def _at_rest(source: int, look: Look) -> None:
    status = os.fstat(source)
    if Identity.of(status) != look.identity or not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        raise _NotNowError("changed")


def _being_written(source: int) -> bool:
    """Whether anyone has the file open for writing: a logger that pauses would go on writing into a removed file.

    A read lease is granted only while nobody does. Where the system grants none (a file of another user, a network
    file system) the settle time has to do.
    """
    try:
        # A lease that is broken sends a signal, by default a deadly one; this one is ignored by default.
        fcntl.fcntl(source, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(source, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(source, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
