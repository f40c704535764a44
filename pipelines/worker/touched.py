"""`touched`: the keys that a batch brought hits, found by columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from pipelines.alarms.signals import SHARES
from schemas.counters import OTHER_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HITS: Final = tuple(dict.fromkeys(share.hits for share in SHARES.values()))
BIT: Final = {signal: 1 << HITS.index(share.hits) for signal, share in SHARES.items()}
"""By signal: the bit of its hits in a mask."""
EVERY_HIT: Final = -1
"""A mask of all hits."""
_KEY: Final = ("partition", "dimension", "value")

Touch = tuple[int, str, str, int]
"""Partition, dimension, value, mask of the hits that came."""


def touched(deltas: pl.DataFrame, answers: pl.DataFrame, dimensions: Sequence[str]) -> Iterator[Touch]:
    """Keys of the dimensions that have hits in deltas or answers.

    Args:
        deltas: rows of `deltas.read`, with their `partition`; those of closed hours add nothing.
        answers: rows of `answers.read`, with their `partition`.
        dimensions: that rules look at.
    """
    bits = sum(((pl.col(name) > 0).cast(pl.Int64) * (1 << at) for at, name in enumerate(HITS)), pl.lit(0))
    wanted = pl.any_horizontal(pl.col(name) > 0 for name in HITS)
    wanted &= pl.col("dimension").is_in(list(dimensions)) & (pl.col("value") != OTHER_VALUE)
    parts = [
        part.select(*_KEY, bits.alias("mask"))
        for part in (deltas.filter(wanted & ~pl.col("closed")), answers.filter(wanted))
        if part.height
    ]
    if parts:
        masks = pl.concat(parts).group_by(_KEY, maintain_order=True)
        yield from masks.agg(pl.col("mask").bitwise_or()).iter_rows()
