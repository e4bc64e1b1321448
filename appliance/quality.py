"""Rows of text -> good rows, bad rows with their reasons, and issues. Pure.

Every row ends good or bad, never both, and a bad one has at least one reason. A row that is damaged as a whole is
not judged cell by cell: its cells may stand under the wrong columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from appliance import contract, headers
from appliance.batches import WHOLE, Batch
from appliance.cells import cast, quick, time_format
from appliance.duplicates import Duplicates
from appliance.memo import once
from appliance.names import DEMO, as_demo, is_demo, machine_fault, printable
from appliance.profile import MACHINE, ROW, TIME, Profile
from appliance.sentences import DAMAGE, words
from appliance.spreadsheet import MEND, REASONS

EXAMPLES = 5
EXAMPLE_LENGTH = 60
EXTRA_NAMED = 20  # unknown columns that are named one by one
_EPOCH, _MICROSECOND = datetime.fromtimestamp(0, UTC), timedelta(microseconds=1)

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Issue:
    """A rule that rows of a file break; ``column`` is the column's name in code, '' for rules of the whole row,
    the file's own header for ``extra_column``. ``count`` 0 is a warning."""

    rule: str
    column: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """``good``: ``_row``, ``_machine``, ``_time`` and the typed columns of the profile that the file has.
    ``bad``: the cells as they came, ``_row``, ``_mend`` and ``_reasons``."""

    good: pl.DataFrame
    bad: pl.DataFrame
    issues: list[Issue]


class _Found(NamedTuple):
    rule: str
    column: str
    sentence: str
    mask: Mask


