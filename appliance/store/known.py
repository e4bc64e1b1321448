"""What this process has seen committed, so that it need not ask again: ids that never change, partitions that are there.

Only what stays true for as long as the database is the same one belongs here. Whatever may be removed again does not. A
new connection may lead to another database, and a transaction that failed may have believed what is no longer so: both
forget everything.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine

_MOST = 20_000
_LEARNING = "appliance_learning"

_known: WeakKeyDictionary[Engine, dict[Hashable, Any]] = WeakKeyDictionary()


def get(conn: Connection, key: Hashable) -> Any | None:
    """What is known under that key; None where nothing is."""
    return _known.get(conn.engine, {}).get(key)


def learn(conn: Connection, key: Hashable, value: Any) -> None:
    """Known from the commit of this transaction on; never, where it is rolled back."""
    learning = conn.info.get(_LEARNING)
    if learning is not None:
        learning[key] = value


def begin(conn: Connection) -> None:
    """A transaction begins: what it learns counts once it is committed."""
    conn.info[_LEARNING] = {}


def committed(conn: Connection) -> None:
    """Its commit is durable."""
    learned = conn.info.pop(_LEARNING, None)
    if learned:
        facts = _known.setdefault(conn.engine, {})
        if len(facts) > _MOST:
            facts.clear()
        facts.update(learned)


def forget(engine: Engine) -> None:
    """All of it."""
    _known.pop(engine, None)
