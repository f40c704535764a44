"""The counters of a (dimension, value) over its cohort hours, folded from deltas.

State is one value: the hours and, per source partition, the last block applied, so one atomic write keeps
both in step and a delta that comes again is known. At rest it is packed bytes, some ten a cohort hour
(100,000 campaigns of 14 days: about 400 MB); hours stay as long as the state does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from pipelines.counting.bounds import clopper_pearson
from schemas.counters import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH: Final = len(COUNTERS)
HOUR_S: Final = 3600

_FORMAT: Final = 1
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[int])


class StateError(ValueError):
    """Packed state that this release cannot read."""


@dataclass(slots=True)
class State:
    """What is known of one (dimension, value)."""

    version: int = 0
    """Of the rows sent last; the next ones get a greater one."""
    marks: dict[int, int] = field(default_factory=dict)
    """Source partition → offset of the last block applied."""
    hours: dict[int, list[int]] = field(default_factory=dict)
    """Cohort hour (seconds) → raw counters."""


def apply(state: State, partition: int, offset: int, rows: Iterable[tuple[int, Sequence[int]]]) -> list[int]:
    """Fold all rows, (hour, counters), that a block has for this state; the hours whose rows are to be sent.

    A block already applied adds nothing, but its hours are returned all the same: the process that applied it
    may have died before it sent them.
    """
    changed = []
    fresh = offset > state.marks.get(partition, -1)
    for hour, counters in rows:
        changed.append(hour)
        if fresh:
            add(state, hour, counters)
    if fresh:
        state.marks[partition] = offset
    return changed


def add(state: State, hour: int, counters: Sequence[int]) -> None:
    """Add counters to those of an hour."""
    sums = state.hours.get(hour)
    if sums is None:
        state.hours[hour] = list(counters)
        return
    for index, amount in enumerate(counters):
        if amount:
            sums[index] += amount


def next_version(state: State, now_us: int, floor: int = 0) -> int:
    """Advance the version: the clock (microseconds), but always beyond the last one and beyond the floor."""
    state.version = max(now_us, state.version + 1, floor + 1)
    return state.version


def pack(state: State) -> bytes:
    """The state as one msgpack array of integers.

    [format, version, number of marks, (partition, offset)…, (hours since the one before, mask of the counters
    that are not 0, those counters)…]
    """
    flat = [_FORMAT, state.version, len(state.marks)]
    for mark in sorted(state.marks.items()):
        flat.extend(mark)
    last = 0
    for hour, counters in sorted(state.hours.items()):
        number = hour // HOUR_S
        head = len(flat)
        flat += (number - last, 0)
        last = number
        mask = 0
        for index, amount in enumerate(counters):
            if amount:
                mask |= 1 << index
                flat.append(amount)
        flat[head + 1] = mask
    return _ENCODER.encode(flat)


def unpack(data: bytes) -> State:
    """The state that was packed.

    Raises:
        StateError: when the bytes are not packed state, or of a later release.
    """
    try:
        flat = _DECODER.decode(data)
        if flat[0] != _FORMAT:
            raise StateError(f"state of format {flat[0]} wants a later release")
        start = 3 + 2 * flat[2]
        state = State(flat[1], dict(zip(flat[3:start:2], flat[4:start:2], strict=True)))
        number = 0
        while start < len(flat):
            number += flat[start]
            mask = flat[start + 1]
            start += 2
            counters = [0] * WIDTH
            while mask:
                lowest = mask & -mask
                counters[lowest.bit_length() - 1] = flat[start]
                mask ^= lowest
                start += 1
            state.hours[number * HOUR_S] = counters
    except (msgspec.DecodeError, IndexError, ValueError) as error:
        if isinstance(error, StateError):
            raise
        raise StateError(f"not packed state: {error}") from error
    return state


@dataclass(frozen=True, slots=True)
class KeyHour:
    """A row to be."""

    dimension: str
    value: str
    hour: int
    version: int
    counters: Sequence[int]


_COMPLAINTS: Final = COUNTERS.index("complaints")
_ELIGIBLE: Final = COUNTERS.index("eligible")
_HARD: Final = COUNTERS.index("hard_bounces")
_SENDS: Final = COUNTERS.index("sends")
_SUPPRESSED: Final = COUNTERS.index("suppressed")


def rows(cells: Sequence[KeyHour]) -> list[dict[str, Any]]:
    """`RateRow`s with exact limits of complaints / eligible and hard bounces / (sends - suppressed).

    Limits are `None` where there is nothing to divide by.
    """
    if not cells:
        return []
    counts = np.array([cell.counters for cell in cells], dtype=np.int64)
    sent = np.maximum(counts[:, _SENDS] - counts[:, _SUPPRESSED], 0)
    complaint = clopper_pearson(counts[:, _COMPLAINTS], counts[:, _ELIGIBLE])
    bounce = clopper_pearson(counts[:, _HARD], sent)
    limits = zip(*(_optional(column) for column in (*complaint, *bounce)), strict=True)
    names = ("complaint_rate_low", "complaint_rate_high", "hard_bounce_rate_low", "hard_bounce_rate_high")
    return [
        {
            "dimension": cell.dimension,
            "value": cell.value,
            "hour": cell.hour,
            "version": cell.version,
            **dict(zip(COUNTERS, cell.counters, strict=True)),
            **dict(zip(names, four, strict=True)),
        }
        for cell, four in zip(cells, limits, strict=True)
    ]


def _optional(column: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | None]:
    return [None if value != value else value for value in column.tolist()]  # noqa: PLR0124 - NaN is not itself
