"""`CountDelta` blocks to and from columns.

There are hundreds of deltas in a batch and nearly all their counters are below 64, one byte each in Avro;
writing them from a matrix is ten times as fast as row by row. A test keeps the bytes equal to fastavro's.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from pipelines.counting import columns
from schemas.avro import newest
from schemas.blocks import MAX_BYTES, SINGLE_OBJECT, Block, Framing
from schemas.counters import COUNTERS
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RECORD: Final = "count_delta"
WIDTH: Final = len(COUNTERS)
_SCHEMA: Final[columns.Schema] = {
    "dimension": pl.String(),
    "value": pl.String(),
    "source_partition": pl.Int32(),
    "source_offset": pl.Int64(),
    "hour": pl.Int64(),
    **dict.fromkeys(COUNTERS, pl.Int64()),
    "closed": pl.Boolean(),
}
_SINCE: Final = {"closed": 2}
"""Columns that a release brought; in older blocks they have their default, false."""
_CLOSED: Final = (b"\0", b"\1")
_ONE_BYTE: Final = 64
"""Avro longs are zig-zag varints: 0 to 63 take one byte."""


@dataclass(frozen=True, slots=True)
class Delta:
    """All that one block of `ses.events` adds to one (dimension, value)."""

    dimension: str
    value: str
    partition: int
    """Source partition of the block."""
    offset: int
    """Source offset of the block."""
    rows: list[tuple[int, tuple[int, ...]]]
    """(cohort hour in seconds, counters)."""
    closed: set[int]
    """Which of those hours were closed: their counters are not to be added."""


def encode(
    deltas: pl.DataFrame, partitions: int, framing: Framing = SINGLE_OBJECT
) -> list[tuple[int, bytes]]:
    """Blocks of `CountDelta` and the partition of `ses.counts` each belongs to.

    Without a column `closed` none of the rows is.

    Rows are sorted by source block and dimension. All that a source block adds to a dimension in a partition is in one
    block, and source blocks are in order: the reader's marks, one for each (dimension, value) and one for what is
    forwarded to a dimension's `(other)`, want both.
    """
    gathered: dict[int, list[bytes]] = defaultdict(list)
    sizes: dict[int, int] = defaultdict(int)
    done = []
    header = framing.header(newest(RECORD))
    last: dict[int, tuple[str, bytes]] = {}
    for dimension, value, place, row in _rows(deltas):
        target, name = _key(dimension, value, partitions)
        key = (dimension, place)
        if key != last.get(target) and sizes[target] >= MAX_BYTES:
            done.append((target, _block(header, gathered.pop(target))))
            sizes[target] = 0
        last[target] = key
        encoded = b"".join((place, name, row))
        gathered[target].append(encoded)
        sizes[target] += len(encoded)
    done += [(target, _block(header, rows)) for target, rows in gathered.items()]
    return done


def _rows(deltas: pl.DataFrame) -> Iterator[tuple[str, str, bytes, bytes]]:
    """Dimension, value, encoded source block, encoded hour and counters."""
    counters = deltas.select(COUNTERS).to_numpy().astype(np.int64, copy=False)
    long = ((counters < 0) | (counters >= _ONE_BYTE)).any(axis=1)
    exceptions = set(np.flatnonzero(long).tolist())
    bytewise = (counters << 1).astype(np.uint8).tobytes()
    closed = pl.col("closed") if "closed" in deltas.columns else pl.lit(value=False)
    names = deltas.select(
        "dimension", "value", "source_partition", "source_offset", "hour", closed
    ).iter_rows()
    for index, (dimension, value, partition, offset, hour, shut) in enumerate(names):
        amounts = bytewise[index * WIDTH : (index + 1) * WIDTH]
        if index in exceptions:
            amounts = b"".join(map(_long, counters[index].tolist()))
        yield dimension, value, _place(partition, offset), _hour(hour) + amounts + _CLOSED[shut]


def _block(header: bytes, rows: list[bytes]) -> bytes:
    return b"".join((header, _long(len(rows)), *rows, b"\0"))


@lru_cache(maxsize=1 << 16)
def _key(dimension: str, value: str, partitions: int) -> tuple[int, bytes]:
    parts = (dimension.encode(), value.encode())
    return of_key(dimension, value, partitions), b"".join(_long(len(part)) + part for part in parts)


@lru_cache(maxsize=256)
def _place(partition: int, offset: int) -> bytes:
    return _long(partition) + _long(offset)


@lru_cache(maxsize=4096)
def _hour(hour: int) -> bytes:
    return _long(hour)


def _long(value: int) -> bytes:
    """An Avro long: zig-zag, then 7 bits a byte, least significant first (Avro 1.12, "Binary Encoding")."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - 7 bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(blocks: Sequence[Block]) -> list[Delta]:
    """All deltas of blocks of `ses.counts`, in order.

    Raises:
        MalformedBlock: when rows do not decode.
    """
    return list(grouped(read(blocks)))


def read(blocks: Sequence[Block]) -> pl.DataFrame:
    """The rows of blocks of `ses.counts`, in order, with `record`: the index of the block they came in.

    Raises:
        MalformedBlock: when rows do not decode.
    """
    return columns.read(blocks, RECORD, _SCHEMA, _SINCE)


def grouped(frame: pl.DataFrame) -> Iterator[Delta]:
    """Rows of one record, source block and key together; the next record may be a repetition of this one."""
    last, within = None, -1
    for record, dimension, value, partition, offset, hour, *counters, closed in frame.iter_rows():
        if (
            last is None
            or within != record
            or last.value != value
            or last.dimension != dimension
            or last.offset != offset
            or last.partition != partition
        ):
            if last is not None:
                yield last
            last, within = Delta(dimension, value, partition, offset, [], set()), record
        last.rows.append((hour, tuple(counters)))
        if closed:
            last.closed.add(hour)
    if last is not None:
        yield last