class Checker:
    """Checks the batches of one file. ``origin``: the machine that folder or file name says, '' where they do not;
    where it bears the mark of simulated files, the machine of every row gets it, whoever names that machine.

    ``duplicates``: whether the profile's ``duplicate_rows`` applies; a request may hold the same row twice.
    """

    def __init__(
        self, profile: Profile, header: Sequence[str], origin: str, arrived_at: datetime, *, duplicates: bool = True
    ) -> None:
        self._profile = profile
        self._columns = headers.known(header, profile)
        self._headers = {column.name: name for name, column in self._columns.items()}
        present = {column.name for column in self._columns.values()}
        self._missing = [column for column in profile.columns if column.required and column.name not in present]
        self._extra = [name for name in header if name not in self._columns]
        self._demo = is_demo(origin)
        if profile.machine.from_ == "constant":
            origin = as_demo(profile.machine.value or "") if self._demo else profile.machine.value or ""
        self._origin = "" if machine_fault(origin) else origin
        self._arrived_at = arrived_at
        self._duplicates = Duplicates() if duplicates and profile.file.duplicate_rows == "bad" else None
        self._issues: dict[tuple[str, str], Issue] = {}

    def check(self, batch: Batch) -> Checked:
        """Sort the rows of the next batch of the file."""
        whole = batch.damage == WHOLE
        typed, found = self._typed(batch)
        found += self._of_the_row(batch, typed, found)
        found = _damaged(batch) + [item._replace(mask=item.mask & whole) for item in found]
        found = [item for item in found if item.mask.any()]
        bad = np.zeros(batch.rows, np.bool_)
        for item in found:
            bad |= item.mask
        good = typed.filter(pl.Series(~bad)) if bad.any() else typed
        if good.height > contract.FEW_ROWS and (missed := contract.validate(self._profile, good)):
            found += [self._cell(rule, name, _spread(mask, ~bad)) for rule, name, mask in missed]
            bad = np.logical_or.reduce([item.mask for item in found])
            good = typed.filter(pl.Series(~bad))
        issues = list(self._judged(batch, found))
        for issue in issues:
            self._remember(issue)
        return Checked(good, self._bad(batch, bad, found), issues)

    def taken(self, typed: pl.DataFrame) -> pl.DataFrame | None:
        """Rows that :func:`appliance.jsonrows.sound` found to be so, with machine and time; None where these are not said."""
        if self._missing or self._extra or self._duplicates is not None:
            return None
        framed = self._with_machine_and_time(typed)
        return None if framed[MACHINE].null_count() or framed[TIME].null_count() else framed

    def issues(self) -> list[Issue]:
        """Those of all batches so far, the most frequent first, and warnings about the file as a whole."""
        ranked = sorted(self._issues.values(), key=lambda issue: (-issue.count, issue.rule, issue.column))
        named = [Issue("extra_column", shortened(name), 0) for name in self._extra[:EXTRA_NAMED]]
        if more := len(self._extra) - len(named):
            named.append(Issue("extra_column", f"(and {more:,} more)", 0))
        return ranked + named

    def _typed(self, batch: Batch) -> tuple[pl.DataFrame, list[_Found]]:
        """The typed frame, and what is wrong with single cells: the first thing that is found of each."""
        frame = batch.frame
        kinds = frame.schema
        typed = frame.select(
            _quick(self._profile, tuple((header, c.name, kinds[header]) for header, c in self._columns.items()))
        )
        # Only cells that the quick way left out need the slow one: most files have few.
        left = {
            c.name: (typed[c.name].is_null() & frame[header].is_not_null()).to_numpy()
            for header, c in self._columns.items()
            if typed[c.name].null_count() > frame[header].null_count()
        }
        found: list[_Found] = []
        if left:
            typed, found = self._slowly(batch, typed, left)
        for (rule, header), mask in batch.faults.items():
            column = self._columns.get(header)
            found.append(self._cell(rule, column.name if column else header, mask))
        found = [item for item in found if item.mask.any()]
        wrong: dict[str, Mask] = {}
        for item in found:
            wrong[item.column] = wrong[item.column] | item.mask if item.column in wrong else item.mask
        present = [column.name for column in self._profile.columns if column.name in self._headers]
        if wrong:
            typed = typed.with_columns(
                pl.when(pl.Series(~mask)).then(pl.col(name)) for name, mask in wrong.items() if name in self._headers
            )
        typed = pl.DataFrame([frame[ROW], *(typed[name] for name in present)])
        for rule, name, mask in contract.broken(self._profile, typed):
            found.append(self._cell(rule, name, mask & ~wrong[name] if name in wrong else mask))
        return self._with_machine_and_time(typed), found

    def _slowly(self, batch: Batch, typed: pl.DataFrame, left: Mapping[str, Mask]) -> tuple[pl.DataFrame, list[_Found]]:
        """Fill in what the quick way left out, of the columns and rows that ``left`` names, and find what is wrong there."""
        frame = batch.frame
        some = np.logical_or.reduce(list(left.values()))
        casts = {
            c.name: cast(c, header, self._profile, frame.schema[header])
            for header, c in self._columns.items()
            if c.name in left
        }
        masks = {(rule, name): mask for name, how in casts.items() for rule, mask in how.faults}
        slow = frame.filter(pl.Series(some)).select(
            *(how.value.alias(name) for name, how in casts.items()),
            *(mask.fill_null(False).alias(f"{rule}/{name}") for (rule, name), mask in masks.items()),
        )
        typed = typed.with_columns(typed[name].scatter(np.flatnonzero(some), slow[name]) for name in casts)
        return typed, [self._cell(rule, name, _spread(slow[f"{rule}/{name}"].to_numpy(), some)) for rule, name in masks]

    def _with_machine_and_time(self, typed: pl.DataFrame) -> pl.DataFrame:
        machine, time = self._profile.machine.column, self._profile.time.column
        named = _own(typed, MACHINE, pl.String(), machine, self._origin or None)
        if self._demo and machine is not None:
            named = pl.select(
                pl.when(named.str.starts_with(DEMO)).then(named).otherwise(DEMO + named).alias(MACHINE)
            ).to_series()
        moment = _own(typed, TIME, pl.Datetime("us", "UTC"), time, self._arrived_at)
        row, *rest = typed.get_columns()
        return pl.DataFrame([row, named, moment, *rest])

    def _of_the_row(self, batch: Batch, typed: pl.DataFrame, cells: Sequence[_Found]) -> Iterator[_Found]:
        """What is wrong with a row beyond its cells."""
        missing = [self._cell("missing_column", c.name, np.ones(batch.rows, np.bool_)) for c in self._missing]
        yield from missing
        sources = ((MACHINE, "machine", self._profile.machine.column), (TIME, "time", self._profile.time.column))
        for value, rule, column in sources:
            if not typed[value].null_count():
                continue
            silent = typed[value].is_null().to_numpy()
            for item in (*cells, *missing):
                if item.column == column:
                    silent = silent & ~item.mask
            yield self._cell(rule, column or "", silent)
        if self._duplicates is not None:
            whole = batch.damage == WHOLE
            seen = np.zeros(batch.rows, np.bool_)
            seen[whole] = self._duplicates.seen(batch.frame.filter(pl.Series(whole)), batch.header)
            yield self._cell("duplicate_row", "", seen)

    def _cell(self, rule: str, name: str, mask: Mask) -> _Found:
        """``name``: of the column in code; of the file where the profile does not know it; '' for the whole row."""
        column = next((c for c in self._profile.columns if c.name == name), None)
        header = self._headers.get(name, column.header if column else shortened(name))
        said = words(self._profile, rule, column)
        return _Found(rule, name, _sentence(header, said), mask)

    def _judged(self, batch: Batch, found: Sequence[_Found]) -> Iterator[Issue]:
        merged: dict[tuple[str, str], Mask] = {}
        for item in found:
            key = (item.rule, item.column)
            merged[key] = merged[key] | item.mask if key in merged else item.mask
        for (rule, column), mask in merged.items():
            yield Issue(rule, column, int(mask.sum()), self._examples(batch, rule, column, mask))

    def _examples(self, batch: Batch, rule: str, column: str, mask: Mask) -> tuple[str, ...]:
        rows = np.flatnonzero(mask)[: 20 * EXAMPLES]
        if rule in ("cells", "cut_off"):
            cells = batch.mend[rows]
        elif rule == "duplicate_row":
            cells = "row " + batch.frame[ROW][rows].cast(pl.String)
        elif column in self._headers:
            cells = batch.frame[self._headers[column]][rows].cast(pl.String)
        else:
            return ()
        return tuple(shortened(cell) for cell in cells.drop_nulls().unique(maintain_order=True).head(EXAMPLES))

    def _remember(self, issue: Issue) -> None:
        before = self._issues.get((issue.rule, issue.column))
        if before is not None:
            examples = tuple(dict.fromkeys((*before.examples, *issue.examples)))[:EXAMPLES]
            issue = Issue(issue.rule, issue.column, before.count + issue.count, examples)
        self._issues[issue.rule, issue.column] = issue

    def _bad(self, batch: Batch, bad: Mask, found: Sequence[_Found]) -> pl.DataFrame:
        kinds = batch.frame.schema
        if not bad.any():
            written = {name: pl.String() if kind.is_temporal() else kind for name, kind in kinds.items()}
            return pl.DataFrame(schema={**written, MEND: pl.String(), REASONS: pl.String()})
        frame = batch.frame.with_columns(batch.mend.alias(MEND)).filter(pl.Series(bad))
        times = [name for name, kind in kinds.items() if kind.is_temporal()]
        if times:
            frame = frame.with_columns(self._written(name, kinds[name]) for name in times)
        return frame.with_columns(pl.Series(REASONS, _reasons(bad, found), dtype=pl.String))

    def _written(self, header: str, kind: pl.DataType) -> pl.Expr:
        """A time as the profile's files write it."""
        cell = pl.col(header)
        if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
            cell = cell.dt.convert_time_zone(self._profile.time.zone)
        return cell.dt.strftime(time_format(self._profile))


