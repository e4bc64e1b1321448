"""Files the other way: from ``incoming/<profile>/`` of the bucket into the drop folder, as if a machine had dropped them.

Each version of an object is taken once, by its ETag; nothing is deleted in the bucket. A kill at any moment takes the
file again at worst, and the same content is a duplicate to the pass that takes files in.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from appliance import dropfolder, names
from appliance.bucket import Bucket, Listed, place
from appliance.errors import BucketTrouble, DiskTrouble, SettingError
from appliance.pipeline import Box
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import inbox as store

AT_A_TIME = 500
_PART = ".part"
_MIB = 1 << 20


def take(box: Box, bucket: Bucket) -> int:
    """Bring what is new into the drop folder; the number of files. Objects that cannot be files are put on record."""
    settings, taken = box.settings, 0
    for profile in _profiles(settings.raw):
        folder = f"{settings.s3_prefix}incoming/{profile}/"
        listed = bucket.objects(folder)
        while some := list(islice(listed, AT_A_TIME)):
            with engines.transaction(box.engine) as connection:
                known = store.known(connection, place(settings), [one.key for one in some])
            for one in some:
                # What looks like a folder is one that a browser made.
                if (one.key, one.etag) in known or one.key.endswith("/"):
                    continue
                if not bucket.pace.until():
                    return taken
                taken += _take(box, bucket, profile, one, one.key.removeprefix(folder))
    return taken


def _take(box: Box, bucket: Bucket, profile: str, one: Listed, below: str) -> bool:
    settings = box.settings
    why = _refusal(settings, one, below)
    path: Path | None = None
    if not why:
        try:
            path = _drop(settings.raw, settings.raw / profile / below, bucket, one)
        except OSError as error:
            why = _refused_by_disk(error, profile)
    with engines.transaction(box.engine) as connection:
        said = None if path is None else str(path.relative_to(settings.raw))
        store.took(connection, place(settings), one.key, one.etag, one.size, said, why)
    return path is not None


def _refusal(settings: Settings, one: Listed, below: str) -> str:
    """Why an object is not taken, '' where it is."""
    steps = below.split("/")
    if len(steps) > 2:
        return "It lies too deep: a profile has files, and folders of files."
    for step in steps:
        if fault := names.name_fault(step):
            return f"Its name {fault}."
        if not step or step.startswith((".", "~$")):
            return "Its name is hidden."
        if names.is_demo(step):
            return f"Names that begin with {names.DEMO} are kept for simulated machines."
    if one.size > settings.file_limit_mb * _MIB:
        return f"It is larger than {settings.file_limit_mb} MiB (file_limit_mb)."
    return ""


def _refused_by_disk(error: OSError, profile: str) -> str:
    """Why this one file cannot be put there; what is wrong for all of them is raised."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "Its folder in the drop folder is a link, or a file."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise DiskTrouble("The disk is full.", "Free some space; what is in the bucket stays there.") from None
    if isinstance(error, PermissionError):
        said = f"The drop folder of {profile} cannot be written."
        raise SettingError(said, "Let the group machines write into it.") from None
    raise DiskTrouble(f"The drop folder cannot be written ({error.strerror}).", "Look at the box's disk.") from None


def _drop(raw: Path, path: Path, bucket: Bucket, one: Listed) -> Path:
    """Write the object aside, and give it its name when it is whole; its path, which is another where that is taken."""
    with suppress(FileExistsError), dropfolder.parent(raw, path.parent) as above:
        if path.parent.parent != raw:
            os.mkdir(path.parent.name, 0o2770, dir_fd=above)
    with dropfolder.parent(raw, path) as here:
        aside = f".{secrets.token_hex(8)}{_PART}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(aside, flags, 0o660, dir_fd=here), "wb") as file:
                for block in bucket.read(one.key, one.etag):
                    bucket.pace.take(len(block))
                    file.write(block)
                if file.tell() != one.size:
                    raise BucketTrouble("digest", f"{one.key} did not come whole.", "It is taken again.")
                file.flush()
                os.fsync(file.fileno())
            name = path.name
            if dropfolder.status_of(here, name) is not None:
                name = _another(path, one.etag)
            os.rename(aside, name, src_dir_fd=here, dst_dir_fd=here)
        except BaseException:
            with suppress(OSError):
                os.unlink(aside, dir_fd=here)
            raise
        os.fsync(here)
    return path.with_name(name)


def _another(path: Path, etag: str) -> str:
    """A name for another version of an object; what the store calls that is a stranger's word, and may hold anything."""
    stem, suffix = (path.stem, path.suffix) if len(path.suffix) < 20 else (path.name, "")
    end = f".{hashlib.sha256(etag.encode()).hexdigest()[:8]}{suffix}"
    return f"{stem.encode()[: names.MAX_NAME_BYTES - len(end.encode())].decode(errors='ignore')}{end}"


def _profiles(raw: Path) -> Iterator[str]:
    """Profiles whose files are taken here: their drop folders are there."""
    with suppress(FileNotFoundError), os.scandir(raw) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield entry.name
