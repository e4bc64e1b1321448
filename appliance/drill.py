"""``appliance alerts drill``: make the condition of each alert true, see whether it fires, and take all of it back.

Without a Grafana each rule's statement is asked in a transaction that is never committed: of what is written there
nobody sees anything, and whatever ends this process leaves nothing. With one the rows are committed for some minutes, so
that Grafana finds them by itself; its own word on what fires is asked for, and the box's books on what arrived.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from appliance.errors import ApplianceError, UsageError
from appliance.store import alerts, drill_rows, journal
from appliance.store import engine as store
from appliance.store.engine import Connection, Engine
from appliance.store.report import READER

if TYPE_CHECKING:
    from appliance.drill_grafana import Grafana
    from grafana.alerts import Rule

State = Literal["fires", "will fire", "silent", "not tried"]

_LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Drilled:
    """What came of one alert. ``fired_before``: of itself, without a drill. ``arrived``: notes of it in the box's books
    since the drill began, and ``sent``: messages of these to people; None where nothing was to arrive."""

    rule: str
    title: str
    state: State
    fired_before: bool = False
    arrived: int | None = None
    sent: int | None = None
    why: str = ""

    @property
    def is_well(self) -> bool:
        # Of an episode that began before the drill, the note lies back.
        arrived = self.arrived != 0 or self.fired_before
        return self.state in ("will fire", "not tried") or (self.state == "fires" and arrived)


@dataclass(frozen=True, slots=True)
class Report:
    """``by``: who was asked what fires, ``grafana`` or ``sql``; ``seen_by``: the role that the statements were asked as."""

    by: Literal["grafana", "sql"]
    seen_by: str
    alerts: Sequence[Drilled] = field(default_factory=tuple)

    @property
    def is_well(self) -> bool:
        return all(one.is_well for one in self.alerts)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"well": self.is_well}


def is_marked(labels: Mapping[str, str]) -> bool:
    """Whether an alert's labels say that it is of a drill's own rows."""
    return labels.get("profile", "").startswith(drill_rows.MARK)


def chosen(only: Sequence[str]) -> list[Rule]:
    """The rules of those ids, with or without ``appliance-`` before them; all where none is named."""
    from grafana.alerts import RULES

    known = {rule.uid: rule for rule in RULES}
    wanted = [name if name in known else f"appliance-{name}" for name in only] or list(known)
    for given, name in zip(only, wanted, strict=False):
        if name not in known:
            names = ", ".join(uid.removeprefix("appliance-") for uid in known)
            raise UsageError(f"There is no alert {given!r}.", f"There are {names}.")
    return [known[name] for name in known if name in wanted]


def by_sql(engine: Engine, rules: Sequence[Rule]) -> Report:
    """Ask each rule's statement as Grafana does, in a transaction of its own that is taken back."""
    with drill_rows.only_one(engine) as connection:
        drill_rows.sweep(connection)
        connection.commit()
        role = READER if drill_rows.may_act_as(connection, READER) else None
        connection.rollback()
        found = []
        for rule in rules:
            try:
                before = bool(_firing(connection, rule, role))
                drill_rows.make(connection, rule.uid)
                fires = bool(_firing(connection, rule, role))
            finally:
                connection.rollback()
            found.append(Drilled(rule.uid, rule.title, "fires" if fires else "silent", before))
    return Report("sql", role or "the appliance itself", found)