def _own(typed: pl.DataFrame, name: str, kind: pl.DataType, column: str | None, value: object) -> pl.Series:
    """A column of ours: what stands in the file's column that is named, or the value where none is."""
    if column is None or column not in typed.columns:
        given = value if column is None else None
        made = moments(name, [given]) if isinstance(given, datetime) else pl.Series(name, [given], dtype=kind)
        return made.new_from_index(0, typed.height)
    return typed[column].alias(name).cast(kind)


def moments(name: str, values: Sequence[datetime]) -> pl.Series:
    """Times as a column in UTC, to the microsecond. Given as they are, Polars takes ten times as long for a single one."""
    since = [(value - _EPOCH) // _MICROSECOND for value in values]
    return pl.Series(name, since, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


@once
def _quick(profile: Profile, cells: Sequence[tuple[str, str, pl.DataType]]) -> list[pl.Expr]:
    """The quick way for (header, column, type of the cells)."""
    return [quick(profile.column(name), header, profile, kind).alias(name) for header, name, kind in cells]


def describe(profile: Profile, issue: Issue) -> str:
    """The issue in a sentence, under the name that the profile gives the column in files."""
    column = next((c for c in profile.columns if c.name == issue.column), None)
    return _sentence(label(profile, issue.column), words(profile, issue.rule, column))


def label(profile: Profile, column: str) -> str:
    """What people call the column of an issue: its header in files; '' for the whole row."""
    return next((c.header for c in profile.columns if c.name == column), shortened(column))


def _sentence(header: str, said: str) -> str:
    return f"{header}: {said}" if header else said[:1].upper() + said[1:]


def criticality(rows: int, bad: int, high: float, medium: float) -> Literal["high", "medium", "low"]:
    """How bad a file is by its share of bad rows; one without rows is as bad as it gets."""
    share = bad / rows if rows else 1.0
    return "high" if share >= high else "medium" if share >= medium else "low"


def shortened(text: str) -> str:
    shown = printable(text[: EXAMPLE_LENGTH + 1])  # never shorter than it was
    return shown if len(shown) <= EXAMPLE_LENGTH else f"{shown[: EXAMPLE_LENGTH - 1]}…"


def _spread(mask: Mask, rows: Mask) -> Mask:
    """A mask over some of the rows as one over all of them."""
    whole = np.zeros(len(rows), np.bool_)
    whole[np.flatnonzero(rows)[mask]] = True
    return whole


def _damaged(batch: Batch) -> list[_Found]:
    return [_Found(rule, "", sentence, batch.damage == code) for code, (rule, sentence) in DAMAGE.items()]


def _reasons(bad: Mask, found: Sequence[_Found]) -> list[str]:
    """One text for each bad row; rows that break the same rules share one, so few are ever put together."""
    if not bad.any():
        return []
    bits = np.packbits(np.stack([item.mask[bad] for item in found]), axis=0).T
    keys = np.ascontiguousarray(bits).view(f"V{bits.shape[1]}").ravel()
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    rows = np.flatnonzero(bad)[first]
    texts = ["; ".join(dict.fromkeys(item.sentence for item in found if item.mask[row])) for row in rows]
    return [texts[kind] for kind in which]
