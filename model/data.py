"""Labelled rows for training: read and judged by the same contract as the rows of a running plant."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance import features
from appliance.errors import TrainingFailed, UsageError
from appliance.profile import MACHINE, Profile
from appliance.quality import Checker, Issue
from appliance.reader import open_file

Progress = Callable[[str], None]

_BATCH_ROWS = 100_000
_LINE_LIMIT = 1024 * 1024
_FORMATS: dict[str, Literal["csv", "parquet"]] = {".csv": "csv", ".parquet": "parquet"}


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    format: Literal["csv", "parquet"]
    origin: str  # the machine, where rows do not name it


@dataclass(frozen=True, slots=True)
class TrainingFile:
    name: str
    sha256: str
    rows: int
    rows_left_out: int


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Good, labelled rows, in the order of the files. Nothing but ``features.matrix_of`` makes features of them."""

    profile: Profile
    featured: pl.DataFrame  # validated rows with derived features
    matrix: NDArray[np.float32]  # (rows, features)
    targets: NDArray[np.float64]  # (rows, 1 + modes): 1 where the row failed, and in which mode
    machines: NDArray[np.str_]  # (rows,)
    files: tuple[TrainingFile, ...]
    issues: tuple[Issue, ...]
    rows_without_label: int

    @property
    def sha256(self) -> str:
        """Names the data: the file's own checksum, or one over those of all files in order."""
        sums = [file.sha256 for file in self.files]
        return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()

    @property
    def failures(self) -> int:
        return int(self.targets[:, 0].sum())

    @property
    def rows_left_out(self) -> int:
        return sum(file.rows_left_out for file in self.files)


def read(profile: Profile, paths: Sequence[Path], progress: Progress = lambda _: None) -> TrainingData:
    """Read labelled files, or folders of them, as the profile says; bad rows are left out and counted.

    FileRefused where a file cannot be read as a whole, UsageError where there is none, TrainingFailed where the rows
    are of no use.
    """
    label = profile.label
    if label is None:
        raise TrainingFailed(
            "label",
            f"Profile {profile.name!r} has no column with the role label.",
            "Say in it which column tells failures.",
        )
    frames: list[pl.DataFrame] = []
    files: list[TrainingFile] = []
    issues: list[Issue] = []
    # Where files carry no time, rows follow each other as their files do.
    arrived = datetime.now(UTC)
    for number, source in enumerate(_sources(profile, paths)):
        path = source.path
        progress(f"reading {path.name}")
        frame, file, found = _read_file(profile, source, arrived + timedelta(microseconds=number))
        if label.name not in frame.columns:
            raise TrainingFailed(
                "label", f"{path.name} has no column {label.header!r}, which tells failures.", "Give labelled data."
            )
        frames.append(frame)
        files.append(file)
        issues += found
    rows = pl.concat(frames, how="diagonal")
    unlabelled = int(rows[label.name].null_count())
    if rows.height == unlabelled:
        left_out = sum(file.rows_left_out for file in files)
        reason = f" ({issues[0].rule} in {issues[0].column or 'the row'})" if issues else ""
        raise TrainingFailed(
            "rows",
            f"The data holds no good row with a label; {left_out:,} rows break the contract{reason}.",
            "Look at them with `appliance profile preview`.",
        )
    # Windows look back at every good row, labelled or not.
    featured = features.feature_frame(profile, rows).filter(pl.col(label.name).is_not_null())
    return TrainingData(
        profile=profile,
        featured=featured,
        matrix=features.matrix_of(profile, featured),
        targets=_targets(featured, [label.name, *(mode.column for mode in profile.modes)]),
        machines=featured[MACHINE].to_numpy().astype(np.str_),
        files=tuple(files),
        issues=_merged(issues),
        rows_without_label=unlabelled,
    )


def _sources(profile: Profile, paths: Sequence[Path]) -> Iterator[_Source]:
    """Each file once, in a fixed order, with the machine that its folder or name says."""
    seen: set[Path] = set()
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and _format(profile, p) and p.name[0] != ".")
        elif path.is_file():
            if not _format(profile, path):
                wanted = " or ".join(f".{known}" for known in profile.file.formats)
                raise UsageError(f"{path} does not end in {wanted}.", "Name a file that the profile can read.")
            inside = [path]
        else:
            raise UsageError(f"There is no file or folder {path}.", "Mend --data.")
        for file in inside:
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            nested = file != path and file.parent != path
            yield _Source(file, _format(profile, file) or "csv", _origin(profile, file, nested))
    if not seen:
        raise UsageError("There is no file to read.", "Give --data a file, or a folder that holds some.")


def _format(profile: Profile, path: Path) -> Literal["csv", "parquet"] | None:
    format_ = _FORMATS.get(path.suffix.lower())
    return format_ if format_ in profile.file.formats else None


def _origin(profile: Profile, file: Path, nested: bool) -> str:
    """The machine, where rows do not name it. A single file outside a folder of machines is a machine of its own."""
    if profile.machine.from_ == "filename" and profile.machine.pattern is not None:
        match = re.search(profile.machine.pattern, file.name)
        return match[1] if match else file.stem
    if profile.machine.from_ == "folder":
        return file.parent.name if nested else file.stem
    return ""


def _read_file(profile: Profile, source: _Source, arrived: datetime) -> tuple[pl.DataFrame, TrainingFile, list[Issue]]:
    path = source.path
    good: list[pl.DataFrame] = []
    rows = bad = 0
    with open_file(path, source.format, profile, batch_rows=_BATCH_ROWS, line_limit=_LINE_LIMIT) as reader:
        checker = Checker(profile, reader.header, source.origin, arrived)
        for batch in reader:
            checked = checker.check(batch)
            good.append(checked.good)
            rows += batch.frame.height
            bad += checked.bad.height
        issues = [issue for issue in checker.issues() if issue.count]
    if not good:
        raise TrainingFailed("rows", f"{path.name} holds no rows.", "Give labelled data.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return pl.concat(good, how="diagonal"), TrainingFile(path.name, digest, rows, bad), issues


def _targets(rows: pl.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    """0/1 for the label and each mode; a mode that the data does not tell of never happened in it."""
    columns = [
        pl.col(name).cast(pl.Float64).fill_null(0.0) if name in rows.columns else pl.lit(0.0).alias(name)
        for name in names
    ]
    return np.ascontiguousarray(rows.select(columns).to_numpy(), dtype=np.float64)


def _merged(issues: Sequence[Issue]) -> tuple[Issue, ...]:
    """One entry a (rule, column), most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    examples: dict[tuple[str, str], tuple[str, ...]] = {}
    for issue in issues:
        key = (issue.rule, issue.column)
        counts[key] = counts.get(key, 0) + issue.count
        examples.setdefault(key, issue.examples)
    ranked = sorted(counts, key=lambda key: (-counts[key], key))
    return tuple(Issue(rule, column, counts[rule, column], examples[rule, column]) for rule, column in ranked)
