from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.alarms.backlog import Progress, Standing
from pipelines.alarms.levels import CLEAR_S, Known, Level, hold, reading
from pipelines.alarms.machine import Machine, advance
from pipelines.alarms.rules import Rule

RULE = Rule("pipeline", "pipeline", hold_hours=0.1)
T0 = 1_767_225_600_000


def level(measured: float, *, check: str = "lag", for_s: float = 0.0) -> Level:
    return Level("sink", check, measured, 10, "a sentence", for_s=for_s)


def step(known: Known, machine: Machine, now: int, *levels: Level) -> tuple[Known, Machine]:
    known = hold(known, levels, now)
    told = reading(known, "sink", machine, "warning", now)
    return known, machine if told is None else advance(machine, RULE, told)[0]


def test_a_peak_that_passes_tells_nobody_and_one_that_stays_does() -> None:
    known: Known = {}
    machine = Machine()
    for second, measured in ((0, 11), (20, 11), (21, 10), (22, 11), (81, 11)):
        known, machine = step(known, machine, T0 + second * 1000, level(measured, for_s=60))
    assert machine.seq == 0
    known, machine = step(known, machine, T0 + 82_000, level(99, for_s=60))
    assert (machine.state, machine.severity, machine.rate, machine.limit) == ("firing", "warning", 99, 10)


def test_the_worse_of_two_checks_is_told_and_both_have_to_clear() -> None:
    known, machine = step({}, Machine(), T0, level(11), level(40, check="age"))
    assert machine.rate == 40
    at = T0
    for second in range(10, 200, 10):
        at = T0 + second * 1000
        known, machine = step(known, machine, at, level(11), level(0, check="age"))
    assert machine.state == "firing"
    # The other one cannot be measured any more: it was above when it last was.
    for second in range(10, 200, 10):
        known, machine = step(known, machine, at + second * 1000, level(0, check="age"))
    assert machine.state == "firing"
    at += 200_000
    known, machine = step(known, machine, at, level(0), level(0, check="age"))
    known, machine = step(known, machine, at + 59_000, level(0), level(0, check="age"))
    assert machine.state == "firing"
    known, machine = step(known, machine, at + 60_000, level(0), level(0, check="age"))
    assert machine.state == "recovering"


def test_without_news_nothing_changes() -> None:
    known, machine = step({}, Machine(), T0, level(11))
    assert reading(known, "sink", machine, "warning", T0 + 1) is None
    assert reading(known, "other", machine, "warning", T0) is None


@given(st.lists(st.tuples(st.integers(1, 90), st.booleans()), max_size=60))
def test_states_follow_levels_and_only_what_lasts(looks: list[tuple[int, bool]]) -> None:
    """Against a model that remembers every look."""
    known: Known = {}
    machine = Machine()
    history: list[tuple[int, bool]] = []
    now = T0
    for seconds, above in looks:
        now += seconds * 1000
        before = machine
        known, machine = step(known, machine, now, level(20 if above else 1, for_s=30))
        history.append((now, above))
        run = [at for at, was in history if was == above]
        start = max([at for at, was in history if was != above], default=0)
        began = min(at for at in run if at > start)
        if machine.state == "firing" and before.state != "firing":
            assert above
            assert now - began >= 30_000
        if machine.state == "recovering" and before.state == "firing":
            assert not above
            assert now - began >= CLEAR_S * 1000
        if before.state in ("ok", "resolved") and above and now - began >= 30_000:
            assert machine.state == "firing"
        assert machine.seq - before.seq in (0, 1)


def test_what_stands_is_the_least_of_a_whole_span() -> None:
    standing = Standing(300)
    assert standing.look(T0, 500) is None
    assert standing.look(T0 + 290_000, 400) is None
    assert standing.look(T0 + 300_000, 600) == 400
    assert standing.look(T0 + 310_000, 700) == 400
    assert standing.look(T0 + 700_000, 700) == 700
    assert standing.look(T0 + 710_000, 0) == 0


def test_a_group_is_stuck_while_it_reads_nothing_of_what_there_is() -> None:
    progress = Progress()
    place = ("ses.events", 0)
    assert progress.stuck_s(T0, {place: 5}, 0) == 0
    # A record that came after a day of none has not waited for a day.
    assert progress.stuck_s(T0 + 86_400_000, {place: 5}, 3) == 0
    assert progress.stuck_s(T0 + 86_430_000, {place: 5}, 4) == 30
    assert progress.stuck_s(T0 + 86_431_000, {place: 6}, 3) == 0
    assert progress.stuck_s(T0 + 86_432_000, {place: 6}, 3) == 1
