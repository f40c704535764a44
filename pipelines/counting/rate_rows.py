"""`RateRow` blocks, written from columns.

Thousands of rows leave in a second; made of dictionaries they cost as much as all the folding. A test keeps the bytes
equal to fastavro's.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.counting.rate import KeyHour, limits
from schemas.avro import newest
from schemas.blocks import MAX_ROWS, SINGLE_OBJECT, Framing
from schemas.partitioning import of_key
from schemas.rows import encoder, varint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RECORD: Final = "rate_row"
_ONE_BYTE: Final = 64
"""Avro longs are zig-zag varints: 0 to 63 take one byte."""
_NULL: Final = b"\0"
_DOUBLE: Final = b"\2"
_long: Final = lru_cache(maxsize=1 << 14)(encoder("long"))


def encode(
    cells: Sequence[KeyHour], partitions: int, framing: Framing = SINGLE_OBJECT
) -> list[tuple[int, bytes]]:
    """Blocks of `RateRow` and the partition of `ses.rates` each belongs to, in the order given."""
    if not cells:
        return []
    counts = np.array([cell.counters for cell in cells], dtype=np.int64)
    long = set(np.flatnonzero(((counts < 0) | (counts >= _ONE_BYTE)).any(axis=1)).tolist())
    bytewise = (counts << 1).astype(np.uint8).tobytes()
    width = counts.shape[1]
    columns = [_optional(column) for column in limits(counts)]
    gathered: dict[int, list[bytes]] = defaultdict(list)
    for at, (cell, four) in enumerate(zip(cells, zip(*columns, strict=True), strict=True)):
        target, name = _key(cell.dimension, cell.value, partitions)
        amounts = bytewise[at * width : (at + 1) * width]
        if at in long:
            amounts = b"".join(map(_long, cell.counters))
        row = (name, _long(cell.hour), _long(cell.version), amounts, *four)
        gathered[target].append(b"".join(row))
    header = framing.header(newest(RECORD))
    return [
        (target, b"".join((header, varint(len(some)), *some, b"\0")))
        for target, rows in gathered.items()
        for some in (rows[start : start + MAX_ROWS] for start in range(0, len(rows), MAX_ROWS))
    ]


def _optional(column: NDArray[np.float64]) -> list[bytes]:
    """Doubles, null where they are NaN."""
    data = column.astype("<f8").tobytes()
    missing = np.isnan(column)
    return [_NULL if none else _DOUBLE + data[at * 8 : at * 8 + 8] for at, none in enumerate(missing)]


@lru_cache(maxsize=1 << 16)
def _key(dimension: str, value: str, partitions: int) -> tuple[int, bytes]:
    parts = (dimension.encode(), value.encode())
    return of_key(dimension, value, partitions), b"".join(varint(len(part)) + part for part in parts)
