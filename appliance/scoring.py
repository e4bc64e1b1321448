"""One file, no database: score it with a bundle, or see what the contract makes of it. Nothing is stored."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import polars as pl

from appliance import bundle, features, quality, reader, signing
from appliance.errors import FileRefused, UsageError
from appliance.profile import ROW, Profile
from appliance.quality import Issue
from appliance.reasons import reason
from appliance.scorer import Scorer, Scores
from appliance.settings import Settings
from appliance.spreadsheet import REASONS, inert

FIRST_REASONS = 10


@dataclass(frozen=True, slots=True)
class Preview:
    rows: int
    good: int
    bad: int
    issues: list[Issue]
    first_reasons: list[tuple[int, str]]  # (row number, its reasons)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class FileScored:
    """Counts of one scored file; filled while its rows are written."""

    file: str
    profile: str
    version: str
    threshold: float
    rows: int = 0
    good: int = 0
    bad: int = 0
    failing: int = 0
    issues: list[Issue] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def sentence(self) -> str:
        said = (
            f"{self.rows:,} rows: {self.good:,} scored by {self.profile} {self.version}, {self.failing:,} failing "
            f"(probability >= {self.threshold:.3g}); {self.bad:,} bad rows left out."
        )
        worst = max(self.issues, key=lambda issue: issue.count, default=None)
        return (
            f"{said} Most often: {worst.rule} in {worst.column or 'the row'} ({worst.count:,} rows)." if worst else said
        )


def preview(settings: Settings, file: Path, profile: Profile, machine: str) -> Preview:
    """What the contract makes of a file; FileRefused where it cannot be read as a whole."""
    rows = bad = 0
    first: list[tuple[int, str]] = []
    with _opened(settings, file, profile) as batches:
        checker = quality.Checker(profile, batches.header, machine, datetime.now(UTC))
        for batch in batches:
            checked = checker.check(batch)
            rows += batch.frame.height
            bad += checked.bad.height
            wanted = checked.bad.head(FIRST_REASONS - len(first))
            first += list(zip(wanted[ROW].to_list(), wanted[REASONS].to_list(), strict=True))
        return Preview(rows, rows - bad, bad, checker.issues(), first)


def score_file(
    settings: Settings, file: Path, *, profile: str | None, folder: Path | None, machine: str, out: TextIO | None
) -> FileScored:
    """Score a file's good rows and write them as CSV with probability, verdict, modes and reason to ``out``."""
    served = _bundle(settings, profile, folder)
    description = served.profile
    scorer = Scorer(served.model_bytes, description, threads=settings.scoring_threads)
    done = FileScored(str(file), description.name, served.version, description.threshold)
    with _opened(settings, file, description) as batches:
        checker = quality.Checker(description, batches.header, machine or "-", datetime.now(UTC))
        writer = None if out is None else csv.writer(out, lineterminator="\n")
        history: pl.DataFrame | None = None
        for batch in batches:
            checked = checker.check(batch)
            done.rows += batch.frame.height
            done.bad += checked.bad.height
            if not checked.good.height:
                continue
            featured = features.feature_frame(description, checked.good, history)
            scores = scorer.score(features.matrix_of(description, featured))
            done.good += featured.height
            done.failing += int(scores.failing.sum())
            if writer is not None:
                if done.good == featured.height:
                    writer.writerow(_header(description, featured))
                writer.writerows(_lines(description, featured, scores))
            history = features.carried(description, history, checked.good)
        done.issues = checker.issues()
    return done


def _bundle(settings: Settings, profile: str | None, folder: Path | None) -> bundle.Bundle:
    keys = signing.trusted_keys(settings.keys)
    if folder is not None:
        return bundle.verify(folder, keys)
    if profile is None:
        serving = [name for name in bundle.profiles(settings.models) if bundle.active_version(settings.models, name)]
        if len(serving) != 1:
            way_out = f"Say --profile with one of {', '.join(serving)}." if serving else "Train one, or say --bundle."
            raise UsageError("Several models are active." if serving else "No model is active.", way_out)
        profile = serving[0]
    return bundle.active(settings.models, profile, keys)


def _opened(settings: Settings, file: Path, profile: Profile) -> reader.Reader:
    if not file.is_file():
        raise UsageError(f"There is no file {file}.", "Mend the path.")
    format_ = file.suffix.lower().removeprefix(".")
    if format_ not in profile.file.formats:
        formats = " or ".join(f".{known}" for known in profile.file.formats)
        raise FileRefused("format", f"{file.name} does not end in {formats}.", "Name a file that the profile can read.")
    form: reader.Format = "parquet" if format_ == "parquet" else "csv"
    reader.look_at(file, form, profile)
    return reader.open_file(
        file,
        form,
        profile,
        batch_rows=settings.batch_rows,
        line_limit=settings.line_limit_kb * 1024,
    )


def _header(profile: Profile, featured: pl.DataFrame) -> Sequence[str]:
    present = [c.header for c in profile.columns if c.name in featured.columns]
    return ["row", *present, "probability", "failing", *(f"p_{mode.name}" for mode in profile.modes), "reason"]


def _lines(profile: Profile, featured: pl.DataFrame, scores: Scores) -> Iterator[Sequence[object]]:
    names = [c.name for c in profile.columns if c.name in featured.columns]
    for at, values in enumerate(featured.iter_rows(named=True)):
        modes = scores.modes[at].tolist()
        failing = bool(scores.failing[at])
        said = reason(profile, values, modes).text if failing else ""
        cells = [_cell(values[name]) for name in names]
        yield [
            values[ROW],
            *cells,
            f"{scores.probability[at]:.4f}",
            int(failing),
            *(f"{m:.4f}" for m in modes),
            inert(said),
        ]


def _cell(value: object) -> object:
    match value:
        case None:
            return ""
        case float() if math.isfinite(value) and value == int(value):
            return int(value)
        case bool():
            return int(value)
        case datetime():
            return value.isoformat()
        case str():
            return inert(value)
    return value
