"""A crash at every position: between each call of SES and each row, before and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from connectors.response.ses import Status

pytestmark = pytest.mark.sockets
HOUR = 3600
POSITIONS = range(1, 17)
"""Of a pause and its resume there are eight effects, each with a moment before and one after it."""


class Crash(BaseException):
    """The process is gone."""


class Fuse:
    """Burns through at the n-th moment."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash


class Guarded:
    """The real switch, with a fuse before and after each call."""

    def __init__(self, sending: Any, fuse: Fuse) -> None:
        self._sending = sending
        self._fuse = fuse

    def look(self, target: Any) -> Status:
        return self._call("look", target)

    def pause(self, target: Any) -> None:
        self._call("pause", target)

    def resume(self, target: Any, was: str) -> None:
        self._call("resume", target, was)

    def close(self) -> None:
        pass

    def _call(self, name: str, *given: Any) -> Any:
        self._fuse()
        answer = getattr(self._sending, name)(*given)
        self._fuse()
        return answer


class Life:
    """One instance after another; each hears the transitions that Kafka still has."""

    def __init__(self, world: Any, moment: int, alarms: list[Any]) -> None:
        self._world = world
        self._alarms = alarms
        fuse = Fuse(moment)
        world.actions.before = world.actions.after = fuse
        self._guarded = Guarded(world.sending, fuse)
        self.crashes = 0
        self.start()

    def start(self) -> None:
        self._responder = self._world.make_responder(self._guarded)
        for alarm in self._alarms:
            self._responder.hear(alarm)

    def step(self) -> None:
        try:
            self._responder.step()
        except Crash:
            self.crashes += 1
            self.start()

    def run(self, seconds: int, every: int = 30) -> None:
        for _ in range(0, seconds, every):
            self.step()
            self._world.clock.now += every


@pytest.mark.parametrize("moment", POSITIONS)
@pytest.mark.parametrize("target", ["bulk", "forgiven"])
def test_a_crash_anywhere_leaves_nothing_paused_and_nothing_done_twice(
    world: Any, make_alarm: Any, moment: int, target: str
) -> None:
    dimension = "configuration_set" if target in world.ses.sets else "tenant"
    life = Life(world, moment, [make_alarm(target, dimension)])
    life.run(240)
    assert [name for name, _ in world.ses.changes] == [target]
    world.clock.now += 24 * HOUR
    life.run(240)
    assert life.crashes == 1
    on, off = (True, False) if target in world.ses.sets else ("REINSTATED", "DISABLED")
    assert world.ses.changes == [(target, off), (target, on)]
    assert world.make_responder()._ledger.open() == []


@pytest.mark.parametrize("moment", range(1, 9))
def test_a_crash_while_nobody_hears_of_the_alarm_again(world: Any, make_alarm: Any, moment: int) -> None:
    """The transition is too old, or over, when the next one starts: what was begun is found out all the same."""
    alarms = [make_alarm()]
    life = Life(world, moment, alarms)
    alarms.append(make_alarm(seq=2, state="recovering", cause="clean"))
    life.run(240)
    assert life.crashes == 1
    paused = world.ses.changes == [("bulk", False)]
    assert paused or world.ses.changes == []
    assert len(world.make_responder()._ledger.open()) == paused
    world.clock.now += 25 * HOUR
    life.run(120)
    assert world.ses.sets["bulk"] is True
    assert world.make_responder()._ledger.open() == []


@pytest.mark.parametrize("moment", range(1, 5))
def test_a_crash_while_somebody_else_has_it_disabled(world: Any, make_alarm: Any, moment: int) -> None:
    life = Life(world, moment, [make_alarm("off")])
    life.run(240)
    world.clock.now += 100 * HOUR
    life.run(240)
    assert life.crashes == 1
    assert world.ses.changes == []
    assert world.actions.told()[-1] == ("pause", "configuration_set:off", "skipped")


def test_rows_in_any_order_and_twice_make_the_same_ledger(
    make_responder: Any, make_alarm: Any, actions: Any, clock: Any
) -> None:
    responder = make_responder()
    responder.hear(make_alarm())
    responder.hear(make_alarm("news"))
    responder.step()
    clock.now += 10
    pause = responder._ledger.open()[0]
    responder._deeds.resume(pause, "enough", "ann")
    actions.rows[:] = [*reversed(actions.rows), *actions.rows]
    again = make_responder()._ledger
    assert [str(each.target) for each in again.open()] == ["configuration_set:news"]
    assert again.resumed_by(make_alarm()) == "ann"
    assert again.resumed_by(make_alarm("news")) == ""
