"""The pipeline's own alarms on a real broker; no ClickHouse answers, which must hinder nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from connectors.notify.numbers import RouteFailure
from schemas import topics
from schemas.blocks import encode
from schemas.dead_letters import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.embedded

RULES = """
[[rule]]
name = "pipeline"
signal = "pipeline"
values = [{values}]
severity = "critical"
dead_letters = 50
dead_letters_minutes = 5
hold_hours = 0.05
"""
LETTERS = "pipeline:pipeline:dead_letters"
SINK = "pipeline:pipeline:sink"


def letters(start: int, number: int) -> bytes:
    """A block of dead letters of last year: when they were written counts."""
    return encode(
        "dead_letter",
        [
            dict(
                dead_letter(
                    time=1_700_000_000_000,
                    stage="parse",
                    cause="not_json",
                    detail="",
                    source=f"file:///{start + each}",
                    payload=b"",
                )
            )
            for each in range(number)
        ],
    )


def test_a_burst_of_dead_letters_fires_and_resolves_and_a_restart_tells_nothing_new(
    place: Any, until: Callable[..., Any]
) -> None:
    place.rule(RULES.format(values='"dead_letters"'))
    place.send(topics.DEAD_LETTERS, letters(0, 40))
    place.send(topics.DEAD_LETTERS, letters(40, 10), 1)
    watch = place.watch()
    until(lambda: watch.numbers.looks > 3)
    assert place.alarms() == []
    place.send(topics.DEAD_LETTERS, letters(50, 1))
    (fired,) = until(place.alarms)
    assert (fired["state"], fired["severity"], fired["rate"], fired["limit"]) == (
        "firing",
        "critical",
        51.0,
        50.0,
    )
    assert fired["kafka_key"] == LETTERS
    assert '"minutes":5' in fired["evidence"]
    place.stop()
    watch = place.watch()
    until(lambda: watch.numbers.looks > 3)
    assert watch.numbers.firing == 1
    assert place.states(LETTERS) == [(1, "firing", "evidence")]
    place.clock.ahead_s += 310
    looks = watch.numbers.looks
    until(lambda: watch.numbers.looks > looks + 2)
    place.clock.ahead_s += 61
    until(lambda: len(place.states(LETTERS)) == 2)
    place.clock.ahead_s += 200
    until(lambda: len(place.states(LETTERS)) == 3)
    assert place.states(LETTERS)[1:] == [(2, "recovering", "clean"), (3, "resolved", "clean")]


def test_a_sink_that_stands_still_fires_and_operators_are_obeyed_once(
    place: Any, until: Callable[..., Any]
) -> None:
    place.rule(RULES.format(values='"sink", "clickhouse"'))
    watch = place.watch()
    place.send(topics.EVENTS, b"what is in it does not matter", 1)
    until(lambda: watch.numbers.looks > 3)
    assert place.alarms() == []
    place.clock.ahead_s += 70
    until(lambda: len(place.alarms()) == 1)
    assert place.states("pipeline:pipeline:clickhouse") == [(1, "firing", "evidence")]
    assert "127.0.0.1:1 does not answer" in place.alarms()[0]["evidence"]
    place.clock.ahead_s += 30
    until(lambda: place.states(SINK))
    told = next(row for row in place.alarms() if row["alarm_key"] == SINK)
    assert told["limit"] == 60
    assert told["rate"] >= 100
    place.order(SINK, "ack", "o1")
    place.order(SINK, "ack", "o1")
    place.order("complaint_rate:campaign:spring", "reset", "o2")
    until(lambda: watch.numbers.orders == 1)
    place.stop()
    place.order(SINK, "silence", "o3", until=1_900_000_000_000)
    place.watch()
    until(lambda: len(place.states(SINK)) == 3)
    assert place.states(SINK) == [
        (1, "firing", "evidence"),
        (2, "firing", "acknowledged"),
        (3, "firing", "silenced"),
    ]
    # A rule that is gone ends what it opened, and another value's stays.
    place.rule(RULES.format(values='"clickhouse"'))
    until(lambda: len(place.states(SINK)) == 4)
    assert place.states(SINK)[3] == (4, "resolved", "rule_gone")
    assert len(place.states("pipeline:pipeline:clickhouse")) == 1
    assert {row["alarm_key"] for row in place.alarms()} == {SINK, "pipeline:pipeline:clickhouse"}


def test_a_rules_file_that_is_refused_and_a_route_that_fails_are_told(
    place: Any, until: Callable[..., Any]
) -> None:
    place.rule(RULES.format(values='"rules", "notify"'))
    watch = place.watch()
    until(lambda: watch.numbers.looks > 1)
    assert place.alarms() == []
    place.rule("[[rule]]\nname = 7\n")
    (told,) = until(place.alarms)
    assert told["alarm_key"] == "pipeline:pipeline:rules"
    assert "line 2" in told["evidence"]
    place.failing.append(RouteFailure("pager", int(place.clock() * 1000), "no route to host"))
    place.clock.ahead_s += 130
    until(lambda: place.states("pipeline:pipeline:notify"))
    assert any("no route to host" in row["evidence"] for row in place.alarms())
