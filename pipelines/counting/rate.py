"""The counters of a (dimension, value) over the cohort hours of one UTC day.

State is one value: the hours and, per source partition, the last block applied, so one atomic write keeps both in
step and a delta that comes again is known. At rest it is packed bytes, some eight a cohort hour; a day, so that
packing stays cheap and a day that nobody needs any more goes without being read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from pipelines.counting.bounds import clopper_pearson
from schemas.counters import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WIDTH: Final = len(COUNTERS)
HOUR_S: Final = 3600
HOURS: Final = 24
DAY_S: Final = HOURS * HOUR_S

FORMAT: Final = 2
_ALL_HOURS: Final = 1
"""The format in which a value had all its hours in one state."""
_RECOUNTED: Final = 32
"""Added to the hour of the day of a recounted hour."""
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[int])


class StateError(ValueError):
    """Packed state that this release cannot read."""


def day_of(hour: int) -> int:
    """The day (since the epoch) of a cohort hour in seconds."""
    return hour // DAY_S


@dataclass(slots=True)
class State:
    """What is known of one (dimension, value) on one day."""

    version: int = 0
    """Of the rows sent last; the next ones get a greater one."""
    since: int = 0
    """The first cohort hour (seconds) that is counted to this value and not to the dimension's `(other)`, unless it
    is here already; 0: all are."""
    marks: dict[int, int] = field(default_factory=dict)
    """Source partition → offset of the last block applied."""
    recounted: dict[int, int] = field(default_factory=dict)
    """Cohort hour (seconds) that nothing is added to any more, for it is recounted → as of when (microseconds; 0: the
    answer is to come)."""
    hours: dict[int, list[int]] = field(default_factory=dict)
    """Cohort hour (seconds) → raw counters, of the hours asked for with `counters`."""
    resting: dict[int, list[int]] = field(default_factory=dict)
    """The other hours as they are packed: mask of the counters that are not 0, those counters."""

    def counters(self, hour: int) -> list[int] | None:
        """The raw counters of an hour, to be changed in place; `None` when there are none."""
        found = self.hours.get(hour)
        if found is None and (packed := self.resting.pop(hour, None)) is not None:
            found = self.hours[hour] = _spread(packed)
        return found

    def __contains__(self, hour: int) -> bool:
        """Whether anything is known of an hour."""
        return hour in self.resting or hour in self.hours


def add(state: State, hour: int, counters: Sequence[int]) -> None:
    """Add counters to those of an hour."""
    sums = state.counters(hour)
    if sums is None:
        state.hours[hour] = list(counters)
        return
    for index, amount in enumerate(counters):
        if amount:
            sums[index] += amount


def recount(state: State, hour: int) -> None:
    """Add nothing to an hour from now on: an answer will replace it."""
    state.recounted.setdefault(hour, 0)
    if hour not in state:
        state.resting[hour] = [0]


def replace(state: State, hour: int, as_of: int, counters: Sequence[int]) -> bool:
    """Take over what an hour was recounted to; False (and nothing done) for an answer older than the last."""
    if as_of < state.recounted.get(hour, 0):
        return False
    state.recounted[hour] = as_of
    state.resting.pop(hour, None)
    state.hours[hour] = list(counters)
    return True


def next_version(state: State, now_us: int, floor: int = 0) -> int:
    """Advance the version: the clock (microseconds), but always beyond the last one and beyond the floor."""
    state.version = max(now_us, state.version + 1, floor + 1)
    return state.version


def pack(state: State) -> bytes:
    """The state as one msgpack array of integers.

    [format, version, since, number of marks, (partition, offset)…, (hour of the day, plus 32 and then as_of when it is
    recounted, mask of the counters that are not 0, those counters)…]
    """
    flat = [FORMAT, state.version, state.since, len(state.marks)]
    for mark in sorted(state.marks.items()):
        flat.extend(mark)
    recounted = state.recounted
    packed = state.resting | {hour: _gather(counters) for hour, counters in state.hours.items()}
    for hour in sorted(packed):
        number = hour // HOUR_S % HOURS
        if hour in recounted:
            flat += (number + _RECOUNTED, recounted[hour])
        else:
            flat.append(number)
        flat += packed[hour]
    return _ENCODER.encode(flat)


def unpack(data: bytes, day: int) -> State:
    """The state that was packed, of a day since the epoch.

    Raises:
        StateError: when the bytes are not packed state, or of another release.
    """
    flat = _decode(data, FORMAT)
    try:
        start = 4 + 2 * flat[3]
        state = State(flat[1], flat[2], dict(zip(flat[4:start:2], flat[5:start:2], strict=True)))
        midnight = day * DAY_S
        while start < len(flat):
            number = flat[start]
            hour = midnight + (number & ~_RECOUNTED) * HOUR_S
            if number & _RECOUNTED:
                start += 1
                state.recounted[hour] = flat[start]
            state.resting[hour] = found = _cell(flat, start + 1)
            start += 1 + len(found)
    except (IndexError, ValueError) as error:
        raise StateError(f"not packed state: {error}") from error
    return state


def since_of(data: bytes) -> int:
    """`State.since` of packed state.

    Raises:
        StateError: when the bytes are not packed state, or of another release.
    """
    return _decode(data, FORMAT)[2]


def is_of_all_hours(data: bytes) -> bool:
    """Whether packed state is of the release that kept all hours of a value in one state.

    Raises:
        StateError: when the bytes are not packed state, or of a later release.
    """
    return _decode(data, _ALL_HOURS, FORMAT)[0] == _ALL_HOURS


def by_day(data: bytes) -> dict[int, bytes]:
    """State of all hours of a value, as that of each day; every day has all the marks.

    The format was [1, version, number of marks, (partition, offset)…, (hours since the one before, mask, counters)…].

    Raises:
        StateError: when the bytes are not that.
    """
    flat = _decode(data, _ALL_HOURS)
    days: dict[int, State] = {}
    try:
        start = 3 + 2 * flat[2]
        marks = dict(zip(flat[3:start:2], flat[4:start:2], strict=True))
        number = 0
        while start < len(flat):
            number += flat[start]
            state = days.setdefault(number // HOURS, State(flat[1], marks=marks))
            state.resting[number * HOUR_S] = found = _cell(flat, start + 1)
            start += 1 + len(found)
    except (IndexError, ValueError) as error:
        raise StateError(f"not packed state: {error}") from error
    return {day: pack(state) for day, state in days.items()}


def _decode(data: bytes, *formats: int) -> list[int]:
    try:
        flat = _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise StateError(f"not packed state: {error}") from error
    if len(flat) < 3 or flat[0] not in formats:  # noqa: PLR2004 - the shortest head
        raise StateError(f"state of format {flat[0]} wants a later release" if flat else "not packed state")
    return flat


def _cell(flat: list[int], start: int) -> list[int]:
    """Mask and counters of an hour."""
    end = start + 1 + flat[start].bit_count()
    if end > len(flat):
        raise IndexError("counters are missing")
    return flat[start:end]


def _gather(counters: Sequence[int]) -> list[int]:
    """Mask of the counters that are not 0, those counters."""
    packed = [0]
    for index, amount in enumerate(counters):
        if amount:
            packed[0] |= 1 << index
            packed.append(amount)
    return packed


def _spread(packed: Sequence[int]) -> list[int]:
    counters = [0] * WIDTH
    mask = packed[0]
    for amount in packed[1:]:
        lowest = mask & -mask
        counters[lowest.bit_length() - 1] = amount
        mask ^= lowest
    return counters


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


def limits(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """Exact limits, low and high, of complaints / eligible and of hard bounces / (sends - suppressed), row by row.

    NaN where there is nothing to divide by.
    """
    sent = np.maximum(counts[:, _SENDS] - counts[:, _SUPPRESSED], 0)
    complaint = clopper_pearson(counts[:, _COMPLAINTS], counts[:, _ELIGIBLE])
    return *complaint, *clopper_pearson(counts[:, _HARD], sent)


def rows(cells: Sequence[KeyHour]) -> list[dict[str, Any]]:
    """`RateRow`s, with their limits; `None` where there is nothing to divide by."""
    if not cells:
        return []
    found = limits(np.array([cell.counters for cell in cells], dtype=np.int64))
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
        for cell, four in zip(cells, zip(*map(_optional, found), strict=True), strict=True)
    ]


def _optional(column: NDArray[np.float64]) -> list[float | None]:
    return [None if value != value else value for value in column.tolist()]  # noqa: PLR0124 - NaN is not itself
