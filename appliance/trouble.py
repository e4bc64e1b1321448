"""What is the box's own trouble (a full disk, one that fails, limits that are reached), told from all other errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.errors import DiskTrouble

_FULL = (errno.ENOSPC, errno.EDQUOT)
_BOX = (
    *(errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
)


def of_box(error: BaseException) -> DiskTrouble | None:
    """What of the box itself is behind an error, in a sentence; None where it is another matter."""
    number = _number(error)
    if number in _FULL:
        return DiskTrouble("The disk is full.", "Free some space; what waits stays where it is, and is taken up again.")
    if number in _BOX:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000]
        return DiskTrouble(
            f"The box could not read or write ({said}).",
            "Check the disk, the rights of the data folder and the limits of the service.",
        )
    return None


@contextmanager
def told() -> Iterator[None]:
    """The box's own trouble as DiskTrouble, any other error as it is."""
    try:
        yield
    except Exception as error:
        if its := of_box(error):
            raise its from error
        raise


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    # Polars tells the number in its sentence alone.
    _, found, rest = str(error).partition("(os error ")
    digits = rest.partition(")")[0]
    return int(digits) if found and digits.isdigit() else None
