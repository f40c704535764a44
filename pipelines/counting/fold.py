"""Folding many deltas and answers into the states of their (dimension, value)s and days at once.

A second's deltas are many to a key-hour. Where none was applied before, none comes twice and nothing is replaced,
which is nearly always, they are summed columnar before the state is touched; the others are applied block by block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from pipelines.counting import rate
from pipelines.counting.deltas import Delta, grouped
from schemas.counters import COUNTERS, OTHER_VALUE

if TYPE_CHECKING:
    from pipelines.counting.answers import KeyHour
    from pipelines.counting.rate import State

Key = tuple[int, str, str, int]
"""Partition, dimension, value, day."""
Load = Callable[[int, str, str, int], "State"]
"""The state of a key, new when there is none."""
_KEY: Final = ["partition", "dimension", "value", "day"]
_DAY: Final = pl.col("hour").floordiv(rate.DAY_S).alias("day")


@dataclass(slots=True)
class Touched:
    """A state that something was folded into."""

    state: State
    dirty: set[int] = field(default_factory=set)
    """Hours whose rows are to be sent."""
    floor: int = 0
    """Their version is to be greater."""
    plain: bool = True


@dataclass(slots=True)
class Folded:
    """What a batch comes to."""

    touched: dict[Key, Touched] = field(default_factory=dict)
    requests: set[KeyHour] = field(default_factory=set)
    """What is to be recounted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A `RecountRow`."""

    dimension: str
    value: str
    hour: int
    as_of: int
    stored: int
    counters: tuple[int, ...]


Told = list[tuple[int, Answer]]
"""Answers, each with the index of its record, in order."""


def fold(deltas: pl.DataFrame, answers: Mapping[Key, Told], load: Load) -> Folded:
    """Fold rows of `deltas.read`, with their `partition`, and answers, all of retained hours."""
    done = Folded()
    deltas = deltas.with_columns(_DAY)
    _fold_open(deltas.filter(~pl.col("closed")), answers, load, done)
    slow = [key for key, found in done.touched.items() if not found.plain]
    slow += [key for key in answers if key not in done.touched]
    if slow:
        _fold_in_order(deltas, answers, slow, load, done)
    closed = deltas.filter("closed").select(*_KEY, "hour").unique(maintain_order=True)
    for *key, hour in closed.iter_rows():
        found = _touch(done, (key[0], key[1], key[2], key[3]), load)
        # The others were asked for in their order.
        if found.plain:
            _ask(done, found, key[1], key[2], hour)
    return done


def _touch(done: Folded, key: Key, load: Load) -> Touched:
    found = done.touched.get(key)
    if found is None:
        found = done.touched[key] = Touched(load(*key))
    return found


def _ask(done: Folded, found: Touched, dimension: str, value: str, hour: int) -> None:
    """Have an hour recounted, from now on for good."""
    rate.recount(found.state, hour)
    done.requests.add((dimension, value, hour))


def _fold_open(deltas: pl.DataFrame, answers: Mapping[Key, Told], load: Load, done: Folded) -> None:
    """Sum, then add, where the order cannot matter; tell the states where it does."""
    high: list[tuple[Touched, dict[int, int]]] = []
    for p, dimension, value, day, sources, lowest, highest, repeats in _blocks(deltas).iter_rows():
        key = (p, dimension, value, day)
        found = _touch(done, key, load)
        known = found.state.marks.get
        if (
            repeats
            or key in answers
            or any(known(s, -1) >= low for s, low in zip(sources, lowest, strict=True))
        ):
            found.plain = False
        else:
            high.append((found, dict(zip(sources, highest, strict=True))))
    sums = deltas.group_by(*_KEY, "hour").agg(pl.col(name).sum() for name in COUNTERS)
    for p, dimension, value, day, hour, *counters in sums.iter_rows():
        found = done.touched[p, dimension, value, day]
        if not found.plain:
            continue
        if hour in found.state.recounted:
            done.requests.add((dimension, value, hour))
        else:
            found.dirty.add(hour)
            rate.add(found.state, hour, counters)
    for found, last in high:
        found.state.marks |= last


def _blocks(deltas: pl.DataFrame) -> pl.DataFrame:
    """By key: source partitions, lowest and highest block of each, and how many came again in another record."""
    blocks = deltas.select(*_KEY, "source_partition", "source_offset", "record").unique()
    offset = pl.col("source_offset")
    sources = blocks.group_by(*_KEY, "source_partition").agg(
        offset.min().alias("lowest"),
        offset.max().alias("highest"),
        (pl.len() - offset.n_unique()).alias("repeats"),
    )
    columns = ("source_partition", "lowest", "highest")
    return sources.group_by(_KEY).agg(*columns, pl.col("repeats").sum())


def _fold_in_order(
    deltas: pl.DataFrame, answers: Mapping[Key, Told], keys: list[Key], load: Load, done: Folded
) -> None:
    """Fold all that came for some keys, record by record."""
    chosen = pl.DataFrame(keys, schema={n: deltas.schema[n] for n in _KEY}, orient="row")
    rows = deltas.join(chosen, on=_KEY, how="semi", maintain_order="left")
    # What a block has for a value is applied at once, for then the mark moves: its rows must follow each other.
    rows = rows.sort("record", "source_partition", "source_offset", *_KEY[1:3], maintain_order=True)
    told: list[tuple[int, Key, Delta | Answer]] = [
        (record, key, answer) for key in keys for record, answer in answers.get(key, ())
    ]
    for (p, day), part in rows.partition_by("partition", "day", as_dict=True, maintain_order=True).items():
        for record, delta in _recorded(part.drop("partition", "day")):
            told.append((record, (p, delta.dimension, delta.value, day), delta))
    # Stable: the rows of a record stay as they are.
    told.sort(key=lambda item: item[0])
    for _, key, item in told:
        found = _touch(done, key, load)
        found.plain = found.plain and key not in answers
        if isinstance(item, Delta):
            _apply(done, found, item)
        else:
            _replace(done, found, item)


def _recorded(rows: pl.DataFrame) -> Iterator[tuple[int, Delta]]:
    """Deltas, each with the index of its record."""
    for (record,), part in rows.partition_by("record", as_dict=True, maintain_order=True).items():
        for delta in grouped(part):
            yield record, delta


def _apply(done: Folded, found: Touched, delta: Delta) -> None:
    """Add what a block has for a day, unless it was: then the process that did may have died before it sent rows."""
    state = found.state
    fresh = delta.offset > state.marks.get(delta.partition, -1)
    for hour, counters in delta.rows:
        if hour in delta.closed or hour in state.recounted:
            _ask(done, found, delta.dimension, delta.value, hour)
            continue
        found.dirty.add(hour)
        if fresh:
            rate.add(state, hour, counters)
    if fresh and len(delta.closed) < len(delta.rows):
        state.marks[delta.partition] = delta.offset


def _replace(done: Folded, found: Touched, answer: Answer) -> None:
    """Take over an answer."""
    before = found.state.counters(answer.hour)
    before = None if before is None else list(before)
    if rate.replace(found.state, answer.hour, answer.as_of, answer.counters):
        # Beyond as_of, for that is the version of an older answer that comes when the hour is not retained any more.
        found.floor = max(found.floor, answer.stored, answer.as_of)
        if answer.value == OTHER_VALUE and before != list(answer.counters):
            # It is what the other values leave, and their rows may have been on their way: until it stays.
            done.requests.add((answer.dimension, answer.value, answer.hour))
    found.dirty.add(answer.hour)
