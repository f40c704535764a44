"""Requests for a recount, gathered: many for one key-hour are one."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Final

import polars as pl

from connectors.clickhouse.recount import HOUR_S, KeyHour
from schemas.blocks import Block, BlockError, Framing, MalformedBlock, container, open_block
from schemas.counters import is_dimension

if TYPE_CHECKING:
    from kafka import TopicPartition

    from schemas.dead_letters import DeadLetter

RECORD: Final = "recount_request"
_COLUMNS: Final = ["dimension", "value", "hour"]
_EARLIEST: Final = -2_208_988_800
_LATEST: Final = 10_413_792_000
"""s: 1900 to 2299, the range of ClickHouse's DateTime64."""


@dataclass(slots=True)
class Gathered:
    """Key-hours that are to be counted, and how far their requests were read."""

    keys: set[KeyHour] = field(default_factory=set)
    letters: list[DeadLetter] = field(default_factory=list)
    """Of records that are no requests."""
    next_offsets: dict[TopicPartition, int] = field(default_factory=dict)
    records: int = 0
    since: float = 0.0
    """When the first came; monotonic seconds."""
    generation: int = 0
    """Of the group's rebalances, when the first came."""


def read(value: bytes | None, framing: Framing) -> tuple[list[KeyHour], str]:
    """The key-hours that a record asks for, and what is wrong with it (nothing: empty).

    A record with bad rows still asks for its good ones.
    """
    try:
        rows = _rows(open_block(value or b"", framing))
    except BlockError as error:
        return [], f"{type(error).__name__}: {error}"
    good = [row for row in rows if _sound(row)]
    if len(good) == len(rows):
        return good, ""
    bad = next(row for row in rows if not _sound(row))
    return good, f"{len(rows) - len(good)} of {len(rows)} rows are no key and hour, such as {bad!r}"


def _rows(block: Block) -> list[KeyHour]:
    if block.schema.record != RECORD:
        raise MalformedBlock(f"a block of {block.schema.record}, not of {RECORD}")
    if not block.count:
        return []
    try:
        frame = pl.read_avro(BytesIO(container([block])), columns=_COLUMNS)
    # polars raises what its Rust reader says: several unrelated types, and a panic on some damage.
    except (Exception, pl.exceptions.PanicException) as error:
        raise MalformedBlock(f"rows do not decode: {error!r}") from error
    if frame.height != block.count:
        raise MalformedBlock(f"{frame.height} rows where the header says {block.count}")
    return [(dimension, value, hour) for dimension, value, hour in frame.select(_COLUMNS).iter_rows()]


def _sound(key: KeyHour) -> bool:
    dimension, value, hour = key
    return is_dimension(dimension) and bool(value) and not hour % HOUR_S and _EARLIEST <= hour < _LATEST
