"""Who is told what and when: on real threads, with clocks that stand still."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from connectors.notify.attempts import Policy
from connectors.notify.page import NotDelivered

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3600.0


def test_one_page_and_one_resolve_however_often_and_in_which_order_transitions_come(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    opening, recovering, over = alarm(1), alarm(2, "recovering"), alarm(3, "resolved")
    story.learn(opening, opening)
    story.learn(opening)
    story.learn(recovering, opening)
    assert story.place().told == [("page", 1)]
    story.learn(over, over, opening)
    story.learn(recovering, opening, over)
    assert story.place().told == [("page", 1), ("resolve", 3)]
    assert {page.dedup_key for page in story.place().sent} == {"ses-streams/complaint_rate:campaign:spring/1"}
    assert story.desk.settled(opening["alarm_key"])
    assert story.book.last() == {("on-call", "page"): "delivered", ("on-call", "resolve"): "delivered"}


def test_a_worse_severity_is_told_and_a_relapse_is_not(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    story.learn(alarm(1))
    story.learn(alarm(2, severity="critical", cause="escalated"))
    story.learn(alarm(3, "recovering", severity="critical"))
    story.learn(alarm(4, severity="critical", cause="relapse"))
    assert story.place().told == [("page", 1), ("update", 2)]


def test_a_relapse_that_is_worse_than_ever_is_told(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    story.learn(alarm(1))
    story.learn(alarm(2, "recovering"), alarm(3, severity="critical", cause="relapse"))
    assert story.place().told == [("page", 1), ("update", 3)]


def test_a_page_waits_for_what_drives_the_alarm_but_not_for_ever(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    story.learn(alarm(1, revision=0, ago=0))
    assert story.place().told == []
    story.wait(5)
    story.learn(alarm(1, revision=1, evidence='{"summary": "It is Yahoo."}', ago=0))
    assert story.place().sent[0].evidence["summary"] == "It is Yahoo."
    story.learn(alarm(1, revision=0, ago=-5, value="autumn"))
    story.wait(9)
    assert len(story.place().sent) == 1
    story.wait(2)
    assert [page.alarm["value"] for page in story.place().sent] == ["spring", "autumn"]
    story.learn(alarm(1, revision=0, ago=-16, value="q", signal="pipeline"))
    assert len(story.place().sent) == 3, "nobody explains those"


@pytest.mark.parametrize(("kind", "told"), [("webhook", 1), ("alertmanager", 2)])
def test_better_evidence_goes_where_it_replaces_what_is_shown(
    scene: Callable[..., Any], alarm: Callable[..., Any], kind: str, told: int
) -> None:
    story = scene(kind=kind)
    story.learn(alarm(1, revision=0))
    story.wait(11)
    story.learn(alarm(1, revision=1))
    story.learn(alarm(1, revision=1))
    assert [kind for kind, _ in story.place().told] == ["page", "update"][:told]


def test_a_silence_holds_a_page_back_until_it_ends(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    until = round((story.now + 9 * HOUR) * 1000)
    story.learn(alarm(1, silenced_until=until))
    story.wait(8 * HOUR)
    assert story.place().told == []
    assert not story.desk.settled(alarm()["alarm_key"])
    story.wait(HOUR + 1)
    assert story.place().told == [("page", 1)], "it is older than the limit, but it was held back"


def test_a_silence_that_is_lifted_lets_go_and_one_that_outlasts_the_incident_swallows_it(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    until = round((story.now + 9 * HOUR) * 1000)
    for value in ("spring", "autumn"):
        story.learn(alarm(1, value=value), alarm(2, value=value, cause="silenced", silenced_until=until))
    story.place().sent.clear()
    story = scene()
    story.learn(alarm(1, silenced_until=until), alarm(1, value="autumn", silenced_until=until))
    story.learn(alarm(2, cause="unsilenced"), alarm(2, "resolved", value="autumn", silenced_until=until))
    assert [(page.kind, page.alarm["value"]) for page in story.place().sent] == [("page", "spring")]


def test_who_has_taken_it_is_not_told_more_but_the_end(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    story.learn(alarm(1))
    story.learn(alarm(2, cause="acknowledged", operator="ann", evidence="{}"))
    story.learn(alarm(3, severity="critical", cause="escalated"))
    assert story.place().told == [("page", 1)]
    story.learn(alarm(4, "resolved", severity="critical"))
    assert story.place().told == [("page", 1), ("resolve", 4)]


def test_that_somebody_has_taken_it_is_known_when_only_the_last_transition_is_left(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    from pipelines.alarms.machine import Machine, pack

    story = scene()
    story.learn(alarm(1))
    story.start()
    machine = pack(Machine(seq=3, state="firing", severity="critical", incident=1, acknowledged_by="ann"))
    story.learn(alarm(3, severity="critical", cause="escalated", machine=machine))
    assert story.place().told == [("page", 1)]


def test_pagerduty_is_told_who_has_taken_it(scene: Callable[..., Any], alarm: Callable[..., Any]) -> None:
    story = scene(kind="pagerduty")
    story.learn(alarm(1))
    story.learn(alarm(2, cause="acknowledged", operator="ann"))
    story.learn(alarm(2, cause="acknowledged", operator="ann"))
    assert story.place().told == [("page", 1), ("update", 2)]
    assert story.place().sent[1].title.startswith("acknowledged by ann")


def test_quiet_hours_hold_back_what_is_not_critical(
    scene: Callable[..., Any], alarm: Callable[..., Any], route: Any
) -> None:
    quiet = {"quiet": ("11:00-21:00",), "timezone": "UTC"}
    story = scene(routes=[route("quiet", **quiet), route("silent", **quiet, quiet_critical=False)])
    story.learn(alarm(1), alarm(1, value="autumn", severity="critical"), alarm(1, value="gone"))
    told = {name: [page.alarm["value"] for page in place.sent] for name, place in story.places.items()}
    assert told == {"quiet": ["autumn"], "silent": []}
    story.learn(alarm(2, "resolved", value="gone"))
    story.wait(9 * HOUR + 1)
    told = {name: sorted(page.alarm["value"] for page in place.sent) for name, place in story.places.items()}
    assert told == {"quiet": ["autumn", "spring"], "silent": ["autumn", "spring"]}


def test_filters(scene: Callable[..., Any], alarm: Callable[..., Any], route: Any) -> None:
    routes = [
        route("all", min_severity="notice"),
        route("usual"),
        route("critical", severities=("critical",)),
        route("latency", signals=("delivery_*",)),
        route("accounts", dimensions=("account", "tag:*")),
        route("black", values=("black-*", "bl?ck")),
    ]
    story = scene(routes=routes)
    story.learn(alarm(severity="notice", value="black-friday"))
    told = {name for name, place in story.places.items() if place.sent}
    assert told == {"all"}
    story.learn(alarm(value="block", dimension="tag:team"))
    told = {name for name, place in story.places.items() if place.told}
    assert told == {"all", "usual", "accounts", "black"}
    story.learn(alarm(severity="critical", signal="delivery_latency", value="x"))
    assert {name for name, place in story.places.items() if not place.told} == set()


def test_a_route_that_hangs_delays_no_other(
    scene: Callable[..., Any], alarm: Callable[..., Any], route: Any
) -> None:
    story = scene(routes=[route("hangs"), route("works")])
    hangs, works = story.places["hangs"], story.places["works"]
    hangs.open.clear()
    story.learn(alarm(value="a"), alarm(value="b"), alarm(value="c"))
    story.learn(alarm(2, "resolved", value="c"))
    assert [page.kind for page in works.sent] == ["page", "page", "page", "resolve"]
    story.until(lambda: hangs.tries == 1)
    assert not story.desk.settled(alarm(value="a")["alarm_key"])
    hangs.open.set()
    story.work()
    assert [page.alarm["value"] for page in hangs.sent] == ["a", "b"]


def test_a_failed_try_is_repeated_later_and_later_and_given_up(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene(limits={"give_up_after_s": 600})
    place = story.place()
    place.broken = NotDelivered("refused: 500")
    story.learn(alarm(1))
    assert place.tries == 1
    story.wait(0.4)
    assert place.tries == 1
    (failing,) = story.desk.failures()
    assert (failing.route, failing.reason, failing.since) == (
        "on-call",
        "refused: 500",
        round(story.now * 1000) - 400,
    )
    for _ in range(68):  # the route itself rests a minute at the most
        story.wait(10)
    assert 5 <= place.tries <= 16
    outcomes = [row["outcome"] for row in story.book.rows]
    assert outcomes == ["retrying", "retrying", "failed"]
    assert story.book.rows[-1]["attempts"] == place.tries
    assert story.desk.settled(alarm()["alarm_key"])
    assert len(story.desk.failures()) == 1
    # A worse severity is news: a page again.
    place.broken = None
    story.learn(alarm(2, severity="critical", cause="escalated"))
    story.wait(60)
    assert place.told == [("page", 2)]
    assert story.desk.failures() == ()


def test_what_the_receiver_asks_for_is_heeded(scene: Callable[..., Any], alarm: Callable[..., Any]) -> None:
    story = scene()
    place = story.place()
    place.failures = [NotDelivered("too many", retry_after_s=400), NotDelivered("never that", for_good=True)]
    story.learn(alarm(1), alarm(1, value="autumn"))
    story.wait(399)
    assert place.tries == 1
    story.wait(2)
    story.wait(2)
    assert place.tries == 3
    assert len(place.sent) == 1
    assert sorted(row["outcome"] for row in story.book.rows if row["attempts"]) == [
        "delivered",
        "failed",
        "retrying",
    ]


def test_a_resolve_that_fails_is_repeated_and_the_next_incident_comes_after_it(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    story.learn(alarm(1))
    story.place().failures = [NotDelivered("no")]
    story.learn(alarm(2, "resolved"), alarm(3, incident=3))
    story.wait(2)
    assert story.place().told == [("page", 1), ("resolve", 2), ("page", 3)]
    assert [page.dedup_key[-1] for page in story.place().sent] == ["1", "1", "3"]


def test_what_still_stands_is_said_again_where_that_is_wanted(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    story.place().repeats_every_s = 60.0
    story.learn(alarm(1), alarm(1, value="autumn"), alarm(1, value="old", ago=9 * HOUR))
    story.start()
    story.learn(alarm(1), alarm(1, value="autumn"), alarm(1, value="old", ago=9 * HOUR))
    story.wait(2)
    story.place().refreshed.clear()
    story.wait(61)
    keys = {f"ses-streams/complaint_rate:campaign:{value}/1" for value in ("spring", "autumn")}
    assert [set(each) for each in story.place().refreshed] == [keys]
    story.learn(alarm(2, "resolved"))
    story.wait(61)
    assert len(story.place().refreshed[-1]) == 1


def test_nothing_is_settled_before_it_is_written_down(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    story.book.durable = False
    story.learn(alarm(1))
    assert story.place().told == [], "that it is tried is not written down yet"
    story.wait(3)
    assert story.place().told == [("page", 1)], "but it does not wait for that for ever"
    story.work()
    assert not story.desk.settled(alarm()["alarm_key"])
    story.book.durable = True
    story.work()
    assert story.desk.settled(alarm()["alarm_key"])


def test_what_comes_back_after_the_key_has_gone_is_written_down(
    scene: Callable[..., Any], alarm: Callable[..., Any]
) -> None:
    story = scene()
    story.place().open.clear()
    story.learn(alarm(1))
    story.desk.forget()
    story.desk.learn(alarm(1))
    story.work()
    story.place().open.set()
    story.work()
    assert story.place().told == [("page", 1)]
    assert story.book.last() == {("on-call", "page"): "delivered"}


def test_pauses_grow_to_their_limit() -> None:
    policy = Policy(first_s=1, longest_s=300)
    for failures, whole in ((1, 1), (2, 2), (5, 16), (10, 300), (5000, 300)):
        assert whole / 2 <= policy.pause(failures, policy.longest_s) <= whole
