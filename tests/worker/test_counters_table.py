"""The rate agent's table: state of the release before, of a later one, and of days that are over."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from counting_model import HOUR_S, NOON_S, World
from storms import Fleet, event, recipient

from pipelines.counting import rate
from pipelines.counting.days import key_of, record_key
from pipelines.worker.config import COUNTERS as TABLE
from pipelines.worker.errors import UnreadableState
from schemas.counters import COUNTERS
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = f"{TABLE}-changelog"
ACCOUNT = ("account", "1")


@pytest.fixture
def world() -> World:
    return World(random.Random(1), dimensions=("account",))


def sent(number: int, hours: int = 0) -> dict[str, Any]:
    time = (NOON_S + hours * HOUR_S) * 1000
    return event(number, sent_time=time, event_time=time, recipients=[recipient("gmail")])


def changelog(world: World) -> dict[bytes | None, bytes | None]:
    """What compaction would leave of the changelog of the account's partition."""
    last = dict(world.logs[LOG, of_key(*ACCOUNT, world.partitions)])
    return {key: value for key, value in last.items() if value is not None}


def sends(world: World, hours: int = 0) -> int:
    return world.clickhouse.shown()[*ACCOUNT, NOON_S + hours * HOUR_S][COUNTERS.index("sends")]


def all_hours(day: int) -> bytes:
    """State as the first release packed it: 40 sends at noon of a day, and 7 in the first hour of the next; of source
    partition 0 one block was applied."""
    return msgspec.msgpack.encode([1, 5, 1, 0, 0, day * 24 + 12, 1, 40, 12, 1, 7])


def test_state_of_the_release_before_goes_on_by_day(world: World) -> None:
    day = rate.day_of(NOON_S)
    partition = of_key(*ACCOUNT, world.partitions)
    world.logs[LOG, partition].append((key_of(*ACCOUNT), all_hours(day)))
    rows = [sent(number) for number in range(6)]
    world.write_events(rows, [1] * len(rows))
    # The first block of partition 0 is in that state already.
    skipped = 1 if world.ends("ses.events")[0] else 0
    with Fleet(world, most=1) as fleet:
        fleet.drain()
        assert sends(world) == 40 + len(rows) - skipped
        assert set(changelog(world)) >= {
            record_key(key_of(*ACCOUNT), day),
            record_key(key_of(*ACCOUNT), day + 1),
        }
        assert key_of(*ACCOUNT) not in changelog(world)
    world.write_events([sent(9)], [1])
    with Fleet(world, most=1) as fleet:
        fleet.drain()
    assert sends(world) == 41 + len(rows) - skipped


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (record_key(key_of(*ACCOUNT), 1), msgspec.msgpack.encode([99, 1, 0, 0])),
        (key_of(*ACCOUNT), msgspec.msgpack.encode([99, 1, 0])),
        (b"\x01caps", msgspec.msgpack.encode([99, {}])),
        (b"\x07", b"new"),
    ],
)
def test_state_of_a_later_release_stops_the_worker(world: World, key: bytes, value: bytes) -> None:
    world.logs[LOG, of_key(*ACCOUNT, world.partitions)].append((key, value))
    world.write_events([sent(1)], [1])
    with (
        Fleet(world, most=1) as fleet,
        pytest.raises(UnreadableState, match="start the release that wrote it"),
    ):
        fleet.drain()


def days_in_memory(fleet: Fleet) -> Iterator[int]:
    for worker in fleet.workers:
        for table in worker.tables:
            if table.name == TABLE:
                yield from (len(days) for days in table.data.partitions.values())


def test_days_that_are_over_are_deleted_and_stay_so(world: World) -> None:
    world.write_events([sent(1, -24 * 5)], [1])
    with Fleet(world, most=1) as fleet:
        fleet.drain()
        assert sum(days_in_memory(fleet)) == 1
        world.write_events([sent(2)], [1])
        fleet.drain()
        assert sum(days_in_memory(fleet)) == 1
    kept = {key for key in changelog(world) if key is not None and key[0] == 2}
    assert kept == {record_key(key_of(*ACCOUNT), rate.day_of(NOON_S))}
    world.write_events([sent(3, -24 * 5)], [1])
    with Fleet(world, most=1) as fleet:
        fleet.drain()
        assert sum(days_in_memory(fleet)) == 1
    assert sends(world, -24 * 5) == 2
