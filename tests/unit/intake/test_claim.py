"""A claimed file is a whole, unchanging copy; everything else is refused with its reason or left for later."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import socket
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from appliance import intake
from appliance.errors import ApplianceError
from appliance.intake import Left
from tests import profiles
from tests.unit.intake.drop import MILLING, PUMP, TEXT, Drop


def test_a_claim_is_a_hashed_copy(drop: Drop) -> None:
    data = TEXT * 100_000  # more than a block
    path = drop.put("Schicht früh 1.csv", data)
    found = drop.claimed(path)
    assert found.refusal is None
    assert found.path is not None
    assert found.path.parent == drop.work
    assert found.path.read_bytes() == data
    assert (found.sha256, found.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (found.name, found.origin, found.format) == ("Schicht früh 1.csv", "mill-1", "csv")
    assert path.read_bytes() == data
    assert stat.S_IMODE(found.path.stat().st_mode) & 0o007 == 0


def parquet(rows: int = 3) -> bytes:
    target = io.BytesIO()
    pl.DataFrame({"UDI": range(rows)}).write_parquet(target)
    return target.getvalue()


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.csv", TEXT)
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.csv", TEXT, ""),
        ("A.CSV", TEXT, ""),
        ("a.txt", TEXT, ""),
        ("a.parquet", parquet(), ""),
        ("a.csv", b"BZh,Product ID\n1,M14860\n", ""),
        ("a.csv", b"", "empty"),
        ("a.parquet", b"", "empty"),
        ("a.csv", gzip.compress(TEXT, mtime=0), "compressed"),
        ("a.csv", bz2.compress(TEXT), "compressed"),
        ("a.csv", lzma.compress(TEXT), "compressed"),
        ("a.csv", zipped(), "compressed"),
        ("a.csv", b"\x28\xb5\x2f\xfd" + TEXT, "compressed"),
        ("a.csv.gz", gzip.compress(TEXT, mtime=0), "compressed"),
        ("a.xlsx", zipped(), "compressed"),
        ("a.csv", TEXT + b"\0", "nul_bytes"),
        ("a.csv", TEXT * 100_000 + b"\0" + TEXT, "nul_bytes"),
        ("a.csv", TEXT.decode().encode("utf-16"), "encoding"),
        ("a.csv", TEXT.decode().encode("utf-16-be"), "encoding"),
        ("a.csv", TEXT.decode().encode("utf-32"), "encoding"),
        ("a.csv", parquet(), "format"),
        ("a.parquet", TEXT, "format"),
        ("a.parquet", parquet()[:-1], "format"),
        ("a.parquet", b"PAR1PAR1", "format"),
        ("a.doc", TEXT, "format"),
        ("csv", TEXT, "format"),
        ("a\nb.csv", TEXT, "name"),
        ("a\x1b[31m.csv", TEXT, "name"),
        ("a\u202evsc.csv", TEXT, "name"),
        ("x" * 197 + ".csv", TEXT, "name"),
        ("x" * 196 + ".csv", TEXT, ""),
        ("ä" * 99 + ".csv", TEXT, "name"),
    ],
)
def test_names_and_bytes_at_the_gate(drop: Drop, name: str, data: bytes, reason: str) -> None:
    path = drop.put(name, data)
    assert drop.reason(path) == reason
    found = drop.claimed(path)
    # A file that is refused is kept with its bytes, under a name that can be shown anywhere.
    assert found.path is not None
    assert found.path.read_bytes() == data
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.name.isprintable()


def test_a_name_that_is_no_utf_8_is_refused_and_can_be_told(drop: Drop) -> None:
    (drop.mill / os.fsdecode(b"m\xe4rz.csv")).write_bytes(TEXT)
    (path,) = drop.look()
    found = drop.claimed(path)
    assert found.refusal is not None
    assert (found.refusal.reason, found.name) == ("name", "m\\xe4rz.csv")
    assert str(found.refusal).encode()


def test_a_format_that_the_profile_does_not_take_is_refused(drop: Drop) -> None:
    only_parquet = profiles.changed("milling", 'formats = ["csv", "parquet"]', 'formats = ["parquet"]')
    assert drop.reason(drop.put("a.csv"), only_parquet) == "format"
    assert drop.reason(drop.put("a.parquet", parquet()), only_parquet) == ""


def link(path: Path, away: Path) -> None:
    path.symlink_to(away)


def hard_link(path: Path, away: Path) -> None:
    path.hardlink_to(away)


def pipe(path: Path, away: Path) -> None:
    os.mkfifo(path)


def dangling(path: Path, away: Path) -> None:
    path.symlink_to(away / "gone")


def listening(path: Path, away: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    try:  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (link, "symlink"),
        (dangling, "symlink"),
        (hard_link, "hard_link"),
        (pipe, "not_regular"),
        (listening, "not_regular"),
    ],
)
def test_what_must_not_be_opened_is_moved_as_it_is(drop: Drop, make: Callable[[Path, Path], None], reason: str) -> None:
    secret = drop.away / "secret"
    secret.write_bytes(b"secret")
    path = drop.mill / "a.csv"
    make(path, secret)
    before = path.lstat()
    found = drop.claimed(path)
    assert found.refusal is not None
    assert (found.refusal.reason, found.path, found.sha256) == (reason, None, "")
    assert drop.copies() == []
    kept = drop.away / "quarantine" / "a.csv"
    assert intake.release(found, kept)
    assert (kept.lstat().st_mode, kept.lstat().st_ino) == (before.st_mode, before.st_ino)
    assert drop.look() == {}
    assert secret.read_bytes() == b"secret"


def test_a_file_above_the_limit_is_moved_without_a_copy(drop: Drop) -> None:
    path = drop.put("a.csv", b"x" * 1001)
    assert drop.reason(path, limit=1001) == ""
    assert drop.reason(path, limit=1000) == "too_large"
    found = drop.claimed(path, limit=1000)
    assert found.path is None
    assert intake.release(found, drop.away / "a.csv")
    assert (drop.away / "a.csv").stat().st_size == 1001


@pytest.mark.parametrize(
    ("source", "folder", "name", "origin"),
    [
        ('from = "folder"', "mill-1", "a.csv", "mill-1"),
        ('from = "folder"', "Fräse 7", "a.csv", "Fräse 7"),
        ('from = "folder"', "", "a.csv", None),
        ('from = "folder"', "m" * 101, "a.csv", None),
        ('from = "filename"\npattern = "^(m[0-9]+)_"', "", "m17_2026.csv", "m17"),
        ('from = "filename"\npattern = "^(m[0-9]+)_"', "x", "m17_2026.csv", "m17"),
        ('from = "filename"\npattern = "^(m[0-9]*)_"', "", "n17_2026.csv", None),
        ('from = "filename"\npattern = "^([^_]*)_"', "", "_2026.csv", None),
        ('from = "constant"\nvalue = "the mill"', "x", "a.csv", ""),
    ],
)
def test_the_machine_that_folder_or_name_says(
    drop: Drop, source: str, folder: str, name: str, origin: str | None
) -> None:
    profile = profiles.changed("milling", 'from = "folder"', source)
    place = drop.raw / "milling" / folder
    place.mkdir(exist_ok=True)
    found = drop.claimed(drop.put(name, folder=place), profile)
    if origin is None:
        assert found.refusal is not None
        assert found.refusal.reason == "machine"
    else:
        assert (found.refusal, found.origin) == (None, origin)


def test_rows_that_name_their_machine_need_no_folder(drop: Drop) -> None:
    found = drop.claimed(drop.put("a.csv", folder=drop.raw / "pump"), PUMP)
    assert (found.refusal, found.origin) == (None, "")


def test_a_file_that_is_still_open_for_writing_is_left(drop: Drop) -> None:
    path = drop.put("a.csv")
    with path.open("ab"):
        found = drop.claim(path)
        assert isinstance(found, Left)
        assert found.why == "being_written"
        assert drop.copies() == []
    with path.open("rb"):
        assert drop.reason(path) == ""


def left(drop: Drop, path: Path, *changes: Callable[[], object]) -> str:
    """Why a claim leaves a file with which that happens between the look and the claim."""
    seen = drop.one(path)
    for change in changes:
        change()
    found = intake.claim(seen, MILLING, drop.work, 10**6)
    assert isinstance(found, Left), found
    assert drop.copies() == []
    return found.why


def test_what_changes_after_the_look_is_left(drop: Drop) -> None:
    a, b, c, d, e, f, g = (drop.put(f"{name}.csv") for name in "abcdefg")
    (drop.away / "g.csv").write_bytes(TEXT)
    assert left(drop, a, lambda: a.write_bytes(TEXT + b"more")) == "changed"
    assert left(drop, b, b.unlink) == "vanished"
    assert left(drop, c, lambda: os.utime(c, ns=(0, 0))) == "changed"
    assert left(drop, d, d.unlink, lambda: d.symlink_to("/etc/passwd")) == "changed"
    assert left(drop, e, e.unlink, lambda: os.mkfifo(e)) == "changed"
    assert left(drop, f, lambda: (drop.away / "f").hardlink_to(f)) == "changed"
    moved = drop.away / "old"
    assert left(drop, g, lambda: drop.mill.rename(moved), lambda: drop.mill.symlink_to(drop.away)) == "vanished"


@pytest.mark.parametrize("grown", [b"", b"x" * 2**20])
def test_what_changes_while_it_is_copied_is_left(drop: Drop, monkeypatch: pytest.MonkeyPatch, grown: bytes) -> None:
    path = drop.put("a.csv", b"y" * 3 * 2**20)
    read = os.read

    def read_while_others_write(descriptor: int, size: int) -> bytes:
        with path.open("r+b" if not grown else "ab") as file:
            file.write(grown or b"z")
        os.utime(path, ns=(0, 5))
        return read(descriptor, size)

    seen = drop.one(path)
    monkeypatch.setattr(os, "read", read_while_others_write)
    found = intake.claim(seen, MILLING, drop.work, 10**9)
    assert isinstance(found, Left)
    assert found.why == "changed"
    assert drop.copies() == []


def test_a_full_disk_is_said_and_leaves_no_half_copy(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    seen = drop.one(drop.put("a.csv"))
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(ApplianceError, match="disk is full"):
        intake.claim(seen, MILLING, drop.work, 10**6)
    assert drop.copies() == []
    assert seen.path.exists()


def test_an_error_of_the_disk_leaves_the_file_for_later(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(descriptor: int, size: int) -> bytes:
        raise OSError(5, "Input/output error")

    seen = drop.one(drop.put("a.csv"))
    monkeypatch.setattr(os, "read", read)
    found = intake.claim(seen, MILLING, drop.work, 10**6)
    assert isinstance(found, Left)
    assert found.why == "unreadable"
