"""Mail that names a relay that is not expected: which alarms there are of it, and what becomes of an incident."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.alarms.machine import Machine, advance
from pipelines.alarms.relays import HOUR_MS, NONE_NAMED, Hour, Limits, Originator, gathered, name_of, reading
from pipelines.alarms.rule import Rule
from schemas.counters import OTHER_VALUE

NOW = 500_000 * HOUR_MS
LIMITS = Limits("notice", mails=3, hours=24)
RULE = Rule("unexpected_relay", "unexpected_relay", ("originator_org",), quiet_hours=48, hold_hours=12)


def hour(before: int, mails: int) -> Hour:
    return Hour(NOW - before * HOUR_MS, NOW - before * HOUR_MS + 60_000, mails)


def originator(name: str, *hours: Hour) -> Originator:
    return Originator(name, (name,), hours, {"sample_mail_ids": (f"{name}-1",)})


def test_a_name_is_one_line_that_does_nothing_to_a_terminal() -> None:
    assert name_of("  Evil\x1b[2J\nOrg ") == "evil\ufffd[2j org"
    assert name_of("") == name_of(" \t") == NONE_NAMED
    assert len(name_of("x" * 255)) == 100


def test_enough_mails_within_the_hours_are_told_with_what_they_are() -> None:
    found = reading(originator("evil", hour(30, 9), hour(5, 2), hour(1, 1)), Machine(), LIMITS, NOW)
    assert (found.proven, found.rate, found.limit, found.e_value) == ("notice", 3, 3, None)
    assert found.last_hit == NOW - HOUR_MS + 60_000
    assert found.facts["sample_mail_ids"] == ["evil-1"]
    assert found.facts["summary"].startswith(
        "3 mails within 24 h said to have come through Mail Manager of evil,"
    )
    few = reading(originator("evil", hour(30, 9), hour(5, 2)), Machine(), LIMITS, NOW)
    assert (few.proven, few.rate) == (None, 2)


def run(machine: Machine, found: Originator, *hours: float) -> tuple[Machine, list[str]]:
    """The causes of transitions, evaluating at so many hours after `NOW`."""
    causes = []
    for after in hours:
        now = NOW + int(after * HOUR_MS)
        machine, told = advance(machine, RULE, reading(found, machine, LIMITS, now))
        causes += [told.cause] if told else []
    return machine, causes


def test_an_incident_ends_when_nothing_more_comes_and_what_was_in_it_opens_no_other() -> None:
    first = originator("evil", hour(2, 5))
    machine, causes = run(Machine(), first, 0, 0, 1, 24, 47)
    assert causes == ["evidence"]
    going_on = originator("evil", hour(2, 5), hour(-40, 1))
    machine, causes = run(machine, going_on, 41, 48, 88)
    assert causes == []
    machine, causes = run(machine, going_on, 89)
    assert (causes, machine.state) == (["quiet"], "recovering")
    again, causes = run(machine, originator("evil", *going_on.hours, hour(-90, 1)), 91)
    assert (causes, again.incident) == (["relapse"], machine.incident)
    machine, causes = run(machine, going_on, 101, 102, 103, 400)
    assert (causes, machine.is_open) == (["quiet"], False)
    # What comes as late as that is of the past; what is new is another incident.
    machine, causes = run(machine, originator("evil", *going_on.hours, hour(-90, 50)), 103)
    assert causes == []
    assert run(machine, originator("evil", hour(-110, 3)), 112)[1] == ["evidence"]


def test_the_busiest_have_alarms_of_their_own_and_what_is_open_keeps_its_own() -> None:
    found = [originator(f"org{n}", hour(1, n)) for n in range(1, 6)]
    names = [each.name for each in gathered(found, {"org1"}, most=3)]
    assert names == ["org1", "org5", "org4", OTHER_VALUE]
    others = gathered(found, {"org1"}, most=3)[-1]
    assert (others.claimed, others.mails) == (("org3", "org2"), 5)
    assert "2 other organisations" in reading(others, Machine(), LIMITS, NOW).facts["summary"]
    opened = {each.name for each in found}
    assert {each.name for each in gathered(found, opened, most=3)} == opened
    # Nobody gets an alarm of his own by calling himself what the others are called.
    (pretender,) = gathered([originator(OTHER_VALUE, hour(1, 9))], {OTHER_VALUE})
    assert (pretender.name, pretender.mails) == (OTHER_VALUE, 9)


@given(
    found=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c", "d", OTHER_VALUE]),
            st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), max_size=4),
        ),
        max_size=12,
    ),
    opened=st.sets(st.sampled_from(["a", "b", "z", OTHER_VALUE])),
    most=st.integers(1, 4),
)
def test_every_mail_is_in_one_alarm(
    found: list[tuple[str, list[tuple[int, int]]]], opened: set[str], most: int
) -> None:
    each = [originator(name, *(hour(before, mails) for before, mails in hours)) for name, hours in found]
    alarms = gathered(each, opened, most)
    names = [alarm.name for alarm in alarms]
    assert len(names) == len(set(names))
    assert opened & {name for name, _ in found} - {OTHER_VALUE} <= set(names)
    assert sum(alarm.mails for alarm in alarms) == sum(one.mails for one in each)
    assert len(names) <= max(most, len(opened)) + 1
