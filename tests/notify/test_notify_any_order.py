"""Whatever order transitions come in, how often, and where processes die in between: once each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.notify.page import NotDelivered
from pipelines.alarms.machine import Machine, advance, obey
from pipelines.alarms.reading import Reading
from pipelines.alarms.rules import Rule
from pipelines.alarms.transition import row
from schemas.alarms import AlarmOrder

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE = 60_000
RULE = Rule(
    "complaint_rate",
    "complaint_rate",
    ("campaign",),
    warning=0.001,
    critical=0.003,
    hold_hours=0.5,
    quiet_hours=1.0,
)
STEPS = st.sampled_from(
    ["warning", "critical", "clean", "relapse", "wait", "wait", "ack", "silence", "unsilence", "reset"]
)


def history(steps: list[str], now_ms: int) -> list[Any]:
    """What the real machine makes of it, a step each ten minutes, the last of them now."""
    machine, rows = Machine(), []
    time = now_ms - 10 * MINUTE * len(steps)
    for number, step in enumerate(steps):
        time += 10 * MINUTE
        if step in {"ack", "silence", "unsilence", "reset"}:
            until = time + 25 * MINUTE if step == "silence" else 0
            order = AlarmOrder(
                order_id=str(number),
                alarm_key="k",
                order=step,
                operator="ann",
                time=time,
                until=until,
                note="",
            )
            machine, made = obey(machine, RULE, order, time)
        else:
            clean = -(-time // 3_600_000) * 3600 if step == "clean" else None
            proven: Any = step if step in {"warning", "critical"} else None
            reading = Reading(
                time=time,
                proven=proven,
                relapsed=step == "relapse",
                clean_since=clean,
                last_hit=time,
                rate=0.002,
            )
            machine, made = advance(machine, RULE, reading)
        if made is not None:
            rows.append(row(made, "complaint_rate", "campaign", "spring", time) | {"revision": 1})
    return rows


@pytest.mark.parametrize("crashes", [False, True])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), steps=st.lists(STEPS, min_size=1, max_size=14))
def test_each_incident_is_paged_once_and_resolved_once(
    scene: Callable[..., Any], data: st.DataObject, steps: list[str], *, crashes: bool
) -> None:
    story = scene()
    place = story.place()
    rows = history(steps, round(story.now * 1000))
    order = data.draw(
        st.lists(st.sampled_from(range(len(rows))), max_size=2 * len(rows)) if rows else st.just([])
    )
    for index in order:
        place.failures = data.draw(
            st.sampled_from([[], [], [NotDelivered("no")], [NotDelivered("?", unknown=True)]])
        )
        story.learn(rows[index])
        if crashes and data.draw(st.booleans()):
            story.start()
            # What was read and not settled comes again; in the end all does.
            for each in order[: order.index(index) + 1]:
                story.desk.learn(rows[each])
    place.failures = []
    story.learn(*rows)
    story.wait(300)
    story.wait(4 * 3600)
    by_incident: dict[str, list[str]] = {}
    for page in place.sent:
        by_incident.setdefault(page.dedup_key, []).append(page.kind)
    last = rows[-1] if rows else None
    is_open = (
        {f"ses-streams/{last['alarm_key']}/{last['incident']}"}
        if last and last["state"] in {"firing", "recovering"}
        else set()
    )
    for incident, kinds in by_incident.items():
        assert kinds.count("page") <= 1, kinds
        assert kinds.count("resolve") == (incident not in is_open), kinds
        assert kinds[0] == "page" or kinds == ["resolve"], kinds
        if "resolve" in kinds:
            assert kinds[-1] == "resolve", kinds
    for incident in is_open:
        taken = any(each["cause"] == "acknowledged" and each["incident"] == last["incident"] for each in rows)
        assert taken or by_incident[incident][0] == "page"
    assert all(story.desk.settled(each["alarm_key"]) for each in rows)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), steps=st.lists(STEPS, min_size=1, max_size=14))
def test_the_order_makes_no_difference_to_what_is_known(
    scene: Callable[..., Any], data: st.DataObject, steps: list[str]
) -> None:
    rows = history(steps, 1_795_348_800_000)
    shuffled = data.draw(st.permutations(rows))
    told = []
    for each in (rows, shuffled):
        story = scene()
        for one in each:
            story.desk.learn(one)
        story.work()
        told.append([(page.kind, page.alarm["seq"], page.title) for page in story.place().sent])
    assert told[0] == told[1]
