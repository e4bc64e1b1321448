"""Names that strangers give: of files, folders and machines. Pure."""

from __future__ import annotations

import unicodedata

MAX_NAME_BYTES = 200  # room for what is added to it in bad_data/ below the 255 bytes of a file system
MAX_MACHINE = 100

# The reserved beginning of what is simulated: no real file, folder or machine may bear it. It is kept everywhere, so
# that all that came of such a file can be recognised, and removed.
DEMO = "demo-"

# Invisible characters that make a name read as another one.
_DECEIVING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")


def printable(name: str) -> str:
    """The name as it may stand in a log, a table or a database: what cannot be seen is escaped."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(escaped(c) if _is_hidden(c) else c for c in text)


def escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def fitting(name: str) -> str:
    """The name as ours may begin with it: that of a file which was refused for it may be far too long."""
    whole = name.encode()
    if len(whole) <= MAX_NAME_BYTES:
        return name
    first, last = whole[: MAX_NAME_BYTES - 43], whole[-40:]  # the end says what kind of file it is
    return f"{first.decode(errors='ignore')}...{last.decode(errors='ignore')}"


def name_fault(name: str) -> str | None:
    """What is wrong with the name of a file or folder, or None."""
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return "is not UTF-8"
    if size > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    if any(_is_hidden(c) for c in name):
        return "holds control characters"
    return None


def machine_fault(name: str) -> str | None:
    """What is wrong with the name of a machine, or None."""
    if not name.strip():
        return "is empty"
    if len(name) > MAX_MACHINE:
        return f"is longer than {MAX_MACHINE} characters"
    return name_fault(name)


def is_demo(name: str) -> bool:
    """Whether a file, folder or machine of this name is simulated."""
    return name.startswith(DEMO)


def as_demo(name: str) -> str:
    """The name with the mark, once."""
    return name if is_demo(name) else DEMO + name


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") or character in _DECEIVING
