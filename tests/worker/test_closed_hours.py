"""Hours that close, expire and are recounted, one story each."""

from __future__ import annotations

import random
from typing import Any

import pytest
from counting_model import HOUR_S, NOON_S, World
from storms import Fleet, event

from schemas import topics
from schemas.blocks import decode, encode
from schemas.counters import COUNTERS
from schemas.partitioning import of_key, of_message

ACCOUNT = ("account", "1", NOON_S)
SENT = next(f"m{n}" for n in range(99) if of_message(f"m{n}", 2) == 0)
OTHER = next(f"m{n}" for n in range(99) if of_message(f"m{n}", 2) == 1)


def at(number: int, hours: int, *, happened: int | None = None, message: str = SENT) -> dict[str, Any]:
    """A Send of so many hours after noon."""
    when = happened if happened is not None else hours
    times = {"sent_time": (NOON_S + hours * HOUR_S) * 1000, "event_time": (NOON_S + when * HOUR_S) * 1000}
    return event(number, message_id=message, **times)


class Story:
    """One worker; everything drained after each chapter."""

    def __init__(self, **facts: Any) -> None:
        self.world = World(random.Random(1), now_s=NOON_S + 90 * 24 * HOUR_S, **facts)

    def tell(self, *rows: dict[str, Any]) -> None:
        """A chapter: each row a block; a new worker each time, so that all it knows is in changelogs."""
        for row in rows:
            self.world.write_events([row], [1])
        with Fleet(self.world, most=1) as fleet:
            fleet.drain()
            for worker in fleet.workers:
                fleet.do(worker, worker.commit)

    def sends(self, hours: int = 0) -> int:
        key = ("account", "1", NOON_S + hours * HOUR_S)
        return self.world.clickhouse.shown()[key][COUNTERS.index("sends")]

    @property
    def asked(self) -> int:
        logs = (self.world.logs[topics.RECOUNTS, p] for p in range(self.world.partitions))
        return sum(len(decode(value or b"")) for log in logs for _, value in log)


def test_open_hours_ask_for_nothing() -> None:
    story = Story()
    story.tell(at(1, 0), at(2, 0), at(1, 0), at(3, 5), at(4, 0))
    assert (story.sends(), story.asked) == (3, 0)


def test_repeats_of_a_closed_hour_are_recounted_and_add_nothing() -> None:
    story = Story()
    story.tell(at(1, 0), at(2, 30))
    story.tell(at(1, 0), at(1, 0), at(3, 0))
    assert story.sends() == 2
    assert story.asked > 0


def test_ids_that_were_dropped_are_never_looked_for_even_by_another_worker() -> None:
    """The hour is open no more though the block with the repeat has nothing newer in it."""
    story = Story()
    story.tell(at(1, 0))
    story.tell(at(2, 30))
    story.world.compact()
    story.tell(at(1, 0))
    assert (story.sends(), story.sends(30)) == (1, 1)
    seen = story.world.logs["seen-changelog", 0]
    assert sum(len(value or b"") for _, value in seen) < 200, "what closed is in the changelog no more"


def test_nothing_is_added_to_a_recounted_hour_however_open_it_is_elsewhere() -> None:
    """A partition far ahead has it closed, one far behind open; ClickHouse has the event before it is counted."""
    story = Story()
    story.tell(at(2, 30, message=OTHER), at(1, 0, message=OTHER))
    assert story.sends() == 1
    world = story.world
    world.write_events([at(3, 0)], [1])
    with Fleet(world, most=1) as fleet:
        fleet.sink.land(topics.EVENTS, 99)
        asked = dict(zip(("dimension", "value", "hour"), ACCOUNT, strict=True))
        world.logs[topics.RECOUNTS, 0].append((None, encode("recount_request", [asked])))
        fleet.recounter.gather()
        fleet.sink.land(topics.RATES, 99)
        assert fleet.recounter.answer()
        while fleet.workers[0].step("rate", 9):
            pass
        fleet.drain()
    assert story.sends() == 2


@pytest.mark.parametrize("days", [0, 60])
def test_of_two_answers_the_later_one_is_right_in_any_order(days: int) -> None:
    """Of an hour that is kept, and of one that is not."""
    story = Story()
    story.tell(at(2, days * 24 + 1), at(1, 0, happened=30))
    (old,) = [row for row in answers(story.world) if key_of(row) == ACCOUNT][-1:]
    story.tell(at(3, 0, happened=30))
    assert story.sends() == 2
    log = story.world.logs[topics.COUNTS, of_key(*ACCOUNT[:2], 2)]
    log.append((None, encode("recount_row", [old])))
    story.tell()
    assert story.sends() == 2


def answers(world: World) -> list[dict[str, Any]]:
    logs = (world.logs[topics.COUNTS, p] for p in range(world.partitions))
    rows = (row for log in logs for _, value in log for row in decode(value or b""))
    return [row for row in rows if "as_of" in row]


def key_of(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["dimension"], row["value"], row["hour"]


@pytest.mark.parametrize("skew_s", [172_800, -172_800])
def test_clocks_that_are_days_apart_leave_no_old_row_on_top(skew_s: int) -> None:
    story = Story(skew_s=skew_s)
    story.tell(at(1, 0))
    story.tell(at(2, 24 * 9))
    story.tell(at(3, 0))
    assert (story.sends(), story.sends(24 * 9)) == (2, 1)


def test_events_of_the_future_count_in_their_hour_before_it_and_after() -> None:
    story = Story()
    story.world.now_s = NOON_S
    story.tell(at(1, 0), at(2, 50), at(2, 50), at(3, 0))
    assert (story.sends(), story.sends(50)) == (2, 1)
    story.world.now_s += 50 * HOUR_S
    story.tell(at(2, 50), at(4, 50), at(1, 0))
    assert (story.sends(), story.sends(50)) == (2, 2)


def test_an_asked_hour_is_asked_again_when_the_worker_dies_before_its_request() -> None:
    """Each effect in turn is never had."""
    calm = Story()
    rows = [at(2, 30, message=OTHER), at(1, 0, message=OTHER)], [at(3, 0), at(4, 1)]
    for chapter in rows:
        calm.tell(*chapter)
    for crash in range(calm.world.effects):
        story = Story(crashes={crash})
        for chapter in rows:
            story.tell(*chapter)
        assert story.world.clickhouse.shown() == calm.world.clickhouse.truth(), crash


def test_memory_does_not_grow_with_history() -> None:
    story = Story()
    sizes = []
    for day in range(0, 40, 4):
        story.tell(*(at(day * 10 + n, day * 24 + n) for n in range(4)))
        story.world.compact_all()
        logs = [log for (topic, _), log in story.world.logs.items() if topic.endswith("-changelog")]
        sizes.append(sum(len(value or b"") for log in logs for _, value in log))
    assert sizes[-1] < 1.5 * sizes[1]
    assert story.asked == 0
