"""Requests to predict, from body to answer: one transaction, one result a key."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from appliance import scored
from appliance.api import answer, bodies
from appliance.api.auth import Principal
from appliance.api.bodies import Question, Rows
from appliance.api.state import Api
from appliance.api.wire import Ask, Format
from appliance.errors import ApplianceError, StoreAway
from appliance.predict import past, predict_rows
from appliance.scored import Scored
from appliance.serving import Served
from appliance.store import principals
from appliance.store.engine import Connection
from appliance.store.rows import Source


@dataclass(frozen=True, slots=True)
class Answer:
    """``rejected`` rows are counted in a header too, since CSV and Parquet have no other place for it."""

    content: bytes
    format: Format
    rejected: int
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class _Made:
    answer: Answer
    rows: int
    failing: int


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A request in JSON that was read, and is still to be checked."""

    who: Principal
    ask: Ask
    question: Question


Result = Answer | ApplianceError | None


def submit(api: Api, who: Principal, ask: Ask, body: bytes) -> Answer:
    """Check, predict and store; nothing is answered that is not committed. Any error leaves nothing stored.

    Where nothing is to be stored, the answer is that of the model alone.
    """
    if not ask.store:
        served, rows = _checked(api, ask, body)
        (made,) = _tried(api, served, who.source, [(ask, rows)])
        return made.answer
    if ask.key is None:
        served, rows = _checked(api, ask, body)
        with api.transaction() as connection:
            (made,) = _made(connection, api, served, who.source, [(ask, rows)])
    else:
        # The key comes first: what was answered once is answered again, whichever model serves by now.
        with api.transaction() as connection:
            known = principals.recall(connection, who.owner, ask.key, ask.digest)
            if known is not None:
                return _unpacked(known)
            served, rows = _checked(api, ask, body)
            (made,) = _made(connection, api, served, who.source, [(ask, rows)])
            principals.remember(connection, who.owner, ask.key, ask.digest, _packed(made.answer))
    api.metrics.predicted(served.profile.name, who.source, made.rows, made.failing)
    return made.answer


def submit_together(api: Api, served: Served, source: Source, asked: Sequence[Asked]) -> list[Result]:
    """The same for several at once, all of one source: one frame, one run of the model, one commit.

    Each gets its answer or its own error; None where it has to be asked alone. No key may stand twice among them.
    """
    results: list[Result] = [None] * len(asked)
    checked = bodies.check([one.question for one in asked], served.profile)
    sound = []
    for at, (one, rows) in enumerate(zip(asked, checked, strict=True)):
        if (refusal := bodies.refusal(rows, one.ask.format)) is None:
            sound.append(at)
        elif one.ask.key is None:
            api.metrics.refused_rows(served.profile.name, rows.bad)
            results[at] = refusal
        # Else: what came under that key before may have been sound, and is answered again.
    if sound:
        pairs = {at: (asked[at], checked[at]) for at in sound}
        stored = asked[sound[0]].ask.store
        try:
            for at, result in (_stored_together if stored else _tried_together)(api, served, source, pairs).items():
                results[at] = result
        except ApplianceError as error:
            # The database is away for all. Else one of them waits for somebody, and the others need not.
            if isinstance(error, StoreAway) or len(sound) == 1:
                for at in sound:
                    results[at] = error
    return results


def _stored_together(
    api: Api, served: Served, source: Source, sound: Mapping[int, tuple[Asked, Rows]]
) -> dict[int, Answer]:
    """The answer to each, committed; what was answered before is not predicted again."""
    answers: dict[int, Answer] = {}
    with api.transaction() as connection:
        # In order, so that two who hold the same keys wait for each other and do not lock each other out.
        for at, (one, _) in sorted(sound.items(), key=lambda item: (item[1][0].who.owner, item[1][0].ask.key or "")):
            if one.ask.key is None:
                continue
            known = principals.recall(connection, one.who.owner, one.ask.key, one.ask.digest)
            if known is not None:
                answers[at] = _unpacked(known)
        fresh = [at for at in sound if at not in answers]
        pairs = [(one.ask, rows) for one, rows in (sound[at] for at in fresh)]
        all_made = _made(connection, api, served, source, pairs)
        for at, made in zip(fresh, all_made, strict=True):
            one, _ = sound[at]
            answers[at] = made.answer
            if one.ask.key is not None:
                principals.remember(connection, one.who.owner, one.ask.key, one.ask.digest, _packed(made.answer))
    for made in all_made:
        api.metrics.predicted(served.profile.name, source, made.rows, made.failing)
    return answers


def _tried_together(
    api: Api, served: Served, source: Source, sound: Mapping[int, tuple[Asked, Rows]]
) -> dict[int, Answer]:
    all_made = _tried(api, served, source, [(one.ask, rows) for one, rows in sound.values()])
    return {at: made.answer for at, made in zip(sound, all_made, strict=True)}


def _checked(api: Api, ask: Ask, body: bytes) -> tuple[Served, Rows]:
    served = api.models.get(ask.profile)
    rows = bodies.read_rows(body, ask, served.profile, datetime.now(UTC), api.settings.timezone)
    api.metrics.refused_rows(served.profile.name, rows.bad)
    if (refusal := bodies.refusal(rows, ask.format)) is not None:
        raise refusal
    return served, rows


def _made(
    connection: Connection, api: Api, served: Served, source: Source, checked: Sequence[tuple[Ask, Rows]]
) -> list[_Made]:
    """Predict and store the good rows of several requests, and say to each what became of its own."""
    if not checked:
        return []
    frame = pl.concat([rows.good for _, rows in checked])
    return _shared(served, predict_rows(connection, served, frame, source, api.settings), source, checked)


def _tried(api: Api, served: Served, source: Source, checked: Sequence[tuple[Ask, Rows]]) -> list[_Made]:
    """The same with nothing stored; where the model looks back, it looks at what is stored of the machine."""
    frame = pl.concat([rows.good for _, rows in checked])
    history = None
    if served.profile.history_rows:
        with api.transaction() as connection:
            history = past(connection, served.profile, frame)
    return _shared(served, scored.score(served, frame, history, api.settings.chunk_rows), source, checked)


def _shared(served: Served, done: Scored, source: Source, checked: Sequence[tuple[Ask, Rows]]) -> list[_Made]:
    """To each request its own rows of what was done for all."""
    rendered = answer.render(served, done, [(rows, ask.accept) for ask, rows in checked], source)
    return [
        _Made(Answer(content, ask.accept, rows.bad), rows.good.height, failing)
        for (ask, rows), (content, failing) in zip(checked, rendered, strict=True)
    ]


def _packed(made: Answer) -> dict[str, Any]:
    content = base64.b64encode(gzip.compress(made.content, compresslevel=1, mtime=0)).decode("ascii")
    return {"content": content, "format": made.format, "rejected": made.rejected}


def _unpacked(known: Mapping[str, Any]) -> Answer:
    content = gzip.decompress(base64.b64decode(known["content"]))
    return Answer(content, known["format"], known["rejected"], replayed=True)
