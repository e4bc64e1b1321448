"""Receivers on this machine, and a database in which things happened that people have to be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from appliance import notify
from appliance.notify import Sent
from appliance.notify_courier import Courier
from appliance.settings import Settings
from appliance.store import alarms, journal, ledger
from appliance.store import engine as engines
from appliance.store.rows import FileRecord
from tests.api.conftest import shelf
from tests.notify.receivers import Mail, Webhook, mail_server, webhook
from tests.road.conftest import api, mill, road, settings
from tests.unit.store import made

__all__ = ["api", "mill", "road", "settings", "shelf"]

REASON = {"mode": "overstrain", "title": "Overstrain", "text": "Strain 12,000 min N.m, limit 11,000"}


class Warm(Courier):
    """The real process, kept from test to test: it takes a second to load its services."""

    def __exit__(self, *ends: Any) -> None:
        if self._open or self._child is None or self._child.poll() is not None:
            super().__exit__(*ends)
            self._child, self._buffer, self._open = None, b"", set()

    def close(self) -> None:
        super().__exit__(None, None, None)


@pytest.fixture(scope="session", autouse=True)
def _no_detour() -> Iterator[None]:
    """The proxy of whoever runs the tests has no business between two ends of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost")
        yield


@pytest.fixture(scope="session")
def warm(_no_detour: None) -> Iterator[Warm]:
    courier = Warm()
    yield courier
    courier.close()


@pytest.fixture
def cold() -> None:
    """For tests of the process itself: one of their own."""


@pytest.fixture(autouse=True)
def _warm(request: pytest.FixtureRequest, warm: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    if "cold" not in request.fixturenames:
        monkeypatch.setattr(notify, "Courier", lambda: warm)


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


@pytest.fixture
def other() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


@pytest.fixture
def mail() -> Iterator[Mail]:
    with mail_server() as found:
        yield found


@dataclass
class Plant:
    """A database without a box around it, and short words for what happens in it."""

    engine: Engine
    folder: Path
    dsn: str
    plant: made.Plant

    def settings(self, *lines: str, **more: Any) -> Settings:
        values: dict[str, Any] = {"data_dir": self.folder, "dsn": self.dsn, "site": "north"}
        return Settings(**values | {"public_url": "http://box.example", "notify_targets": "\n".join(lines)} | more)

    def send(self, *lines: str, seconds: float | None = None, **more: Any) -> Sent:
        return notify.send(self.settings(*lines, **more), self.engine, seconds)

    def alarm(self, machine: int = 0, probability: float = 0.87) -> int:
        """Opens an episode; the machine's earlier one is over then."""
        with engines.transaction(self.engine) as conn:
            found = self.plant.machines[machine]
            self._close(conn, found)
            now = datetime.now(UTC)
            details = REASON | {"action": "Lower the torque."}
            return alarms.open_alarm(conn, found, now, 3, probability, 7, details)

    def close(self, alarm_id: int) -> None:
        with engines.transaction(self.engine) as conn:
            alarms.close(conn, alarm_id, "calm")

    def file(self, bad: int = 8, rows: int = 10) -> int:
        with engines.transaction(self.engine) as conn:
            arrival = made.claimed(conn, self.plant.profile_id)
            good = rows - bad
            criticality = "high" if 2 * bad >= rows else "medium" if 5 * bad >= rows else "low"
            paths = ("good/1.parquet" if good else None, "bad/1.csv" if bad else None, "bad/1.html")
            record = FileRecord(rows, good, bad, criticality, *paths, ("UDI",), "utf-8")  # type: ignore[arg-type]
            ledger.ingested(conn, arrival, record, [made.Issue(count=bad)] if bad else [], [good] if good else [])
            return arrival.file_id

    def refused(self, **more: Any) -> int:
        with engines.transaction(self.engine) as conn:
            arrival = made.claimed(conn, self.plant.profile_id, **more)
            ledger.quarantine(conn, arrival, "empty", "The file is empty.", "quarantine/x")
            return arrival.file_id

    def event(self, message: str = "A part was given up.", severity: Any = "error") -> int:
        with engines.transaction(self.engine) as conn:
            return journal.event(conn, "part_failed", severity, message, {"file_id": 1})

    def rows(self, query: str, **parameters: Any) -> list[Any]:
        with engines.transaction(self.engine) as conn:
            return [tuple(row) for row in conn.execute(text(query), parameters)]

    def change(self, query: str, **parameters: Any) -> None:
        with engines.transaction(self.engine) as conn:
            conn.execute(text(query), parameters)

    def later(self, **span: float) -> None:
        """Time goes by: everything that is written down lies so much further back."""
        past = {"past": timedelta(**span)}
        self.change("UPDATE notice SET created_at = created_at - :past, due_at = due_at - :past", **past)
        self.change(
            "UPDATE delivery SET next_try_at = next_try_at - :past, sent_at = sent_at - :past,"
            " given_up_at = given_up_at - :past",
            **past,
        )

    def states(self) -> list[tuple[str, int]]:
        """How many deliveries are in each state."""
        query = (
            "SELECT CASE WHEN sent_at IS NOT NULL THEN 'sent' WHEN given_up_at IS NULL THEN 'waiting'"
            " WHEN error IS NULL THEN 'not needed' ELSE 'given up' END AS state, count(*) FROM delivery GROUP BY 1"
        )
        return sorted(self.rows(query))

    @property
    def is_due(self) -> bool:
        """What the schedule asks before it calls."""
        query = "SELECT EXISTS (SELECT 1 FROM notice WHERE settled_at IS NULL AND due_at <= clock_timestamp())"
        return bool(self.rows(query)[0][0])

    def _close(self, conn: Any, machine: int) -> None:
        query = "SELECT id FROM alarm WHERE machine_id = :machine AND closed_at IS NULL"
        for (alarm_id,) in conn.execute(text(query), {"machine": machine}):
            alarms.close(conn, alarm_id, "calm")


@pytest.fixture
def plant(engine: Engine, dsn: str, tmp_path: Path) -> Plant:
    with engines.transaction(engine) as conn:
        found = made.plant(conn, machines=[f"mill-{number}" for number in range(1, 9)])
    return Plant(engine, tmp_path, dsn, found)
