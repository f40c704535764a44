"""Both steps, with a crash before each single effect; and records that cannot be used."""

from __future__ import annotations

import random
from typing import Any

import pytest
from counting_model import HOUR_S, NOON_S, World
from storms import Fleet, event, untagged

from pipelines.worker.config import RejectLimits
from pipelines.worker.errors import TooManyRejects
from pipelines.worker.rejects import Rejects
from schemas import topics
from schemas.blocks import encode

DAY_MS = 86_400_000


def tale() -> list[dict[str, Any]]:
    """Open, then two days on, so that its hour closes and expires, then again; tagged late; and of tomorrow."""
    old = event(0, campaign="c")
    late = event(3, campaign="c", sent_time=(NOON_S - 7 * HOUR_S) * 1000)
    ahead = event(6, campaign="c", sent_time=(NOON_S + 30 * HOUR_S) * 1000)
    days = event(9, event_time=NOON_S * 1000 + 3 * DAY_MS, sent_time=NOON_S * 1000 + 3 * DAY_MS, campaign="c")
    return [untagged(old), old, late, ahead, days, old, late, ahead, event(12, campaign="c")]


def lived(crashes: set[int]) -> World:
    world = World(random.Random(7), partitions=1, crashes=crashes, now_s=NOON_S + 4 * DAY_MS // 1000)
    world.write_events(tale(), [2] * len(tale()))
    with Fleet(world, most=1) as fleet:
        fleet.drain()
    return world


CALM = lived(set())


@pytest.mark.parametrize("crash", range(CALM.effects))
def test_a_crash_before_any_effect(crash: int) -> None:
    world = lived({crash, crash + 3})
    assert world.effects > crash, "nobody crashed"
    assert world.clickhouse.shown() == world.clickhouse.truth() == CALM.clickhouse.truth()


def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on() -> None:
    world = World(random.Random(1))
    torn = encode("ses_event", [event(5), event(6)])[:-30] + b"\0"
    good = [encode("ses_event", [event(number)]) for number in (1, 2, 9)]
    world.logs[topics.EVENTS, 1] += [(None, value) for value in (good[0], b"poison", torn, good[1])]
    world.logs[topics.COUNTS, 0].append((None, good[2]))
    with Fleet(world) as fleet:
        fleet.drain()
    assert {(row["stage"], row["source"], row["payload"]) for row in world.clickhouse.letters.values()} == {
        ("count", "kafka://ses.events/1/1", b"poison"),
        ("count", "kafka://ses.events/1/2", torn),
        ("rate", "kafka://ses.counts/0/0", good[2]),
    }
    assert world.clickhouse.shown()["account", "1", NOON_S][0] == 2


def test_a_stream_of_poison_stops_the_worker() -> None:
    world = World(random.Random(1))
    world.logs[topics.EVENTS, 0] += [(None, b"poison")] * 150
    with Fleet(world) as fleet, pytest.raises(TooManyRejects, match="dead-letters list"):
        fleet.drain()
    assert len(world.logs[topics.DEAD_LETTERS, 0]) == 100


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
