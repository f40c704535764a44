"""Folding many deltas into the states of their (dimension, value)s at once.

A second's deltas are many to a key-hour. Where none was applied before and none comes twice, which is nearly
always, they are summed columnar before the state is touched; the others are applied block by block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from pipelines.counting import rate
from pipelines.counting.deltas import grouped
from schemas.counters import COUNTERS

if TYPE_CHECKING:
    from pipelines.counting.rate import State

_KEY: Final = ["dimension", "value"]
Load = Callable[[str, str], "State"]
"""The state of a (dimension, value), new when there is none."""


@dataclass(slots=True)
class Folded:
    """A state that deltas were folded into."""

    state: State
    dirty: set[int] = field(default_factory=set)
    """Hours whose rows are to be sent."""
    plain: bool = True


def fold(deltas: pl.DataFrame, load: Load) -> dict[tuple[str, str], Folded]:
    """Fold the rows of `deltas.read` into the states of all their keys."""
    folded: dict[tuple[str, str], Folded] = {}
    high: list[tuple[Folded, int, int]] = []
    for dimension, value, partition, lowest, highest, repeats in _blocks(deltas).iter_rows():
        found = folded.get((dimension, value))
        if found is None:
            found = folded[dimension, value] = Folded(load(dimension, value))
        found.plain &= not repeats and lowest > found.state.marks.get(partition, -1)
        high.append((found, partition, highest))
    sums = deltas.group_by(*_KEY, "hour").agg(pl.col(name).sum() for name in COUNTERS)
    for dimension, value, hour, *counters in sums.iter_rows():
        found = folded[dimension, value]
        found.dirty.add(hour)
        if found.plain:
            rate.add(found.state, hour, counters)
    for found, partition, highest in high:
        if found.plain:
            found.state.marks[partition] = highest
    others = [key for key, found in folded.items() if not found.plain]
    if others:
        chosen = pl.DataFrame(others, schema=_KEY, orient="row")
        for delta in grouped(deltas.join(chosen, on=_KEY, how="semi", maintain_order="left")):
            state = folded[delta.dimension, delta.value].state
            rate.apply(state, delta.partition, delta.offset, delta.rows)
    return folded


def _blocks(deltas: pl.DataFrame) -> pl.DataFrame:
    """By key and source partition: lowest and highest block, and how many came again in another record."""
    blocks = deltas.select(*_KEY, "source_partition", "source_offset", "record").unique()
    offset = pl.col("source_offset")
    return blocks.group_by(*_KEY, "source_partition").agg(
        offset.min().alias("lowest"),
        offset.max().alias("highest"),
        (pl.len() - offset.n_unique()).alias("repeats"),
    )
