"""`blocks`: results in ClickHouse's format Native, column by column and without decoding a row.

A block is two varints, the numbers of columns and rows; then of each column its name, its type (both with a varint of
their length before them) and its values. Numbers and fixed strings stand one after the other, strings each after a
varint of their length; an array column is the ends of the arrays (UInt64), then all their values. A column of low
cardinality has its distinct values, of this block, and for each row the number of one
(https://clickhouse.com/docs/interfaces/formats/Native; `SerializationLowCardinality.cpp`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from connectors.errors import ClickHouseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_KINDS: Final = {
    **{f"UInt{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"Int{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
}
_FIXED: Final = re.compile(r"FixedString\((\d+)\)")
_ARRAY: Final = re.compile(r"Array\((\w+)\)")
_LOW: Final = "LowCardinality(String)"
_WIDTHS: Final = ("<u1", "<u2", "<u4", "<u8")
_WIDTH: Final = 0xFF
"""Of what says how numbers of distinct values are kept: how wide they are."""
_DISTINCT_HERE: Final = 1 << 9
_DISTINCT_ELSEWHERE: Final = 1 << 8
_LOW_VERSION: Final = 1
_MORE: Final = 0x80


@dataclass(frozen=True, slots=True)
class Low:
    """A column with few distinct values."""

    values: list[bytes]
    numbers: NDArray[np.int64]
    """Of each row."""


@dataclass(frozen=True, slots=True)
class Arrays:
    """A column of arrays of numbers."""

    counts: NDArray[np.int64]
    """Values of each row."""
    values: NDArray[Any]
    """Of all rows."""


Column = Any
"""Numbers (n), fixed strings as bytes (n, width), `list[bytes]`, `Low` or `Arrays`."""


def blocks(pieces: Iterator[bytes]) -> Iterator[dict[str, Column]]:
    """The blocks of a result, each column by name; none is empty.

    Args:
        pieces: the result, cut anywhere. Its columns are numbers, `FixedString`, `String`,
            `LowCardinality(String)` or arrays of numbers.

    Raises:
        ClickHouseError: it breaks off, or has a column of another type.
    """
    stream = _Stream(pieces)
    while stream.more():
        columns, rows = stream.varint(), stream.varint()
        found = {}
        for _ in range(columns):
            name, kind = (each.decode() for each in stream.strings(2))
            # Of no rows there is nothing, not even what goes before values.
            if rows:
                found[name] = _column(stream, kind, rows)
        if rows:
            yield found


def _column(stream: _Stream, kind: str, rows: int) -> Column:
    if kind == _LOW:
        return _low(stream, rows)
    if kind == "String":
        return stream.strings(rows)
    if fixed := _FIXED.fullmatch(kind):
        return stream.numbers(np.dtype(np.uint8), rows * int(fixed[1])).reshape(rows, -1)
    if (array := _ARRAY.fullmatch(kind)) and array[1] in _KINDS:
        ends = stream.numbers(_KINDS["UInt64"], rows).astype(np.int64)
        return Arrays(np.diff(ends, prepend=0), stream.numbers(_KINDS[array[1]], int(ends[-1])))
    if kind in _KINDS:
        return stream.numbers(_KINDS[kind], rows)
    raise ClickHouseError(f"ClickHouse answers with a column of type {kind}, which cannot be read here")


def _low(stream: _Stream, rows: int) -> Low:
    version, state = (int(each) for each in stream.numbers(_KINDS["UInt64"], 2))
    if version != _LOW_VERSION or not state & _DISTINCT_HERE or state & _DISTINCT_ELSEWHERE:
        raise ClickHouseError(f"ClickHouse answers with columns of another release ({version}, {state:#x})")
    values = stream.strings(stream.length())
    if stream.length() != rows:
        raise ClickHouseError("ClickHouse answers with columns of different lengths")
    return Low(values, stream.numbers(np.dtype(_WIDTHS[state & _WIDTH]), rows).astype(np.int64))


class _Stream:
    """Bytes that come in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""
        self._at = 0

    def more(self) -> bool:
        """Whether there is anything left."""
        while self._at == len(self._held):
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._held, self._at = piece, 0
        return True

    def varint(self) -> int:
        """An unsigned LEB128."""
        found = shift = 0
        while True:
            self._await(1)
            byte = self._held[self._at]
            self._at += 1
            found |= (byte & ~_MORE) << shift
            if not byte & _MORE:
                return found
            shift += 7

    def length(self) -> int:
        """A UInt64."""
        return int(self.numbers(_KINDS["UInt64"], 1)[0])

    def numbers(self, kind: np.dtype[Any], count: int) -> NDArray[Any]:
        """So many numbers."""
        size = kind.itemsize * count
        self._await(size)
        found = np.frombuffer(self._held, kind, count, self._at) if count else np.empty(0, kind)
        self._at += size
        return found

    def strings(self, count: int) -> list[bytes]:
        """So many strings."""
        found: list[bytes] = []
        while True:
            self._strings(found, count)
            if len(found) == count:
                return found
            # The next one is not here as a whole: its length is, or comes.
            size = self.varint()
            self._await(size)
            found.append(self._held[self._at : self._at + size])
            self._at += size

    def _strings(self, found: list[bytes], count: int) -> None:
        """Those that are here as a whole, and short: the loop that all time goes into."""
        data, at, end = self._held, self._at, len(self._held)
        for _ in range(count - len(found)):
            if at >= end:
                break
            size = data[at]
            stop = at + 1 + size
            if size & _MORE or stop > end:
                break
            found.append(data[at + 1 : stop])
            at = stop
        self._at = at

    def _await(self, size: int) -> None:
        """Have so many bytes."""
        here = len(self._held) - self._at
        if here >= size:
            return
        parts = [self._held[self._at :]]
        while here < size:
            piece = next(self._pieces, None)
            if piece is None:
                raise ClickHouseError("ClickHouse's answer broke off: is it still running?")
            parts.append(piece)
            here += len(piece)
        self._held, self._at = b"".join(parts), 0
