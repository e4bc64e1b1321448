"""What goes in and out of the store, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    # A pass over the drop folder has no use for it, and it takes a fifth of a second.
    import numpy as np
    from numpy.typing import NDArray

Source = Literal["webapp", "scheduled", "api"]
Role = Literal["viewer", "operator", "engineer", "admin"]
Severity = Literal["info", "warning", "error"]
RunKind = Literal["ingest", "predict", "maintain", "sync", "audit", "backup", "drill"]
Layer = Literal["good", "bad", "predictions", "outcomes"]
RunOutcome = Literal["done", "skipped", "failed"]
OutcomeKind = Literal["failure", "false_alarm", "missed_failure", "planned_work"]

# As numbers in the rows of predictions.
SOURCES: dict[Source, int] = {"webapp": 1, "scheduled": 2, "api": 3}
LATE = 1  # the reading is older than one that was predicted before
OUTSIDE = 2  # a value lies outside of the range that the model was trained on


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Predictions of one profile by one model, in the order of their ids; n rows, f features, m modes."""

    profile_id: int
    model_id: int
    source: Source
    file_id: int | None
    machine_ids: NDArray[np.int32]  # (n,)
    read_at: NDArray[np.datetime64]  # (n,), UTC; no NaT
    rows: NDArray[np.int32] | None  # (n,), 1-based data row
    probability: NDArray[np.float32]  # (n,), 0 to 1
    failing: NDArray[np.bool_]  # (n,)
    flags: NDArray[np.int16]  # (n,), bits LATE and OUTSIDE
    features: NDArray[np.float32]  # (n, f), NaN is missing
    modes: NDArray[np.float32]  # (n, m)

    def __len__(self) -> int:
        return len(self.machine_ids)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that came. ``file_id`` is the number under which its rows are kept, should it be accepted."""

    id: int
    file_id: int
    profile_id: int
    origin: str
    name: str
    path: str
    size: int
    mtime_ns: int
    device: int
    inode: int
    sha256: str
    contract_hash: str
    arrived_at: datetime
    day: date
    state: Literal["claimed", "ingested", "duplicate", "quarantined", "abandoned"]
    duplicate_of: int | None


class IssueLike(Protocol):
    @property
    def rule(self) -> str: ...
    @property
    def column(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def examples(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What reading a file came to."""

    rows_in: int
    rows_good: int
    rows_bad: int
    criticality: Literal["high", "medium", "low"]
    good_path: str | None
    bad_path: str | None
    report_path: str | None
    header: Sequence[str]
    encoding: str | None
    mended_from: int | None = None  # the file whose bad rows these are, mended by a person


@dataclass(frozen=True, slots=True)
class Part:
    """Rows ``start`` to ``start + rows`` (0-based) of a file's good rows."""

    id: int
    file_id: int
    number: int
    start: int
    rows: int
    state: Literal["waiting", "predicted", "failed"]
    tries: int
    next_try_at: datetime
    error: str | None
    profile_id: int
    profile: str
    origin: str
    name: str
    good_path: str
    contract_hash: str
    arrived_at: datetime


@dataclass(slots=True)
class MachineState:
    """What the next row of a machine needs to know about those before it; changed in place and saved."""

    machine_id: int
    recent: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[bool] = field(default_factory=list)  # oldest first
    calm: int = 0
    last_id: int | None = None
    last_probability: float | None = None
    last_failing: bool | None = None
    last_predicted_at: datetime | None = None
    last_read_at: datetime | None = None
    alarm_id: int | None = None
    cooldown_until: datetime | None = None
