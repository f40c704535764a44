"""The memory of ids behind a changelog: whatever crash, restart and compaction, no id of an open hour is lost."""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import faust
import numpy as np
import pytest
from faust.types import TP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.counting import remembered
from pipelines.counting.count import Fresh
from pipelines.counting.hours import NEVER, bucket_of
from pipelines.worker.errors import UnreadableState
from pipelines.worker.seen import PlainSeen, SeenTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NOON = 489_000
OPEN_HOURS = 6

Log = list[tuple[bytes, bytes | None]]


class Crash(BaseException):
    """The process dies here."""


@dataclass
class Changelog:
    """A changelog topic; some send may be the last of a process."""

    logs: dict[int, Log] = field(default_factory=lambda: defaultdict(list))
    left: int = 1 << 60
    """Records that are still written."""

    async def send(self, *, key: bytes, value: bytes | None, partition: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise Crash
        self.logs[partition].append((key, value))
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    def get_topic_name(self) -> str:
        return "seen-changelog"

    def compact(self) -> None:
        for partition, log in self.logs.items():
            last = {key: at for at, (key, _) in enumerate(log)}
            self.logs[partition] = [
                entry for at, entry in enumerate(log) if last[entry[0]] == at and entry[1] is not None
            ]


def started(changelog: Changelog, clock: int = NOON) -> Any:
    """A table as a new process finds it: restored from its changelog."""
    app = faust.App("seen-table", store="memory://")
    table = SeenTable(app, name="seen", key_type=bytes, value_type=bytes, partitions=2)
    table.configure(OPEN_HOURS, lambda: clock)
    table.changelog_topic = changelog
    app.lost = None
    for partition in list(changelog.logs):
        read(table, partition, changelog.logs[partition])
    asyncio.run(table.data.on_recovery_completed(set(), set()))
    return table


def read(table: Any, partition: int, log: Log) -> None:
    table.apply_changelog_batch(
        SimpleNamespace(message=SimpleNamespace(partition=partition, key=key, value=value))
        for key, value in log
    )


def prefix(number: int) -> int:
    """An id whose bits are spread, as those of a hash are; even."""
    return number * 0x9E37_79B9_7F4A_7C15 % 2**64 & ~1


def fresh(partition: int, hours: Iterable[tuple[int, int]]) -> list[Fresh]:
    """(number, hour) as what a count found new, all tagged."""
    parts: dict[int, list[int]] = defaultdict(list)
    for number, hour in hours:
        parts[int(bucket_of(np.array([hour]))[0])].append(prefix(number) | 1)
    return [Fresh(partition, bucket, np.array(keys, dtype=np.uint64)) for bucket, keys in parts.items()]


def knows(table: Any, partition: int, hour: int, number: int) -> bool:
    bucket = int(bucket_of(np.array([hour]))[0])
    untagged, tagged = table.look(partition, bucket, np.array([prefix(number)], dtype=np.uint64))
    assert not untagged[0]
    return bool(tagged[0])


Batch = list[tuple[int, int]]
"""(partition, hours after noon)."""
batches = st.lists(
    st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 40)), min_size=1, max_size=6), max_size=14
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are merged early."""
    monkeypatch.setattr(remembered, "FAN_IN", 3)
    monkeypatch.setattr(remembered, "FULL_KEYS", 8)


def lived(table: Any, story: Sequence[Batch], known: dict[int, tuple[int, int]]) -> Iterator[None]:
    """Remember the events of batches, as the count agent would; after each batch all of it is safe."""
    for number, batch in enumerate(story):
        marks = table.watermarks({partition for partition, _ in batch})
        found: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for index, (partition, after) in enumerate(batch):
            # Time goes on by two hours a batch; an event's hour is a little off it.
            hour = NOON + 2 * number + after // 8
            marks[partition] = max(marks[partition], NOON + 2 * number)
            key = 100 * number + index
            if hour > marks[partition] - OPEN_HOURS and not knows(table, partition, hour, key):
                found[partition].append((key, hour))
        asyncio.run(table.remember([one for p, hours in found.items() for one in fresh(p, hours)], marks))
        known |= {key: (partition, hour) for partition, hours in found.items() for key, hour in hours}
        yield


@pytest.mark.usefixtures("small")
@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=batches, crashes=st.lists(st.integers(0, 25), max_size=4), compacted=st.booleans())
def test_no_id_of_an_open_hour_is_lost_by_a_crash(
    story: list[Batch], crashes: list[int], *, compacted: bool
) -> None:
    changelog = Changelog()
    known: dict[int, tuple[int, int]] = {}
    highest = dict.fromkeys((0, 1), NEVER)
    for left in [*crashes, 1 << 60]:
        changelog.left = left
        table = started(changelog)
        restored = table.watermarks((0, 1))
        assert all(restored[p] >= highest[p] for p in restored)
        for number, (partition, hour) in known.items():
            if hour > restored[partition] - OPEN_HOURS:
                assert knows(table, partition, hour, number)
            assert not knows(table, 1 - partition, hour, number)
        assert not knows(table, 0, NOON, 10**6)
        try:
            for _ in lived(table, story, known):
                marks = table.watermarks((0, 1))
                assert all(marks[p] >= highest[p] for p in marks)
                highest = marks
        except Crash:
            pass
        if compacted:
            changelog.compact()
    # All was remembered by now: a restart knows what the living table does.
    again = started(changelog)
    assert again.watermarks((0, 1)) == table.watermarks((0, 1))
    for number, (partition, hour) in known.items():
        assert knows(again, partition, hour, number) == knows(table, partition, hour, number)


@pytest.mark.usefixtures("small")
def test_many_small_records_become_few_and_those_of_closed_hours_go() -> None:
    changelog = Changelog()
    table = started(changelog)
    for number in range(60):
        asyncio.run(table.remember(fresh(0, [(number, NOON)]), {0: NOON}))
    changelog.compact()
    # Sixty ids in full records of nine, a few that wait, and a watermark.
    assert len(changelog.logs[0]) < 15
    assert all(knows(table, 0, NOON, number) for number in range(60))
    asyncio.run(table.remember([], {0: NOON + 24}))
    changelog.compact()
    assert len(changelog.logs[0]) == 1
    assert (table.remembered, started(changelog).watermarks([0])) == (0, {0: NOON + 24})


def test_a_watermark_is_safe_before_ids_are_dropped_for_it() -> None:
    for left in range(4):
        changelog = Changelog()
        table = started(changelog)
        asyncio.run(table.remember(fresh(0, [(1, NOON)]), {0: NOON}))
        changelog.left = left
        with pytest.raises(Crash) if left < 2 else _finishing():
            asyncio.run(table.remember([], {0: NOON + 24}))
        changelog.left = 1 << 60
        again = started(changelog)
        if again.watermarks([0]) == {0: NOON}:
            assert knows(again, 0, NOON, 1)


class _finishing:  # noqa: N801 - reads as a word of the test
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def test_a_late_record_of_the_owner_before_lowers_no_watermark() -> None:
    changelog = Changelog()
    before = started(changelog)
    now = started(changelog)
    asyncio.run(now.remember([], {0: NOON + 5}))
    asyncio.run(before.remember(fresh(0, [(1, NOON)]), {0: NOON}))
    changelog.compact()
    again = started(changelog)
    assert again.watermarks([0]) == {0: NOON + 5}
    assert knows(again, 0, NOON, 1)
    # Once nobody of them can be alive, theirs go.
    asyncio.run(again.remember([], {0: NOON + 5 + OPEN_HOURS}))
    changelog.compact()
    assert len([key for key, _ in changelog.logs[0] if key.startswith(b"\x01w")]) == 1


def test_ids_of_the_first_release_stay_until_all_their_hours_are_closed() -> None:
    changelog = Changelog()
    old = [np.array([prefix(n) | 1 for n in range(start, start + 5)], dtype="<u8") for start in (0, 5)]
    changelog.logs[0] = [(struct.pack(">Q", at), part.tobytes()) for at, part in enumerate(old)]
    table = started(changelog)
    # What is replayed first is old; the clock says how young the ids may be.
    asyncio.run(table.remember([], {0: NOON - 1000}))
    asyncio.run(table.remember([], {0: NOON + OPEN_HOURS}))
    later = started(changelog, clock=NOON + 100)
    for known in (table, later):
        assert all(knows(known, 0, hour, n) for n in range(10) for hour in (NOON - 3, NOON + 1))
    # An hour more, and those of the hour after the clock's are closed; a later restart does not put it off.
    asyncio.run(later.remember([], {0: NOON + OPEN_HOURS + 1}))
    assert not knows(later, 0, NOON, 3)
    changelog.compact()
    # Their records are deleted; the watermarks of both workers are left.
    marks = [struct.pack("<q", NOON + OPEN_HOURS + after) for after in (0, 1)]
    assert [value for _, value in changelog.logs[0]] == marks


def test_a_record_of_a_later_release_ends_the_worker() -> None:
    table = started(Changelog())
    with pytest.raises(UnreadableState):
        read(table, 0, [(b"\x02i" + bytes(20), b"")])
    assert isinstance(table.app.lost, UnreadableState)


def test_what_is_given_away_is_forgotten_and_what_comes_back_is_read_again() -> None:
    changelog = Changelog()
    table = started(changelog)
    for partition in (0, 1):
        asyncio.run(table.remember(fresh(partition, [(partition, NOON)]), {partition: NOON}))
    gone = {TP(table.changelog_topic_name, 1)}
    asyncio.run(table.data.on_rebalance(set(), gone, set(), 1))
    assert (table.remembered, knows(table, 0, NOON, 0)) == (1, True)
    # Faust reads what was kept once more, too.
    for partition in (0, 1):
        read(table, partition, changelog.logs[partition])
    asyncio.run(table.data.on_recovery_completed(set(), set()))
    assert (table.remembered, knows(table, 1, NOON, 1)) == (2, True)


class Stored:
    """A ClickHouse with some events, (number, hour)."""

    def __init__(self, events: list[tuple[int, int]]) -> None:
        self.events = events

    def watermark(self) -> int:
        return max((hour for _, hour in self.events), default=0)

    def seen(self, since: int) -> Iterator[tuple[Any, Any]]:
        chosen = [event for event in self.events if event[1] >= since]
        for part in (chosen[::2], chosen[1::2]):
            keys = np.array([prefix(number) | 1 for number, _ in part], dtype=np.uint64)
            yield np.array([hour for _, hour in part], dtype=np.int64), keys


def test_without_a_changelog_it_starts_from_clickhouse_and_drops_as_time_goes() -> None:
    memory: Any = Stored([(1, NOON - 30), (2, NOON - 2), (3, NOON), (4, NOON + 3)])
    table = PlainSeen(memory, OPEN_HOURS, lambda: NOON)
    assert table.watermarks([0, 1]) == {0: NOON, 1: NOON}
    assert [knows(table, 0, hour, number) for number, hour in memory.events] == [False, True, True, True]
    asyncio.run(table.remember(fresh(0, [(5, NOON + 2)]), {0: NOON + 2}))
    assert table.watermarks([0, 1]) == {0: NOON + 2, 1: NOON}
    assert knows(table, 1, NOON + 2, 5)
    # One partition is far ahead: the others are drawn along, and what is closed for all of them goes.
    asyncio.run(table.remember([], {0: NOON + 50}))
    assert table.watermarks([0, 1]) == {0: NOON + 50, 1: NOON + 26}
    assert table.remembered == 0
