"""What the simulator says of alarms, against the truth it made and against a detector written from its definition."""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.cli.alarm_verdict import News, lines
from connectors.simulator import expected
from connectors.simulator.expected import Hour, fate
from connectors.simulator.stories import STORIES, has_ended
from connectors.simulator.traffic import Traffic
from pipelines.alarms.rules import defaults

if TYPE_CHECKING:
    from connectors.simulator.truth import Truth

NOW_MS = 1_790_000_000_000
EVENTS = 2200
LIMIT = 0.01
RATES = (0.012, 0.02, 0.05, 0.2, 0.6)


def evidence(hours: list[Hour], end: int) -> float:
    """A mixture of rates with equal weights, summed over starts; an empty hour starts with the next one."""
    total = 0.0
    for start in range(end + 1):
        weight = hours[start].hour - (hours[start - 1].hour if start else hours[start].hour - 1)
        hits = sum(each.hits for each in hours[start : end + 1])
        misses = sum(each.trials - each.hits for each in hours[start : end + 1])
        for rate in RATES:
            ratio = hits * log(rate / LIMIT) + misses * log((1 - rate) / (1 - LIMIT))
            total += weight * exp(min(ratio, 600)) / len(RATES)
    return total


hours_lists = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 12), st.integers(0, 200)), min_size=1, max_size=12
).map(
    lambda steps: [
        Hour(500_000 + sum(step for step, _, _ in steps[: at + 1]), hits, hits + misses + 1)
        for at, (_, hits, misses) in enumerate(steps)
    ]
)


@settings(max_examples=200, deadline=None)
@given(hours=hours_lists)
def test_a_detector_fires_where_it_must_and_nowhere_else(hours: list[Hour]) -> None:
    most = max(evidence(hours, end) for end in range(len(hours)))
    said = fate(hours, LIMIT)
    if said == "quiet":
        assert most < expected.THRESHOLD
    if said == "fires":
        assert most >= expected.THRESHOLD


@pytest.mark.parametrize("seed", [18, 1, 2, 3, 4, 5])
def test_the_stories_are_beyond_doubt(seed: int) -> None:
    truth = truth_of(seed)
    for story in STORIES:
        found = fate(
            expected.hours_of(truth, story.key, story.signal), 0.05 if "bounce" in story.signal else 0.001
        )
        assert (found == "fires") == (story.ending in {"fires", "ends"}), story
        assert found != "either"
        assert has_ended(truth, story, NOW_MS) == (story.ending == "ends") or story.ending != "ends"
    campaigns = truth.campaigns()
    assert campaigns["loyalty-pilot"]["complaints"] == 1
    assert campaigns["loyalty-pilot"]["eligible"] * 0.001 < 1, "a naive threshold fires"
    assert campaigns["android-beta"]["sends"] > 30
    assert campaigns["android-beta"]["eligible"] == 0


def test_nothing_goes_wrong_when_calm() -> None:
    traffic = Traffic(3, NOW_MS, 30_000, calm=True)
    for _ in traffic:
        pass
    for rule in defaults().in_force:
        if rule.signal in expected.HITS:
            limit = min(limit for _, limit in rule.limits)
            found = expected.fates(traffic.truth, rule.signal, rule.dimensions, limit)
            assert set(found.values()) <= {"quiet"}, (rule.name, found)


def truth_of(seed: int) -> Truth:
    traffic = Traffic(seed, NOW_MS, EVENTS)
    for _ in traffic:
        pass
    return traffic.truth


def row(key: str, seq: int, state: str, cause: str, evidence: str = "{}") -> list[Any]:
    return [key, seq, NOW_MS + seq, state, "critical", 0.2, 0.003, cause, evidence]


DRIVERS = (
    '{"drivers": [{"factor": "feedback_b", "value": "purchased-list", "excess_share": 0.9},'
    ' {"factor": "provider", "value": "yahoo", "excess_share": 1.0}]}'
)
BAD = "complaint_rate:campaign:black-friday"
OVER = "hard_bounce_rate:campaign:winback-2019-list"
RIGHT = [
    row(BAD, 1, "firing", "evidence"),
    row(BAD, 2, "firing", "escalated", DRIVERS),
    row("complaint_rate:account:012345678901", 1, "firing", "evidence"),
    row("complaint_rate:tenant:acme", 1, "firing", "evidence"),
    row("hard_bounce_rate:tenant:initrode", 1, "firing", "evidence"),
    row(OVER, 1, "firing", "evidence"),
    row(OVER, 2, "recovering", "clean"),
    row(OVER, 3, "resolved", "clean"),
]


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (RIGHT, set()),
        ([], {BAD, OVER, *(each[0] for each in RIGHT)}),
        (RIGHT[:-1], {OVER}),
        ([*RIGHT, row(OVER, 4, "firing", "evidence")], {OVER}),
        ([each for each in RIGHT if "drivers" not in each[-1]], {BAD}),
        (
            [*RIGHT, row("complaint_rate:campaign:loyalty-pilot", 1, "firing", "evidence")],
            {"complaint_rate:campaign:loyalty-pilot"},
        ),
        (
            [*RIGHT, row("traffic_stopped:account:012345678901", 1, "firing", "evidence")],
            {"traffic_stopped:account:012345678901"},
        ),
        ([*RIGHT, row("pipeline:pipeline:sink", 1, "firing", "evidence")], set()),
    ],
)
def test_what_differs_is_told(rows: list[list[Any]], wrong: set[str]) -> None:
    found = lines(truth_of(18), defaults().in_force, rows, {"android-beta"}, NOW_MS)
    assert {each.alarm_key for each in found if not each.agrees} == wrong


def test_a_campaign_at_gmail_has_to_have_no_data() -> None:
    found = lines(truth_of(18), defaults().in_force, RIGHT, set(), NOW_MS)
    assert [each.alarm_key for each in found if not each.agrees] == ["complaint_rate:campaign:android-beta"]


def test_news_are_told_once_and_what_fires_with_its_drivers() -> None:
    news = News()
    assert news.of([row(BAD, 1, "firing", "evidence")]) == []
    (line,) = news.of([row(BAD, 1, "firing", "evidence", DRIVERS)])
    assert line.endswith("firing, 20.00% (limit 0.30%), by feedback_b purchased-list (90%)")
    assert news.of([row(BAD, 1, "firing", "evidence", DRIVERS)]) == []
    assert len(news.of([row(OVER, 2, "recovering", "clean")])) == 1
    without = [row(OVER, 3, "firing", "relapse")]
    assert sum(len(news.of(without)) for _ in range(20)) == 1
