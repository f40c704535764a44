"""`touched`: the keys that a batch brought hits, found by columns; and `hit_times`: when those happened."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import polars as pl

from pipelines.alarms.signals import SHARES
from schemas.counters import HITS, OTHER_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BIT: Final = {signal: 1 << HITS.index(share.hits) for signal, share in SHARES.items()}
"""By signal: the bit of its hits in a mask."""
EVERY_HIT: Final = -1
"""A mask of all hits."""
_KEY: Final = ("partition", "dimension", "value")

Key = tuple[int, str, str]
"""Partition, dimension, value."""
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


def hit_times(deltas: pl.DataFrame, dimensions: Sequence[str]) -> dict[Key, int]:
    """When the hits of keys happened that a batch brought, ms: the median, each cohort hour's taken to be its latest.

    So a few that happen now, among the many of an archive, make those no younger; nor do a few old ones age the others.

    Args:
        deltas: rows of `deltas.read`, with their `partition`; those of closed hours too.
        dimensions: that rules look at.
    """
    wanted = (pl.col("hit_time") > 0) & pl.col("dimension").is_in(list(dimensions))
    rows = deltas.filter(wanted & (pl.col("value") != OTHER_VALUE))
    found: dict[Key, list[tuple[int, int]]] = defaultdict(list)
    for *key, time, hits in rows.select(*_KEY, "hit_time", pl.sum_horizontal(HITS)).iter_rows():
        found[key[0], key[1], key[2]].append((time, hits))
    return {key: _median(times) for key, times in found.items()}


def _median(weighted: list[tuple[int, int]]) -> int:
    """Of values with weights; of two in the middle the greater."""
    if len(weighted) == 1:
        return weighted[0][0]
    weighted.sort(reverse=True)
    half = sum(weight for _, weight in weighted) / 2
    for value, weight in weighted:
        half -= weight
        if half <= 0:
            return value
    return weighted[-1][0]
