"""What is of the past, and what was told before a crash: on real threads, with clocks that stand still."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from connectors.notify.page import NotDelivered

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3600.0


def test_what_is_old_is_not_told_and_one_row_says_so(
    scene: Callable[..., Any], alarm: Callable[..., Any], route: Any
) -> None:
    story = scene(routes=[route("a"), route("b")])
    story.learn(alarm(1, ago=7 * HOUR), alarm(2, "resolved", ago=0))
    story.learn(alarm(1, ago=7 * HOUR, value="autumn"))
    assert [place.told for place in story.places.values()] == [[], []]
    assert story.book.last() == {("*", "page"): "skipped"}
    assert len(story.book.rows) == 1
    # It got worse just now: that is news.
    story.learn(alarm(2, value="autumn", severity="critical", cause="escalated", ago=0))
    assert [place.told for place in story.places.values()] == [[("page", 2)]] * 2


@pytest.mark.parametrize(
    ("hit_time", "told"),
    [
        ("2026-11-19T12:00:00+00:00", []),
        ("2026-11-22T11:59:00+00:00", [("page", 1)]),
        ("2026-11-29T12:00:00+00:00", [("page", 1)]),
        ("yesterday", [("page", 1)]),
        (7, [("page", 1)]),
    ],
)
def test_what_rests_on_old_hits_is_old_however_late_they_were_read(
    scene: Callable[..., Any], alarm: Callable[..., Any], hit_time: Any, told: list[tuple[str, int]]
) -> None:
    story = scene()
    story.now = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
    now = round(story.now * 1000)
    evidence = json.dumps({"hits": 40, "hit_time": hit_time})
    story.learn(alarm(1, evidence=evidence) | {"time": now, "opened_time": now, "written_time": now})
    assert story.place().told == told
    assert story.desk.settled("complaint_rate:campaign:spring")


def test_an_incident_whose_end_was_told_is_not_paged_by_what_comes_again(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    """Its page was not taken, as far as anybody knows; a new process reads how it opened, and not yet how it ended."""
    story = scene()
    story.place().failures = [NotDelivered("?", unknown=True)]
    opening, over = alarm(1), alarm(2, "resolved")
    story.learn(opening)
    story.learn(over)
    story.wait(300)
    assert story.place().told == [("resolve", 2)]
    story.start()
    story.learn(opening)
    story.wait(HOUR)
    story.learn(opening, over)
    assert story.place().told == [("resolve", 2)]


def test_the_end_of_what_was_told_is_told_however_old(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    story.learn(alarm(1))
    story.wait(9 * 24 * HOUR)
    story.learn(alarm(2, "resolved", ago=0))
    assert story.place().told == [("page", 1), ("resolve", 2)]


def test_a_new_process_goes_by_what_was_written_down(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    first, second = alarm(1), alarm(1, value="autumn")
    story.learn(first, second)
    story.start()
    story.learn(first, second, alarm(2, "resolved"))
    story.start()
    # Compaction leaves the last transition of a key only.
    story.learn(alarm(2, "resolved"), alarm(3, "recovering", value="autumn"))
    assert sorted(story.place().told) == [("page", 1), ("page", 1), ("resolve", 2)]
    story.learn(alarm(4, "resolved", value="autumn"))
    assert story.place().told[-1] == ("resolve", 4)


def test_a_page_that_may_have_come_through_before_a_crash_is_told_the_end_of(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    story.place().open.clear()
    story.learn(alarm(1))
    story.until(lambda: story.place().tries == 1)
    story.start()
    story.place().open.set()
    story.learn(alarm(1), alarm(2, "resolved"))
    assert ("resolve", 2) in story.place().told


def test_an_incident_that_ended_before_it_could_be_told_is_not_told_at_all(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    story.place().broken = NotDelivered("no answer")
    story.learn(alarm(1))
    assert story.book.last() == {("on-call", "page"): "retrying"}
    story.learn(alarm(2, "resolved"))
    story.place().broken = None
    story.wait(HOUR)
    assert story.place().told == []
    assert story.book.last() == {("on-call", "page"): "skipped"}
    assert story.desk.settled(alarm()["alarm_key"])


def test_nobody_knows_whether_it_came_through_so_its_end_is_told(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    story.place().broken = NotDelivered("it hung up", unknown=True)
    story.learn(alarm(1))
    story.place().broken = None
    story.learn(alarm(2, "resolved"))
    story.wait(HOUR)
    assert story.place().told == [("resolve", 2)]
