"""What all tables share: the metadata, names of constraints, and short words for the columns that come again."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Identity,
    Integer,
    MetaData,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

from appliance.store.engine import storable

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


class Words(TypeDecorator[str]):
    """Text that came from outside (names, cells, messages) and may hold what PostgreSQL refuses."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


def id_(type_: Any = BigInteger) -> Column[int]:
    return Column("id", type_, Identity(always=False), primary_key=True)


def to(target: str, type_: Any = BigInteger, *, name: str = "", null: bool = False, **key: Any) -> Column[int]:
    column = name or f"{target}_id"
    return Column(column, type_, ForeignKey(f"{target}.id", **key), nullable=null)


def word(name: str, *, null: bool = False, **more: Any) -> Column[str]:
    return Column(name, Words, nullable=null, **more)


def at(name: str, *, null: bool = True, now: bool = False) -> Column[Any]:
    default = func.clock_timestamp() if now else None
    return Column(name, DateTime(timezone=True), nullable=null and not now, server_default=default)


def json_(name: str, default: str | None = "{}", *, null: bool = False) -> Column[Any]:
    return Column(name, JSONB(none_as_null=True), nullable=null, server_default=default and text(f"'{default}'"))


def count(name: str, type_: Any = Integer) -> Column[int]:
    return Column(name, type_, nullable=False, server_default=text("0"))


def yes(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("false"))


def check(condition: str, name: str) -> CheckConstraint:
    return CheckConstraint(condition, name=name)


def one_of(column: str, *words: str) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def digest(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} ~ '^[0-9a-f]{{64}}$'", name=column)
