"""The rate agent's memory when ClickHouse is all there is to remember it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.counting import rate
from pipelines.counting.days import key_of, record_key
from pipelines.worker.counters import PlainCounters
from schemas.counters import COUNTERS, OTHER_VALUE
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PARTITIONS = 3
HOUR = 1_760_011_200
NOW_US = (HOUR + 1800) * 1_000_000
Row = tuple[str, str, int, tuple[int, ...]]


def row(value: str, hours: int, sends: int) -> Row:
    return "campaign", value, HOUR + hours * 3600, (sends, *[0] * (len(COUNTERS) - 1))


@dataclass
class Stored:
    """A memory that is a list."""

    rows: list[Row]

    def watermark(self) -> int:
        return 0

    def seen(self, since: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint64]]]:
        yield np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)

    def counters(self, days: int) -> Iterator[Row]:
        least = max((hour for *_, hour, _ in self.rows if hour <= HOUR), default=0) - days * rate.DAY_S
        return (each for each in self.rows if each[2] >= least)

    def last_version(self) -> int:
        return 77


def restored(*rows: Row) -> PlainCounters:
    return PlainCounters(Stored(list(rows)), PARTITIONS, 2, NOW_US)


def state(counters: PlainCounters, value: str, hours: int) -> rate.State | None:
    hour = HOUR + hours * 3600
    packed = counters.of(of_key("campaign", value, PARTITIONS)).get(
        key_of("campaign", value), rate.day_of(hour)
    )
    return None if packed is None else rate.unpack(packed, rate.day_of(hour))


def test_counters_are_restored_by_day_in_whatever_order_they_come() -> None:
    counters = restored(row("a", 0, 5), row("b", -1, 2), row("a", -20, 7), row("a", -1, 6), row("a", -80, 1))
    assert counters.floor == 77
    for hours, sends in ((0, 5), (-1, 6), (-20, 7)):
        found = state(counters, "a", hours)
        assert found is not None
        assert found.counters(HOUR + hours * 3600) == list(row("a", hours, sends)[3])
    assert state(counters, "a", -80) is None
    assert state(counters, "b", -1) is not None
    assert {days.watermark for days in counters.held().values()} == {HOUR}


def test_hours_ahead_of_the_clock_are_recounted_and_age_nothing() -> None:
    counters = restored(row("a", 0, 5), row("a", 1, 6), row("a", 40, 7))
    assert {days.watermark for days in counters.held().values()} == {HOUR}
    near, far = state(counters, "a", 1), state(counters, "a", 40)
    assert near is not None
    assert far is not None
    assert (near.recounted, far.recounted) == ({}, {HOUR + 40 * 3600: 0})


def test_what_was_capped_stays_so() -> None:
    counters = restored(row("a", 0, 5), row(OTHER_VALUE, -1, 9))
    for days in counters.held().values():
        assert days.caps is not None
    found = state(counters, "a", 0)
    assert found is not None
    assert found.since == HOUR


def test_records_are_applied() -> None:
    counters = restored()
    partition = of_key("campaign", "a", PARTITIONS)
    name = record_key(key_of("campaign", "a"), rate.day_of(HOUR))
    asyncio.run(counters.save([(partition, name, rate.pack(rate.State(9)))]))
    found = state(counters, "a", 0)
    assert found is not None
    assert found.version == 9
    asyncio.run(counters.save([(partition, name, None)]))
    assert state(counters, "a", 0) is None
