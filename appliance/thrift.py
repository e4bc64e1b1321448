"""The compact protocol of Thrift, as far as Parquet's metadata need it: bytes -> fields by number. Pure."""

from __future__ import annotations

from typing import TypeAlias, Union

# A struct is a dict by field number; a map, of which Parquet's metadata have none that matter, is left out.
Value: TypeAlias = Union[int, bytes, list["Value"], dict[int, "Value"], None]  # noqa: UP007 - it names itself
Struct: TypeAlias = dict[int, Value]

_MOST = 2**48
_DEEPEST = 16  # Parquet's own go five deep
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)


class Damaged(Exception):
    """These bytes are no such struct."""


def read_struct(data: bytes, at: int = 0) -> tuple[Struct, int]:
    """The struct that begins at a position, and the position behind it."""
    try:
        return _Reader(data, at).whole()
    except IndexError:
        raise Damaged from None


def number(struct: Struct, field: int, otherwise: int | None = None) -> int:
    """A field that is a size, a place or a count; ``otherwise`` where it is missing, if that is allowed."""
    value = struct.get(field, otherwise)
    if not isinstance(value, int) or not 0 <= value < _MOST:
        raise Damaged
    return value


def structs(struct: Struct, field: int) -> list[Struct]:
    """A field that is a list of structs."""
    value = struct.get(field)
    if not isinstance(value, list):
        raise Damaged
    found = [one for one in value if isinstance(one, dict)]
    if len(found) != len(value):
        raise Damaged
    return found


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def whole(self) -> tuple[Struct, int]:
        return self._struct(0), self._at

    def _struct(self, depth: int) -> Struct:
        if depth > _DEEPEST:
            raise Damaged
        found: Struct = {}
        field = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            field = field + step if step else self._signed()
            found[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Value:
        if kind in _INTEGERS:
            return self._signed()
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind == _STRUCT:
            return self._struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth + 1)
        if kind in (_BYTE, _TRUE, _FALSE):  # a truth in a list takes a byte
            return self._byte()
        if kind == _DOUBLE:
            self._bytes(8)
            return None
        if kind == _MAP:
            self._skip_map(depth + 1)
            return None
        raise Damaged

    def _list(self, depth: int) -> list[Value]:
        head = self._byte()
        size, kind = head >> 4, head & 15
        size = self._unsigned() if size == 15 else size
        if depth > _DEEPEST or size > len(self._data) - self._at:  # each of them takes a byte at least
            raise Damaged
        return [self._value(kind, depth) for _ in range(size)]

    def _skip_map(self, depth: int) -> None:
        size = self._unsigned()
        if depth > _DEEPEST or size > len(self._data) - self._at:
            raise Damaged
        kinds = self._byte() if size else 0
        for _ in range(size):
            self._value(kinds >> 4, depth)
            self._value(kinds & 15, depth)

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        if len(found) < size:
            raise Damaged
        self._at += size
        return found

    def _unsigned(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
            shift += 7
            if shift > 63:
                raise Damaged

    def _signed(self) -> int:
        found = self._unsigned()
        return (found >> 1) ^ -(found & 1)
