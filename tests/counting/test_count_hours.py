"""Which hours are open: a block is judged the same in whatever batch it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.counting.count import count
from pipelines.counting.hours import BUCKET_HOURS, Opening, all_closed, bucket_of
from pipelines.counting.reading import Source
from pipelines.counting.remembered import Remembered
from schemas.blocks import encode, open_block
from schemas.events import UNTAGGED_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR_MS = 3_600_000
NOW = 489_000
OPENING = Opening(open_hours=6, clock=NOW)
DIMENSIONS = ("account", "campaign")

Event = tuple[int, int, int, bool]
"""(number, hours its message was sent before now, hours it happened before now, tagged)."""
Block = tuple[int, list[Event]]
"""(partition, events)."""

events = st.tuples(st.integers(0, 5), st.integers(-4, 30), st.integers(-3, 30), st.booleans())
streams = st.lists(st.tuples(st.integers(0, 1), st.lists(events, max_size=4)), max_size=8)


def row(number: int, sent: int, happened: int, *, tagged: bool) -> dict[str, Any]:
    return {
        "event_id": number.to_bytes(8, "little") * 2,
        "event_type": "Click",
        "event_time": (NOW - happened) * HOUR_MS + 7,
        "sent_time": (NOW - sent) * HOUR_MS + 1,
        "message_id": f"m{number}",
        "account": "1",
        "campaign": "c",
        "recipients": [],
        "tagged": tagged,
    }


def ident(partition: int, number: int, sent: int) -> int:
    """Events sent in different hours are different ones; and so are those of two partitions, for a message has one."""
    return ((partition * 10 + number) * 40 + sent + 5) * 2


def sources(stream: Sequence[Block]) -> list[Source]:
    found = []
    for offset, (partition, inside) in enumerate(stream):
        rows = [row(ident(partition, n, sent), sent, happened, tagged=t) for n, sent, happened, t in inside]
        found.append(Source(partition, offset, open_block(encode("ses_event", rows))))
    return found


def naive(stream: Sequence[Block]) -> tuple[dict[Any, int], dict[int, int]]:
    """Clicks by (offset, dimension, hour, closed), block by block; and the watermarks."""
    marks: dict[int, int] = {}
    known: set[tuple[int, int, bool]] = set()
    sums: dict[Any, int] = {}
    for offset, (partition, inside) in enumerate(stream):
        for _, _, happened, _ in inside:
            marks[partition] = max(marks.get(partition, -(10**9)), min(NOW - happened, NOW))
        for number, sent, _, tagged in inside:
            hour, key = NOW - sent, ident(partition, number, sent)
            closed = not (marks[partition] - 6 < hour <= NOW + 1)
            for dimension in DIMENSIONS:
                plain = dimension in UNTAGGED_DIMENSIONS
                if not tagged and not plain:
                    continue
                seen = (partition, key, True) in known or (plain and (partition, key, False) in known)
                if closed or not seen:
                    cell = (offset, dimension, hour * 3600, closed)
                    sums[cell] = sums.get(cell, 0) + 1
            if not closed:
                known.add((partition, key, tagged))
    return sums, marks


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stream=streams, sizes=st.lists(st.integers(1, 4), min_size=8, max_size=8))
def test_batches_change_neither_what_is_open_nor_what_is_counted(
    stream: list[Block], sizes: list[int]
) -> None:
    memories = {0: Remembered(), 1: Remembered()}
    marks: dict[int, int] = {}
    sums: dict[Any, int] = {}
    waiting = sources(stream)
    while waiting:
        size = sizes.pop(0)
        batch, waiting = waiting[:size], waiting[size:]
        result = count(
            batch, lambda p, bucket, ids: memories[p].look(bucket, ids), OPENING, marks, DIMENSIONS
        )
        assert all(result.watermarks[p] >= marks.get(p, -(1 << 62)) for p in result.watermarks)
        marks |= result.watermarks
        for found in result.fresh:
            memories[found.partition].hold(found.bucket, [found.keys])
        for memory_of, mark in marks.items():
            memories[memory_of].watermark = mark
            memories[memory_of].expire(OPENING.open_hours)
        for one in result.deltas.iter_rows(named=True):
            cell = (one["source_offset"], one["dimension"], one["hour"], one["closed"])
            sums[cell] = sums.get(cell, 0) + one["clicks"]
    wanted, last = naive(stream)
    assert sums == wanted
    assert {p: mark for p, mark in marks.items() if p in last} == last


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.integers(1, 400), st.integers(0, 10**6))
def test_a_dropped_bucket_never_opens_again(hour: int, mark: int, open_hours: int, later: int) -> None:
    bucket = int(bucket_of(np.array([hour]))[0])
    assert bucket * BUCKET_HOURS <= hour < (bucket + 1) * BUCKET_HOURS
    opening = Opening(open_hours, clock=10**7)
    if all_closed(bucket, mark, open_hours):
        after = opening.advanced(mark, mark + later)
        assert not opening.is_open(np.array([hour]), np.array([after]))[0]
    elif hour % BUCKET_HOURS == BUCKET_HOURS - 1:
        assert opening.is_open(np.array([hour]), np.array([mark]))[0]


def test_the_watermark_is_never_ahead_of_the_clock() -> None:
    assert OPENING.advanced(NOW - 3, NOW + 50) == NOW
    assert OPENING.advanced(NOW + 2, NOW + 50) == NOW + 2, "a clock that is set back lowers none"


def test_times_of_any_age_are_counted_as_closed() -> None:
    rows = [
        row(2, 0, 0, tagged=True),
        row(4, 0, 0, tagged=True) | {"sent_time": -62_135_596_800_000},
        row(6, 0, 0, tagged=True) | {"sent_time": 253_402_300_799_999},
    ]
    block = open_block(encode("ses_event", rows))
    memory = Remembered()
    result = count([Source(0, 0, block)], lambda _, bucket, ids: memory.look(bucket, ids), OPENING, {})
    cells = set(result.deltas.filter(dimension="account").select("hour", "closed").iter_rows())
    assert cells == {(NOW * 3600, False), (-62_135_596_800, True), (253_402_300_799 // 3600 * 3600, True)}
    assert (result.events, result.duplicates, result.closed) == (3, 0, 2)
    assert sum(found.keys.size for found in result.fresh) == 1