def by_grafana(
    engine: Engine,
    rules: Sequence[Rule],
    grafana: Grafana,
    minutes: float,
    tell: Callable[[str], None] = lambda _: None,
    pause: float = _LOOK_SECONDS,
) -> Report:
    """Commit what makes the conditions true, wait until Grafana says that all fire (at most so long), take it back."""
    known = grafana.states()
    if missing := [rule.title for rule in rules if rule.uid not in known]:
        raise ApplianceError(
            f"Grafana does not have the rule {missing[0]!r}.", "Does it read the folder provisioning of the appliance?"
        )
    before = {uid for uid, state in known.items() if state.by_itself == "fires"}
    tried = [rule for rule in rules if rule.uid not in drill_rows.ONLY_UNSEEN]
    with drill_rows.only_one(engine) as connection:
        drill_rows.sweep(connection)
        since = alerts.clock(connection)
        journal.event(connection, "drill", "info", f"A drill of {len(tried)} alerts began.", {"minutes": minutes})
        for rule in tried:
            drill_rows.make(connection, rule.uid)
        connection.commit()
        try:
            states = _watch(connection, tried, grafana, since, time.monotonic() + 60 * minutes, tell, pause)
            connection.commit()
            arrived = alerts.arrived(connection, since)
        finally:
            # Whatever broke it off may have broken this session too.
            with suppress(Exception):
                connection.rollback()
            _take_back(engine)
    found = []
    for rule in rules:
        if rule not in tried:
            why = "Only with the API stopped for six minutes can it be so; its statement is tried without --grafana."
            found.append(Drilled(rule.uid, rule.title, "not tried", rule.uid in before, why=why))
            continue
        state, count = states.get(rule.uid, "silent"), arrived.get(rule.uid)
        why = f"So lasting: Grafana waits {rule.lasting} before it tells." if state == "will fire" else ""
        notes = sent = None
        if state == "fires":
            notes, sent = (count.notes, count.sent) if count else (0, 0)
        found.append(Drilled(rule.uid, rule.title, state, rule.uid in before, notes, sent, why))
    return Report("grafana", READER, found)


def _watch(
    connection: Connection,
    rules: Sequence[Rule],
    grafana: Grafana,
    since: datetime,
    deadline: float,
    tell: Callable[[str], None],
    pause: float,
) -> dict[str, State]:
    """What became of each rule until the deadline, or until all fire and have arrived."""
    best: dict[str, State] = {}
    said = ""
    while True:
        for uid, seen in grafana.states().items():
            now = seen.of_drill
            if now == "fires" or (now == "will fire" and best.get(uid) != "fires"):
                best[uid] = now
        connection.commit()
        arrived = alerts.arrived(connection, since)
        connection.commit()
        firing = [rule.uid for rule in rules if best.get(rule.uid) == "fires"]
        if all(rule.uid in arrived for rule in rules) and len(firing) == len(rules):
            return best
        if time.monotonic() >= deadline:
            return best
        counts = f"{len(firing)} of {len(rules)} fire, {sum(uid in arrived for uid in firing)} arrived."
        if counts != said:
            tell(counts)
        said = counts
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))


def _take_back(engine: Engine) -> None:
    """In a session of its own: the other may be the one that broke."""
    try:
        with store.transaction(engine) as connection:
            drill_rows.remove(connection)
    except ApplianceError as error:
        raise ApplianceError(
            f"The rows of the drill could not be taken back ({error.message.rstrip('.')}).",
            "The API removes them within a minute once the database is there again.",
        ) from error


def _firing(connection: Connection, rule: Rule, role: str | None) -> list[tuple[str, ...]]:
    names, rows = drill_rows.ask(connection, " ".join(rule.sql.split()), role)
    return firing(rule.beyond, names, rows)


def firing(beyond: tuple[str, float], names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> list[tuple[str, ...]]:
    """The curves that are beyond the bound, as Grafana's reduction and threshold have it: words name a curve, its newest
    figure counts, and none is no figure."""
    at, value = names.index("time"), names.index("value")
    words = [place for place in range(len(names)) if place not in (at, value)]
    newest: dict[tuple[str, ...], float] = {}
    for row in sorted(rows, key=lambda row: row[at]):
        if row[value] is not None:
            newest[tuple(str(row[place]) for place in words)] = float(row[value])
    kind, bound = beyond
    return [curve for curve, figure in newest.items() if (figure > bound if kind == "gt" else figure < bound)]
