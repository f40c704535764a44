"""A mail is sent at most once, and never forgotten: whoever is killed at whatever moment, and whoever else is at it."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.notify.page import NotDelivered
from schemas.forwards import FINAL

THROTTLED = NotDelivered("SES is asked too often")
REJECTED = NotDelivered("SES does not take it", for_good=True)
UNCLEAR = NotDelivered("SES did not answer", unknown=True)

SCRIPTS: dict[str, list[Any]] = {
    "taken": [],
    "throttled": [THROTTLED, THROTTLED],
    "rejected": [REJECTED],
    "unclear, taken": [(UNCLEAR, "taken")],
    "unclear, not taken": [UNCLEAR],
    "throttled, then unclear": [THROTTLED, (UNCLEAR, "taken")],
}
TEXTS = {"one refused": "[[to: ann@a.example, eve@evil.example]]", "nobody": "hello"}
CASES = [*((script, "one refused") for script in SCRIPTS), ("taken", "nobody")]


class Killer:
    """Kills at the n-th moment; afterwards at none."""

    def __init__(self, world: Any, number: int) -> None:
        self.left = number
        self.fired = ""
        world.moment = self
        self._crash = world.Crash

    def __call__(self, name: str) -> None:
        self.left -= 1
        if self.left < 0 and not self.fired:
            self.fired = name
            raise self._crash


def final(world: Any) -> list[str]:
    return [row["outcome"] for row in world.log if row["outcome"] in FINAL]


def check(world: Any, where: str) -> None:
    """At most one mail; an end; and somebody has it: the recipient, or whoever reads the fallback topic."""
    assert len(world.mailbox) <= 1, where
    assert final(world), where
    settled = [told for told in world.told if told["outcome"] in {"unknown", "fallback"}]
    assert "sent" in final(world) or settled, where
    if "sent" in final(world):
        assert len(world.mailbox) == 1, where


@pytest.mark.parametrize(("script", "text"), CASES)
def test_killed_twice_at_any_moments(world: Any, script: str, text: str) -> None:
    kills = 0
    for first in range(60):
        for second in range(0, 60, 1 + first % 2):
            world.__init__()
            world.answers = list(SCRIPTS[script])
            mail = world.add(world.raw(TEXTS[text]))
            fired = []
            for number in (first, second):
                killer = Killer(world, number)
                try:
                    world.life().run(mail)
                except world.Crash:
                    fired.append(killer.fired)
            world.moment = lambda _: None
            world.life().run(mail)
            check(world, f"{script}, {text}: {fired}")
            kills += len(fired)
            if len(fired) < 2:
                break
        if not fired:
            break
    assert kills >= 4


class Intruder:
    """At the n-th moment lets something else happen; once."""

    def __init__(self, world: Any, number: int, happens: Any) -> None:
        self.left = number
        self.fired = ""
        self._happens = happens
        world.moment = self
        self._world = world

    def __call__(self, name: str) -> None:
        self.left -= 1
        if self.left < 0 and not self.fired:
            self.fired = name
            self._world.moment = lambda _: None
            self._happens()
            self._world.moment = self


@pytest.mark.parametrize("hours", [0, 1])
@pytest.mark.parametrize("script", SCRIPTS)
def test_two_at_once_one_of_which_sleeps_at_any_moment(world: Any, script: str, hours: int) -> None:
    """The sleeper knew nothing of the other when it fell asleep, and goes on as if no time had passed."""
    for number in range(60):
        world.__init__()
        world.answers = list(SCRIPTS[script])
        mail = world.add(world.raw(TEXTS["one refused"]))
        sleeper, other = world.life(), world.life()

        def other_runs(other: Any = other, mail: Any = mail) -> None:
            world.now += hours * 3600
            other.run(mail, seconds=30)

        intruder = Intruder(world, number, other_runs)
        sleeper.run(mail)
        world.moment = lambda _: None
        other.run(mail)
        world.life().run(mail)
        check(world, f"{script}, {hours} h: asleep {intruder.fired}")
        if not intruder.fired:
            break
    assert number > 3


def test_three_at_once_with_naps_within_naps(world: Any) -> None:
    for outer in range(30):
        for inner in range(outer % 2, 30, 2):
            world.__init__()
            world.answers = [THROTTLED]
            mail = world.add(world.raw())
            lives = [world.life() for _ in range(3)]

            def third(lives: Any = lives, mail: Any = mail) -> None:
                lives[2].run(mail, seconds=200)

            def second(lives: Any = lives, mail: Any = mail, inner: int = inner) -> None:
                Intruder(world, inner, lambda: third(lives, mail))
                lives[1].run(mail, seconds=200)
                world.moment = lambda _: None

            intruder = Intruder(world, outer, second)
            lives[0].run(mail)
            world.moment = lambda _: None
            world.life().run(mail)
            check(world, f"{outer} {inner}")
        if not intruder.fired:
            break


def test_an_interrupted_attempt_is_settled_only_when_nobody_can_be_at_it(world: Any) -> None:
    mail = world.add(world.raw())
    Killer(world, 2)
    with pytest.raises(world.Crash):
        world.life().run(mail)
    assert world.outcomes() == ["intended"]
    world.moment = lambda _: None
    life = world.life()
    life.run(mail, seconds=100)
    assert world.outcomes() == ["intended"]
    life.run()
    assert world.outcomes() == ["intended", "unknown"]
    assert [told["reason"] for told in world.told] == ["interrupted"]
    assert world.told[0]["links"]


def test_whoever_takes_long_from_intent_to_sending_does_not_send(world: Any) -> None:
    mail = world.add(world.raw())

    def sleep() -> None:
        world.now += 60

    Intruder(world, 1, sleep)
    world.life().run(mail)
    assert world.outcomes() == ["intended", "deferred", "intended", "sent"]
    assert len(world.mailbox) == 1
