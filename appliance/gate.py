"""What the bytes of a file say about it before anything parses them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from appliance.decoding import foreign, nul_bytes, wrong_encoding
from appliance.errors import FileRefused
from appliance.profile import Profile

HEAD = 4096
PARQUET = b"PAR1"

Format = Literal["csv", "parquet"]

EXTENSIONS: Mapping[Format, tuple[str, ...]] = {"csv": (".csv", ".txt", ".tsv"), "parquet": (".parquet", ".pq")}

_MAGIC: Sequence[tuple[bytes, str]] = (
    (b"\x1f\x8b", "compressed (gzip)"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\xfd7zXZ\x00", "compressed (xz)"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)"),
    (b"\x04\x22\x4d\x18", "compressed (lz4)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x1f\x9d", "compressed (compress)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook"),
)


def format_of(name: str, profile: Profile) -> Format:
    """``csv`` or ``parquet``, by the file's extension; :class:`FileRefused` where the profile takes no such files."""
    lower = name.lower()
    for form, extensions in EXTENSIONS.items():
        if form in profile.file.formats and lower.endswith(extensions):
            return form
    wanted = ", ".join(e for form in profile.file.formats for e in EXTENSIONS[form])
    raise FileRefused(
        "format",
        f"The profile {profile.name!r} takes files ending in {wanted}.",
        "Export in that format, or name the format in the profile.",
    )


class ByteGate:
    """Looks at a file's bytes as they pass; ``end`` gives the first reason to refuse it, or None."""

    def __init__(self, profile: Profile, form: str) -> None:
        self._encoding = profile.file.encoding
        self._form = form
        self._head = b""
        self._tail = b""
        self._nuls = False
        self._size = 0

    def feed(self, block: bytes) -> None:
        if len(self._head) < HEAD:
            self._head = (self._head + block)[:HEAD]
        self._tail = (self._tail + block)[-len(PARQUET) :]
        self._nuls = self._nuls or b"\0" in block
        self._size += len(block)

    def end(self) -> FileRefused | None:
        if not self._size:
            return FileRefused("empty", "The file is empty.", "Drop it again once it has rows.")
        if what := self._archive():
            return FileRefused("compressed", f"The file is {what}, not a {self._form} file.", "Unpack or export it.")
        if self._form == "parquet":
            whole = self._size >= 12 and self._head.startswith(PARQUET) and self._tail == PARQUET
            damaged = FileRefused("format", "The file is no Parquet file, or only a part of one.", "Export it again.")
            return None if whole else damaged
        if self._head.startswith(PARQUET):
            return FileRefused("format", "The file is Parquet under the name of a text file.", "Name it .parquet.")
        if seen := foreign(self._head, self._encoding):
            return wrong_encoding(seen, self._encoding)
        if self._nuls and self._encoding != "utf-16":
            return nul_bytes()
        return None

    def _archive(self) -> str:
        for magic, what in _MAGIC:
            if self._head.startswith(magic):
                return what
        # Only the block behind its three letters tells bzip2 from a text that happens to start alike.
        is_bzip2 = self._head[:3] == b"BZh" and self._head[4:10] in (b"1AY&SY", b"\x17rE8P\x90")
        return "compressed (bzip2)" if is_bzip2 else ""
