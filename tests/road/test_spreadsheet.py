"""Bad rows that go through a real spreadsheet and come back: saved as a workbook, opened again, exported as it exports.

LibreOffice stands in for Excel; it is told to be German where the profile's files are, and exports in Windows-1252 then.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance import reader
from model.plants import PLANTS, csv_bytes
from tests.profiles import load
from tests.road.conftest import Road

SOFFICE = shutil.which("soffice")
LOCALE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry"><item oor:path="/org.openoffice.Setup/L10N">
<prop oor:name="ooSetupSystemLocale" oor:op="fuse"><value>{locale}</value></prop></item></oor:items>
"""
# As LibreOffice numbers them.
UTF_8, WINDOWS_1252 = 76, 1
LANGUAGES = {"de-DE": 1031, "en-US": 1033}

pytestmark = pytest.mark.skipif(
    SOFFICE is None,
    reason="no LibreOffice (soffice) here; on Debian: apt-get install --no-install-recommends libreoffice-calc-nogui",
)


@dataclass(frozen=True)
class Desk:
    """A spreadsheet with the habits of a country."""

    folder: Path
    locale: str
    separator: str
    charset: int

    def workbook(self, data: bytes) -> Path:
        """Open the CSV as one of this box, which is UTF-8 with a mark, and save it as a workbook."""
        (self.folder / "bad.csv").write_bytes(data)
        opened = f"CSV:{ord(self.separator)},34,{UTF_8},1,,{LANGUAGES[self.locale]},false,true"
        return self._convert(self.folder / "bad.csv", "xlsx", f"--infilter={opened}")

    def exported(self, workbook: Path) -> bytes:
        """Open the workbook and export it as CSV, with cells as they are shown."""
        tokens = f"{ord(self.separator)},34,{self.charset},1,,0,false,true,false"
        return self._convert(workbook, f"csv:Text - txt - csv (StarCalc):{tokens}").read_bytes()

    def _convert(self, path: Path, to: str, *more: str) -> Path:
        user = self.folder / "profile" / "user"
        user.mkdir(parents=True, exist_ok=True)
        (user / "registrymodifications.xcu").write_text(LOCALE.format(locale=self.locale))
        out = self.folder / f"out-{path.suffix[1:]}"
        command = ["soffice", f"-env:UserInstallation=file://{user.parent}", "--headless", *more]
        environment = {**os.environ, "HOME": str(self.folder)}
        done = subprocess.run(
            [*command, "--convert-to", to, "--outdir", str(out), str(path)],
            capture_output=True, text=True, timeout=300, env=environment, check=False,
        )  # fmt: skip
        made = out / f"{path.stem}.{to.partition(':')[0]}"
        assert made.exists(), done.stdout + done.stderr
        return made


GERMAN = ("pump", "", "de-DE", ";", WINDOWS_1252)
ENGLISH = ("milling", "mill-1", "en-US", ",", UTF_8)
# What is wrong with the first three rows: out of range, a formula, no number; by column.
WRONG = {"pump": {3: "520,8", 2: "=1+1", 4: "NaN"}, "milling": {6: "512.5", 1: "=1+1", 7: "NaN"}}


def spoiled(profile: str) -> bytes:
    encoding, separator = load(profile).file.encoding, load(profile).file.separator
    lines = csv_bytes(PLANTS[profile](), 12, seed=3).decode(encoding).splitlines()
    for number, (column, value) in enumerate(WRONG[profile].items(), start=1):
        cells = lines[number].split(separator)
        cells[column] = value
        lines[number] = separator.join(cells)
    return "".join(f"{line}\n" for line in lines).encode(encoding)


def cells_of(data: bytes, profile: str) -> list[tuple[str | None, ...]]:
    with reader.read_bytes(data, "csv", load(profile)) as batches:
        return [row for batch in batches for row in batch.frame.select(batches.header).rows()]


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("profile", "machine", "locale", "separator", "charset"), [GERMAN, ENGLISH], ids=["German", "English"]
)
def test_mended_rows_come_back_from_a_workbook_with_their_lineage(
    road: Road, tmp_path: Path, profile: str, machine: str, locale: str, separator: str, charset: int
) -> None:
    road.drop(profile, "shift.csv", spoiled(profile), machine)
    done = road.ingest()
    assert (done.rows_good, done.rows_bad) == (9, 3)
    [file] = road.rows("SELECT * FROM file")
    bad = (road.settings.data_dir / file["bad_path"]).read_bytes()
    first = next(iter(WRONG[profile].values())).encode()
    assert bad.count(first) == 1

    desk = Desk(tmp_path, locale, separator, charset)
    workbook = desk.workbook(bad.replace(first, first.replace(b"0", b"", 1).replace(b"512", b"51")))
    with zipfile.ZipFile(workbook) as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml")
    assert b"<row" in sheet
    assert b"<f" not in sheet, "no cell became a formula"
    back = desk.exported(workbook)
    if profile == "pump":
        # As Excel exports a time, where LibreOffice keeps its seconds.
        back, cut = re.subn(rb"(;\d\d\.\d\d\.\d{4} \d\d:\d\d):\d\d;", rb"\1;", back)
        assert cut == 3

    road.drop(profile, "mended.csv", back, machine)
    done = road.ingest()
    assert (done.files, done.rows_good, done.rows_bad) == (1, 1, 2)
    [mended] = road.rows("SELECT * FROM file WHERE id <> :id", id=file["id"])
    assert mended["mended_from"] == file["id"]
    assert mended["header"] == file["header"]
    # What nobody mended is what it was, whatever the spreadsheet made of it in between.
    still = (road.settings.data_dir / mended["bad_path"]).read_bytes()
    assert [simple(row) for row in cells_of(still, profile)] == [simple(row) for row in cells_of(bad, profile)[1:]]
    road.predict()
    assert road.rows("SELECT count(*) AS rows FROM prediction") == [{"rows": 10}]
    assert road.broken_promises() == []


def simple(row: tuple[str | None, ...]) -> list[str | None]:
    """A spreadsheet drops zeros behind the decimal sign."""
    return [
        cell.rstrip("0").rstrip(",.") if cell and cell[-1] == "0" and set(cell) & {",", "."} else cell for cell in row
    ]


def test_a_workbook_itself_is_refused_and_told_how(road: Road, tmp_path: Path) -> None:
    desk = Desk(tmp_path, "en-US", ",", UTF_8)
    road.drop("milling", "shift.xlsx", desk.workbook(spoiled("milling")).read_bytes(), "mill-1")
    assert road.ingest().quarantined == 1
    [file] = road.rows("SELECT reason, sentence FROM file")
    assert file["reason"] == "compressed"
    assert "export" in file["sentence"]
