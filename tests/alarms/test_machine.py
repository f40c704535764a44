"""The state machine: each arrow of it, and what holds whatever readings and orders come."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.alarms.machine import HOUR_MS, Machine, advance, obey, pack, retire, unpack
from pipelines.alarms.reading import Reading
from pipelines.alarms.rules import Rule
from pipelines.alarms.transition import Transition, decode, decode_orders, encode, encode_order, row
from pipelines.counting.rate import StateError
from schemas.alarms import SEVERITIES, AlarmOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

RULE = Rule("complaint_rate", "complaint_rate", ("campaign",), warning=0.001, critical=0.003)
Step = Reading | AlarmOrder | None
"""None: the rule is gone."""


def at(hour: float, proven: Any = None, **more: Any) -> Reading:
    """A reading; hits go on unless it says otherwise."""
    time = int(hour * HOUR_MS)
    return Reading(
        time, proven, **{"last_hit": time, "rate": 0.002, "limit": 0.001, "e_value": 9000.0} | more
    )


def order(kind: str, number: int = 0, **more: Any) -> AlarmOrder:
    fields: dict[str, Any] = {
        "order_id": f"{kind}-{number}",
        "alarm_key": "complaint_rate:campaign:spring",
        "order": kind,
        "operator": "ann",
        "time": 0,
        "until": 0,
        "note": "",
    }
    return AlarmOrder(**fields | more)  # type: ignore[typeddict-item]


def run(steps: Sequence[Step], machine: Machine | None = None) -> tuple[Machine, list[Transition]]:
    """All of them in order; orders come at the time of the reading before."""
    state, told, clock = machine or Machine(), [], 0
    for step in steps:
        if isinstance(step, Reading):
            clock = max(clock, step.time)
            state, transition = advance(state, RULE, step)
        elif step is None:
            state, transition = retire(state, clock)
        else:
            state, transition = obey(state, RULE, step, clock)
        if transition is not None:
            told.append(transition)
    return state, told


def seen(told: Sequence[Transition]) -> list[tuple[str, str, str | None, int]]:
    return [(each.state, each.cause, each.severity, each.incident) for each in told]


def test_an_incident_from_its_opening_to_its_end() -> None:
    machine, told = run(
        [
            at(9),
            at(10, "warning", facts={"hits": 7}),
            at(11, "warning"),
            at(12, "critical"),
            at(13, "warning"),
            at(20, "critical", clean_since=13 * 3600),
            at(25, "critical"),
            at(26, "critical"),
            at(27),
        ]
    )
    assert seen(told) == [
        ("firing", "evidence", "warning", 1),
        ("firing", "escalated", "critical", 1),
        ("recovering", "clean", "critical", 1),
        ("resolved", "clean", "critical", 1),
    ]
    assert [each.time // HOUR_MS for each in told] == [10, 12, 20, 26]
    assert [each.opened // HOUR_MS for each in told] == [10] * 4
    assert dict(told[0].facts) == {"hits": 7}
    assert (machine.state, machine.incident, machine.severity) == ("resolved", 0, None)
    assert machine.since == 26 * 3600, "what was before opens no other"


def test_a_relapse_is_the_same_incident_and_a_recovery_after_it_begins_after_it() -> None:
    before = at(10, "warning"), at(20, "warning", clean_since=10 * 3600)
    machine, _ = run(before)
    assert machine.clean_since == 10 * 3600
    steps = (*before, at(21, "warning", relapsed=True), at(22, "warning", clean_since=20 * 3600))
    machine, told = run(steps)
    assert seen(told)[2:] == [("firing", "relapse", "warning", 1)]
    _, more = run([at(30, clean_since=21 * 3600)], machine)
    assert seen(more) == [("recovering", "clean", "warning", 1)]
    _, worse = run([*before, at(21, "critical", relapsed=True)])
    assert seen(worse)[2:] == [("firing", "relapse", "critical", 1)]


def test_without_hits_an_incident_is_over_for_want_of_trouble() -> None:
    quiet = RULE.quiet_hours
    steps = [at(10, "warning"), at(10 + quiet - 1, "warning", last_hit=5 * HOUR_MS)]
    assert len(run(steps)[1]) == 1, "quiet begins no earlier than the incident"
    steps += [
        at(10 + quiet, "warning", last_hit=5 * HOUR_MS),
        at(10 + quiet + RULE.hold_hours, "warning", last_hit=5 * HOUR_MS),
    ]
    machine, told = run(steps)
    assert seen(told)[1:] == [("recovering", "quiet", "warning", 1), ("resolved", "quiet", "warning", 1)]
    assert run([at(90, "warning")], machine)[1][0].incident == 4, "another incident"


def test_a_hit_within_the_hour_that_is_quiet_next_is_no_relapse() -> None:
    machine, _ = run([at(10.25, "warning"), at(60, "warning", last_hit=11 * HOUR_MS)])
    assert (machine.recovery, machine.clean_since) == ("quiet", 11 * 3600)
    machine, _ = run([at(10.25, "warning"), at(60, "warning", last_hit=int(11.5 * HOUR_MS))])
    assert machine.clean_since == 12 * 3600


def test_time_stands_still_for_all_but_what_is_worse() -> None:
    machine, told = run([at(10, "warning"), at(10, "warning"), at(9, "critical"), at(10, clean_since=36000)])
    assert len(told) == 1
    machine, told = run([at(10, "critical"), at(10, "critical")], machine)
    assert seen(told) == [("firing", "escalated", "critical", 1)]


def test_orders_are_numbered_and_done_once() -> None:
    steps: list[Step] = [
        at(10, "warning"),
        order("ack", note="on it"),
        order("ack", note="on it"),
        order("silence", until=99),
        order("unsilence"),
        order("unsilence", 2),
        order("reset"),
        order("ack", 2),
    ]
    machine, told = run(steps)
    assert [each.cause for each in told] == ["evidence", "acknowledged", "silenced", "unsilenced", "reset"]
    assert [each.seq for each in told] == [1, 2, 3, 4, 5]
    assert [each.operator for each in told] == ["", "ann", "ann", "ann", "ann"]
    assert [each.silenced_until for each in told] == [0, 0, 99, 0, 0]
    assert dict(told[1].facts) == {"order_id": "ack-0", "note": "on it"}
    assert (told[1].rate, told[1].limit, told[1].e_value) == (0.002, 0.001, 9000.0)
    assert (told[4].state, told[4].incident, told[4].severity) == ("ok", 1, "warning")
    assert (machine.acknowledged_by, machine.incident, machine.since) == ("", 0, 10 * 3600)


def test_a_reset_within_an_hour_is_of_the_whole_hour() -> None:
    machine, _ = run([at(10.5, "warning"), order("reset")])
    assert machine.since == 11 * 3600


def test_an_order_in_a_replay_is_of_the_time_of_the_replay() -> None:
    machine, told = run([at(10, "warning"), order("reset", time=10**13), at(11, "warning")])
    assert [each.time // HOUR_MS for each in told] == [10, 10, 11]
    assert machine.incident == 3


def test_orders_for_what_is_not_known_change_nothing_but_are_remembered() -> None:
    machine, told = obey(Machine(), None, order("reset"), HOUR_MS)
    assert (told, machine.seq, machine.orders) == (None, 0, ("reset-0",))
    machine, told = obey(Machine(), RULE, order("silence", until=7), HOUR_MS)
    assert told is not None
    assert (told.state, told.incident, told.severity, told.signal) == ("ok", 0, None, "complaint_rate")
    assert obey(machine, RULE, order("dance"), HOUR_MS) == (machine, None)


def test_a_rule_that_goes_ends_its_incident() -> None:
    machine, told = run([at(10, "critical"), None, None])
    assert seen(told)[1:] == [("resolved", "rule_gone", "critical", 1)]
    assert (told[1].signal, machine.state) == ("complaint_rate", "resolved")


def test_a_transition_is_a_row_is_a_record() -> None:
    import numpy as np

    facts = {"hits": np.int64(7), "rate": np.float64(0.5)}
    _, told = run([at(10, "warning", e_value=float("inf"), facts=facts)])
    alarm = row(told[0], "complaint_rate", "tag:ring", "a:b", 12)
    assert alarm["alarm_key"] == "complaint_rate:tag:ring:a:b"
    assert (alarm["evidence"], alarm["e_value"], alarm["written_time"]) == (
        '{"hits":7,"rate":0.5}',
        1e300,
        12,
    )
    assert decode(encode(alarm)) == [alarm]
    assert unpack(alarm["machine"]).severity == "warning"
    wanted = order("silence", until=1_790_000_000_123, note="ü")
    assert decode_orders(encode_order(wanted)) == [wanted]


def test_what_another_release_packed_is_refused() -> None:
    assert unpack(b"") == Machine()
    packed = pack(Machine(seq=3))
    for data in (b"\x02" + packed[1:], packed[:-1], packed + b"\0", b"\x01\x90", b"\x01"):
        with pytest.raises(StateError):
            unpack(data)
    with pytest.raises(StateError, match="damaged"):
        unpack(pack(replace(Machine(), state="asleep")))  # type: ignore[arg-type]


severities = st.sampled_from([None, *SEVERITIES])
readings = st.builds(
    lambda hour, proven, relapsed, clean, quiet: at(
        hour / 4,
        proven,
        relapsed=relapsed,
        clean_since=None if clean is None else (hour // 4 - clean) * 3600,
        last_hit=int((hour / 4 - quiet) * HOUR_MS),
    ),
    st.integers(400, 900),
    severities,
    st.booleans(),
    st.none() | st.integers(0, 12),
    st.integers(0, 60),
)
orders = st.builds(order, st.sampled_from(["ack", "silence", "unsilence", "reset"]), st.integers(0, 3))
steps = st.lists(st.one_of(readings, readings, readings, orders, st.none()), max_size=60)


def in_order(found: list[Step]) -> list[Step]:
    """Readings in the order of their times, between the orders."""
    times = iter(sorted((each for each in found if isinstance(each, Reading)), key=lambda each: each.time))
    return [next(times) if isinstance(each, Reading) else each for each in found]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_numbers_rise_by_one_and_neither_time_nor_severity_nor_since_goes_back(found: list[Step]) -> None:
    machine, told, clock = Machine(), [], 0
    for step in found:
        before = machine
        machine, more = run([step], machine) if isinstance(step, Reading) else _other(step, machine, clock)
        clock = max(clock, step.time if isinstance(step, Reading) else 0)
        told += more
        assert machine.since >= before.since
        assert machine.changed >= before.changed
        assert machine.entered <= machine.changed
    assert [each.seq for each in told] == list(range(1, len(told) + 1))
    assert [each.time for each in told] == sorted(each.time for each in told)
    for former, later in pairwise(told):
        if former.incident == later.incident and former.severity and later.severity:
            assert SEVERITIES.index(former.severity) <= SEVERITIES.index(later.severity)


def _other(step: AlarmOrder | None, machine: Machine, clock: int) -> tuple[Machine, list[Transition]]:
    after, told = retire(machine, clock) if step is None else obey(machine, RULE, step, clock)
    return after, [] if told is None else [told]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_one_incident_is_open_at_a_time_and_each_is_opened_and_ended_once(found: list[Step]) -> None:
    machine, told = run(in_order(found))
    current, ended = 0, set()
    for each in told:
        if each.cause == "evidence":
            assert current == 0
            current = each.incident
            assert each.incident == each.seq
        elif each.state in {"firing", "recovering"}:
            assert each.incident == current
        elif current:
            assert each.incident == current
            ended.add(current)
            current = 0
        else:
            assert each.incident == 0
        assert each.incident not in ended or each.state in {"ok", "resolved"}
    assert machine.incident == current
    assert (machine.severity is None) == (current == 0)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps, st.data())
def test_replays_and_restarts_tell_nothing_new(found: list[Step], data: st.DataObject) -> None:
    """State is packed and read again anywhere, and any stretch of readings and orders comes again."""
    ordered = in_order(found)
    machine, told = run(ordered)
    cut = data.draw(st.integers(0, len(ordered)))
    back = data.draw(st.integers(0, cut))
    former, first = run(ordered[:cut])
    again = [step for step in ordered[back:cut] if step is not None]
    restarted, repeated = run(again, unpack(pack(former)))
    if not any(isinstance(step, Reading) and step.time == former.changed for step in again):
        assert repeated == []
        assert restarted == former
    clock = max((step.time for step in ordered[:cut] if isinstance(step, Reading)), default=0)
    rest, clocked = [], clock
    for step in ordered[cut:]:
        if isinstance(step, Reading):
            clocked = max(clocked, step.time)
            former, transition = advance(unpack(pack(former)), RULE, step)
        else:
            former, transition = (
                retire(former, clocked) if step is None else obey(unpack(pack(former)), RULE, step, clocked)
            )
        rest += [] if transition is None else [transition]
    assert first + rest == told
    assert former == machine


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_a_machine_that_is_told_the_same_again_at_once_does_nothing(found: list[Step]) -> None:
    machine, clock = Machine(), 0
    for step in in_order(found):
        if isinstance(step, Reading):
            clock = step.time
            machine, _ = advance(machine, RULE, step)
            if machine.changed == clock:
                assert advance(machine, RULE, step) == (machine, None)
        elif step is not None:
            machine, _ = obey(machine, RULE, step, clock)
            assert obey(machine, RULE, step, clock + 1) == (machine, None)
