"""How an entry leaves the drop folder: never another one in its place, and durably.

Between a look at a name and its removal a machine may put its next file there. So an entry is renamed first, looked
at again under a name that nobody else uses, and given its name back where it is not the one that was meant.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from appliance.dropfolder import Identity, Look, parent, status_of
from appliance.durable import sync_folder
from appliance.errors import ApplianceError
from appliance.names import printable

LEAVING = ".leaving-"
REFUSED = ".refused-"


def remove(raw: Path, path: Path, identity: Identity) -> bool:
    """Unlink an original if it is still the one that was claimed; False where another has taken its place.

    It is renamed first and looked at again: between a look and an unlink, a machine may put its next file there.
    """
    try:
        with parent(raw, path) as folder:
            status = status_of(folder, path.name)
            if status is None:
                return True
            if Identity.of(status) != identity:
                return False
            leaving = _aside(LEAVING, path.name)
            os.rename(path.name, leaving, src_dir_fd=folder, dst_dir_fd=folder)
            status = status_of(folder, leaving)
            if status is not None and Identity.of(status) != identity:
                put_back(folder, leaving)
                return False
            os.unlink(leaving, dir_fd=folder)
            _sync(folder)
            return True
    except (FileNotFoundError, NotADirectoryError):
        return True
    except PermissionError:
        raise _not_ours(path) from None


def move(source: Path, target: Path) -> None:
    """Rename durably, to another file system too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # The same name for the same target: what a killed pass left is replaced by the next.
        near = target.with_name(f".{target.name}.tmp")
        shutil.copyfile(source, near)
        with near.open("rb") as file:
            os.fsync(file.fileno())
        near.replace(target)
        source.unlink()
    sync_folder(target.parent)


def move_entry(look: Look, keep: Path | None) -> bool:
    """Move an entry that must not be opened to ``keep``; where that is on another disk, out of sight in its folder."""
    try:
        with parent(look.raw, look.path) as folder:
            status = status_of(folder, look.path.name)
            if status is None:
                return True
            if Identity.of(status) != look.identity:
                return False
            if keep is not None:
                keep.parent.mkdir(parents=True, exist_ok=True)
            try:
                if keep is None:
                    raise OSError(errno.EXDEV, "nowhere to keep it")
                os.rename(look.path.name, keep, src_dir_fd=folder)
                sync_folder(keep.parent)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                aside = _aside(REFUSED, look.path.name)
                os.rename(look.path.name, aside, src_dir_fd=folder, dst_dir_fd=folder)
            _sync(folder)
            return True
    except (FileNotFoundError, NotADirectoryError):
        return True
    except PermissionError:
        raise _not_ours(look.path) from None


def _aside(prefix: str, name: str) -> str:
    """A hidden name that still ends like the old one; what is cut off of it was too long to be taken anyway."""
    return f"{prefix}{secrets.token_hex(4)}-{os.fsdecode(os.fsencode(name)[-220:])}"


def put_back(folder: int, leaving: str) -> None:
    """Give a file its name back, or a free one like it where a newer file has taken that."""
    token, _, name = leaving.removeprefix(LEAVING).partition("-")
    there, here = status_of(folder, name), status_of(folder, leaving)
    if there is not None and here is not None and os.path.samestat(there, here):
        # Killed between the two calls below: the file has its name back already.
        os.unlink(leaving, dir_fd=folder)
        _sync(folder)
        return
    try:
        os.link(leaving, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        os.unlink(leaving, dir_fd=folder)
    except OSError:
        free = name if status_of(folder, name) is None else f"{token}-{name}"
        os.rename(leaving, free, src_dir_fd=folder, dst_dir_fd=folder)
    _sync(folder)


def _sync(folder: int) -> None:
    # Some network file systems cannot; the next pass then finds the original again and knows its content.
    with suppress(OSError):
        os.fsync(folder)


def _not_ours(path: Path) -> ApplianceError:
    return ApplianceError(
        f"{printable(path.name)} may not be removed from the drop folder.",
        f"Give the appliance's user the right to write in {path.parent}.",
    )
