"""Both steps on topics that are lists: crashes, repeats, reorderings and other blocks change no final row."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count as numbers
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.counting.count import ALL_DIMENSIONS
from pipelines.counting.dedup import Keys, Mask, Seen
from pipelines.worker.config import RejectLimits
from pipelines.worker.count_step import CountStep
from pipelines.worker.errors import TooManyRejects
from pipelines.worker.rate_step import RateStep
from pipelines.worker.records import Outlet
from pipelines.worker.rejects import Rejects
from schemas.blocks import SINGLE_OBJECT, decode, encode
from schemas.counters import COUNTERS
from schemas.partitioning import of_message

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

PARTITIONS = 2
NOON = 1_760_011_200_000

Row = dict[str, Any]
Final = dict[tuple[str, str, int], tuple[int, ...]]


class Crash(BaseException):
    """The process dies here."""


@dataclass
class World:
    """What survives a crash: topics, changelogs, commits; every effect counts toward the next crash."""

    crashes: set[int]
    topics: dict[str, list[list[bytes]]] = field(
        default_factory=lambda: {
            name: [[] for _ in range(PARTITIONS)] for name in ("events", "counts", "rates", "dead")
        }
    )
    seen: list[tuple[int, int, Keys]] = field(default_factory=list)
    states: dict[tuple[str, str], bytes] = field(default_factory=dict)
    committed: dict[tuple[str, int], int] = field(default_factory=dict)
    effects: Any = field(default_factory=numbers)

    def effect(self) -> None:
        if next(self.effects) in self.crashes:
            raise Crash

    def sender(self, topic: str) -> Any:
        async def send(blocks: Sequence[tuple[int, bytes]]) -> None:
            for partition, data in blocks:
                self.effect()
                self.topics[topic][partition].append(data)

        return send

    def waiting(self, topic: str, most: int) -> list[Any]:
        """The next records of a topic, partition by partition."""
        return [
            SimpleNamespace(
                message=SimpleNamespace(topic=topic, partition=p, offset=o, timestamp=1.0, value=log[o])
            )
            for p, log in enumerate(self.topics[topic])
            for o in range(self.committed.get((topic, p), 0), len(log))
        ][:most]

    def commit(self, events: Sequence[Any]) -> None:
        for event in events:
            self.effect()
            self.committed[event.message.topic, event.message.partition] = event.message.offset + 1


class Process:
    """One life of a worker: its memory starts from the changelogs."""

    floor = 0

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen = [Seen() for _ in range(PARTITIONS)]
        for partition, _, found in world.seen:
            self.seen[partition].add(found)
        outlets = [
            Outlet(world.sender(topic), world.sender("dead"), SINGLE_OBJECT, PARTITIONS)
            for topic in ("counts", "rates")
        ]
        rejects = Rejects("count", RejectLimits(), lambda: 0.0)
        self.count = CountStep(outlets[0], self, ALL_DIMENSIONS, rejects)
        # A clock that stands still: versions have to rise all the same.
        self.rate = RateStep(outlets[1], self, rejects, lambda: 0)

    def look(self, partition: int, ids: Keys) -> tuple[Mask, Mask]:
        return self.seen[partition].look(ids)

    async def remember(self, fresh: Mapping[int, Keys], offsets: Mapping[int, int]) -> None:
        for partition, found in fresh.items():
            self.world.effect()
            self.world.seen.append((partition, offsets[partition], np.array(found)))
            self.seen[partition].add(found)

    def get(self, dimension: str, value: str) -> bytes | None:
        return self.world.states.get((dimension, value))

    async def put(self, states: Sequence[tuple[str, str, bytes]]) -> None:
        for dimension, value, packed in states:
            self.world.effect()
            self.world.states[dimension, value] = packed


def finish(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits."""
    with pytest.raises(StopIteration):
        work.send(None)


def live(world: World, most: int) -> None:
    """Run workers, one after the other, until nothing waits."""
    while True:
        process = Process(world)
        try:
            while world.waiting("events", 1) or world.waiting("counts", 1):
                for topic, step in (("events", process.count), ("counts", process.rate)):
                    if events := world.waiting(topic, most):
                        finish(step(events))
                        world.commit(events)
        except Crash:
            continue
        return


