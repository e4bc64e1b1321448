"""File bytes -> UTF-8, a part at a time, whatever the profile's encoding is.

A byte that cannot be decoded becomes U+FFFD, which no machine writes: the row that holds it is found by it.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from appliance.errors import FileRefused

CHUNK = 4 * 2**20
UNDECODED = "\ufffd"
UNIT = "\x1f"  # stands in for a separator that takes more than one byte

TITLES = {"utf-8": "UTF-8", "windows-1252": "Windows-1252", "latin-1": "Latin-1", "utf-16": "UTF-16"}
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


def texts(source: BinaryIO, encoding: str, separator: str) -> Iterator[bytes]:
    """The file as UTF-8, in parts of whole characters; :class:`FileRefused` where it is another kind of file.

    A UTF-8 mark at the beginning is believed under every encoding: our own CSVs of bad rows carry it, and
    spreadsheets keep it.
    """
    head = source.read(CHUNK)
    if seen := foreign(head, encoding):
        raise wrong_encoding(seen, encoding)
    codec, head = _codec(head, encoding)
    decoder = codecs.getincrementaldecoder(codec)("replace")
    # Old exports end their lines by a carriage return alone.
    returns_only = _has(head, codec, "\r") and not _has(head, codec, "\n")
    exotic = b"" if separator.isascii() else separator.encode()
    chunk = head
    while chunk:
        following = source.read(CHUNK)
        if codec.startswith("utf-16") or decoder.getstate()[0] or not chunk.isascii():
            part = decoder.decode(chunk, final=not following).encode()
        else:
            part = chunk
        if b"\0" in part:
            raise nul_bytes()
        if returns_only:
            part = part.replace(b"\r", b"\n")
        if exotic:
            part = part.replace(exotic, UNIT.encode())
        if part:
            yield part
        chunk = following


def foreign(head: bytes, encoding: str) -> str:
    """The encoding that the first bytes look like, where it is not the profile's; else ''."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if encoding == "utf-16":
        fits = head.startswith((*_UTF_16, codecs.BOM_UTF8)) or b"\0" in head[:4096] or not head
        return "" if fits else "UTF-8 or an 8-bit encoding"
    if head.startswith(tuple(_UTF_16)):
        return "UTF-16"
    # Latin letters in UTF-16: every second byte is NUL, on one side only.
    sample = head[:4096]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    return "UTF-16" if max(even, odd) > len(sample) * 0.3 and min(even, odd) < len(sample) * 0.05 else ""


def wrong_encoding(seen: str, encoding: str) -> FileRefused:
    return FileRefused(
        "encoding",
        f"The file looks like {seen}; the profile says {TITLES[encoding]}.",
        "Export it in the profile's encoding, or mend `encoding` in the profile.",
    )


def nul_bytes() -> FileRefused:
    return FileRefused(
        "nul_bytes",
        "The file holds NUL bytes: it is no text, or its end was lost when power failed.",
        "Export it again from the machine.",
    )


def _codec(head: bytes, encoding: str) -> tuple[str, bytes]:
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8", head[3:]
    if encoding == "utf-16":
        if head[:2] in _UTF_16:
            return _UTF_16[head[:2]], head[2:]
        sample = head[:4096]
        return ("utf-16-be" if sample[::2].count(0) > sample[1::2].count(0) else "utf-16-le"), head
    return encoding, head


def _has(head: bytes, codec: str, character: str) -> bool:
    return character.encode(codec) in head
