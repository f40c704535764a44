"""`RecountRow` blocks to columns, and requests for them to blocks."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import polars as pl

from pipelines.counting import columns
from schemas.blocks import MAX_ROWS, SINGLE_OBJECT, Block, Framing, encode
from schemas.counters import COUNTERS
from schemas.partitioning import of_hour

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RECORD: Final = "recount_row"
REQUEST: Final = "recount_request"
_SCHEMA: Final[columns.Schema] = {
    "dimension": pl.String(),
    "value": pl.String(),
    "hour": pl.Int64(),
    "as_of": pl.Int64(),
    "stored": pl.Int64(),
    **dict.fromkeys(COUNTERS, pl.Int64()),
}

KeyHour = tuple[str, str, int]
"""Dimension, value, cohort hour (seconds)."""


def read(blocks: Sequence[Block]) -> pl.DataFrame:
    """The rows of blocks of `RecountRow`, in order, with `record`: the index of the block they came in.

    Raises:
        MalformedBlock: when rows do not decode.
    """
    return columns.read(blocks, RECORD, _SCHEMA)


def requests(
    wanted: Iterable[KeyHour], partitions: int, framing: Framing = SINGLE_OBJECT
) -> list[tuple[int, bytes]]:
    """Blocks of `RecountRequest` and the partition of `ses.recounts` each belongs to."""
    gathered: dict[int, list[dict[str, object]]] = defaultdict(list)
    for dimension, value, hour in sorted(wanted):
        row: dict[str, object] = {"dimension": dimension, "value": value, "hour": hour}
        gathered[of_hour(hour, partitions)].append(row)
    return [
        (target, encode(REQUEST, rows[start : start + MAX_ROWS], framing))
        for target, rows in gathered.items()
        for start in range(0, len(rows), MAX_ROWS)
    ]