def final(world: World) -> Final:
    """Of every (dimension, value, hour) the row with the highest version, as ClickHouse keeps it."""
    best: dict[tuple[str, str, int], Row] = {}
    for log in world.topics["rates"]:
        for row in (row for data in log for row in decode(data)):
            key = (row["dimension"], row["value"], row["hour"])
            if key in best and row["version"] == best[key]["version"]:
                assert row == best[key], "one version, two contents"
            if key not in best or row["version"] > best[key]["version"]:
                best[key] = row
    return {key: tuple(row[name] for name in COUNTERS) for key, row in best.items()}


def event(number: int, **facts: Any) -> Row:
    return {
        "event_id": number.to_bytes(2, "big") * 8,
        "event_type": "Send",
        "event_time": NOON,
        "sent_time": NOON,
        "message_id": f"m{number % 3}",
        "account": "1",
        "recipients": [{"address": "x", "domain": "gmail.com", "provider": "gmail"}],
        "tagged": True,
    } | facts


def fill(world: World, rows: Sequence[Row], sizes: Sequence[int]) -> None:
    """Write rows as blocks of the given sizes, as bridges would."""
    waiting: list[list[Row]] = [[] for _ in range(PARTITIONS)]
    for row, size in zip(rows, sizes, strict=True):
        partition = of_message(row["message_id"], PARTITIONS)
        waiting[partition].append(row)
        if len(waiting[partition]) >= size:
            world.topics["events"][partition].append(encode("ses_event", waiting[partition]))
            waiting[partition] = []
    for partition, left in enumerate(waiting):
        if left:
            world.topics["events"][partition].append(encode("ses_event", left))


stories = st.lists(
    st.builds(
        event,
        st.integers(0, 12),
        campaign=st.just("c"),
        tagged=st.booleans(),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories, st.data())
def test_crashes_repeats_orders_and_blocks_change_no_row(rows: list[Row], data: st.DataObject) -> None:
    quiet = World(set())
    fill(quiet, rows, [1] * len(rows))
    live(quiet, 1)

    again = data.draw(st.permutations(rows + data.draw(st.lists(st.sampled_from(rows), max_size=6))))
    stormy = World(data.draw(st.sets(st.integers(0, 120), max_size=12)))
    fill(stormy, again, data.draw(st.lists(st.integers(1, 4), min_size=len(again), max_size=len(again))))
    live(stormy, data.draw(st.integers(1, 5)))

    assert final(stormy) == final(quiet)
    ids = {row["event_id"] for row in rows}
    assert final(stormy)["account", "1", NOON // 1000][0] == len(ids)


@pytest.mark.parametrize("crash", range(14))
def test_a_crash_after_any_effect_of_one_block(crash: int) -> None:
    world = World({crash})
    fill(world, [event(0), event(3), event(0)], [3, 3, 3])
    live(world, 8)
    assert final(world)["account", "1", NOON // 1000][0] == 2


def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on() -> None:
    world = World(set())
    torn = encode("ses_event", [event(5), event(6)])[:-30] + b"\0"
    log = world.topics["events"][1]
    log += [encode("ses_event", [event(1)]), b"poison", torn, encode("ses_event", [event(2)])]
    world.topics["counts"][0].append(encode("ses_event", [event(9)]))
    live(world, 10)
    letters = [row for part in world.topics["dead"] for data in part for row in decode(data)]
    assert {(row["stage"], row["source"], row["payload"]) for row in letters} == {
        ("count", "kafka://events/1/1", b"poison"),
        ("count", "kafka://events/1/2", torn),
        ("rate", "kafka://counts/0/0", encode("ses_event", [event(9)])),
    }
    assert final(world)["account", "1", NOON // 1000][0] == 2


def test_a_stream_of_poison_stops_the_worker() -> None:
    world = World(set())
    world.topics["events"][0] += [b"poison"] * 150
    with pytest.raises(TooManyRejects, match="dead-letters list"):
        live(world, 10)
    assert len(world.topics["dead"][0]) == 100


def test_a_hundredth_of_a_minute_may_be_rejected_and_no_more() -> None:
    now = [0.0]
    rejects = Rejects("count", RejectLimits(), lambda: now[0])
    for number in range(1000):
        rejects.note(bad=number % 100 == 99)
    with pytest.raises(TooManyRejects, match="of the last minute's"):
        rejects.note(bad=True)
    now[0] = 60.0
    rejects.note(bad=False)
    now[0] = 120.5
    rejects.note(bad=True)
