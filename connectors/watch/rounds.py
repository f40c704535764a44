"""`Rounds`: what a watch does from its start to its stop."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from connectors.clickhouse.sql import Through
from connectors.watch import asking
from connectors.watch.ledger import Ledger
from connectors.watch.listening import Ears
from connectors.watch.measuring import Measuring, noted
from connectors.watch.pipeline import SIGNAL, Pipeline
from connectors.watch.surveys import Surveys
from schemas.alarms import SURVEYED_SIGNALS, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from connectors.clickhouse.sql import Target
    from connectors.notify.numbers import RouteFailure
    from connectors.settings import Settings
    from connectors.watch.numbers import Numbers
    from pipelines.alarms.rules import Rule
    from pipelines.alarms.rules_file import RulesFile
    from schemas.alarms import AlarmOrder
    from schemas.blocks import Framing

LOG: Final = logging.getLogger(__name__)
_JOIN_S: Final = 15.0
_STALE_S: Final = 60.0
"""How far the sink is has to be known from no longer ago than that."""
_ASLEEP_S: Final = 300.0
"""So long without a look the machine was asleep, or its clock was set: that is as good as a start."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How often to look, and when to doubt."""

    look_s: float = 10.0
    """At the pipeline."""
    survey_s: float = 20.0
    """At ClickHouse; longer where a survey took longer than that, so that it has half of the time at most."""
    hear_s: float = 0.5
    """Orders are waited for so long at a time."""
    again_s: float = 2.0
    """After Kafka failed."""
    grace_s: float = 600.0
    """After the start nothing counts as stopped yet: what came while nobody ran is still on its way."""
    behind_s: float = 120.0
    """While what has not landed is older than that, traffic that is missing may be on its way."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a watch is told; see `Watch`."""

    settings: Settings
    rules_file: RulesFile
    target: Target
    failures: Callable[[], Iterable[RouteFailure]]
    framing: Framing
    policy: Policy
    clock: Callable[[], float]


class Rounds:
    """Owns its connections and a thread for ClickHouse."""

    def __init__(self, given: Given, numbers: Numbers) -> None:
        """Connects nowhere yet."""
        kafka, clock = given.settings.kafka, given.clock
        self._given = given
        self._policy = given.policy
        self._clock = clock
        self._numbers = numbers
        self._ledger = Ledger(kafka, given.framing, clock)
        self._ears = Ears(kafka, given.framing, clock)
        self._surveys = Surveys(given.target, self._ledger, numbers, self._behind, clock)
        self._measuring = Measuring(
            given.settings,
            self._ears,
            self._surveys,
            rules_file=given.rules_file,
            failures=given.failures,
            numbers=numbers,
        )
        self._pipeline = Pipeline()
        self._started = 0.0
        self._looked = 0

    def run(self, stop: threading.Event) -> None:
        """Take over what is known of each alarm, then go round until told to stop."""
        while not stop.is_set() and not self._take_over(stop):
            stop.wait(self._policy.again_s)
        self._started = self._clock()
        surveying = threading.Thread(target=self._survey, args=(stop,), name="watch-surveys", daemon=True)
        surveying.start()
        next_look = 0.0
        while not stop.is_set():
            self._hear(stop)
            if time.monotonic() >= next_look and not stop.is_set():
                self._look()
                next_look = time.monotonic() + self._policy.look_s
        surveying.join(_JOIN_S)

    def close(self) -> None:
        """Disconnect."""
        for part in (self._measuring, self._ears, self._ledger):
            with noted(self._numbers, "closing"):
                part.close()

    def _take_over(self, stop: threading.Event) -> bool:
        """Read the state of all alarms; whether it is whole.

        A Kafka that keeps `ses.alarms` has all of it, and ClickHouse adds to it if it answers. One that forgets has
        it only in ClickHouse.
        """
        with noted(self._numbers, "memory"):
            self._ledger.remember(asking.machines(self._given.target, SURVEYED_SIGNALS))
        if "memory" in self._numbers.troubles and isinstance(self._given.target, Through):
            return False
        self._numbers.troubles.pop("memory", None)
        with noted(self._numbers, "alarms"):
            self._ledger.read_topic(stop.is_set)
        return "alarms" not in self._numbers.troubles

    def _hear(self, stop: threading.Event) -> None:
        """Do what operators order; what was not done comes again."""
        with noted(self._numbers, "orders"):
            orders = self._ears.orders(self._policy.hear_s)
            for order in orders:
                self._obey(order)
            if orders:
                self._ears.done()
        if "orders" in self._numbers.troubles:
            self._ears.close()
            stop.wait(self._policy.again_s)

    def _obey(self, order: AlarmOrder) -> None:
        """Leave alone what is another's: the worker reads the same orders."""
        key = order["alarm_key"]
        try:
            name, _, _ = parts_of(key)
        except ValueError:
            return
        rule = self._given.rules_file.rules.by_name.get(name)
        ours = rule.signal in SURVEYED_SIGNALS if rule is not None else self._ledger.of(key).seq > 0
        if ours and self._ledger.obey(order, rule, self._now(rule)):
            self._numbers.orders += 1

    def _look(self) -> None:
        with noted(self._numbers, "rules"):
            if (said := self._given.rules_file.look()) is not None:
                LOG.warning("%s", said.sentence)
            self._retire()
        now = int(self._clock() * 1000)
        if now - self._looked > _ASLEEP_S * 1000:
            self._started = now / 1000
        self._looked = now
        rules = [rule for rule in self._given.rules_file.rules.surveyed if rule.signal == SIGNAL]
        with noted(self._numbers, "pipeline"):
            measured = self._measuring.take(rules, now, self._started)
            self._pipeline.look(rules, measured, self._ledger, now)
        self._numbers.looks += 1
        self._numbers.transitions = self._ledger.sent
        self._numbers.firing = self._ledger.firing
        if trouble := self._ledger.trouble:
            self._numbers.troubles["state"] = trouble

    def _retire(self) -> None:
        """End what is open though no rule is about it any more."""
        by_name = self._given.rules_file.rules.by_name
        for key in self._ledger.open_keys():
            name, dimension, value = parts_of(key)
            rule = by_name.get(name)
            if rule is None or not _is_about(rule, dimension, value):
                self._ledger.retire(key, self._now(rule))

    def _survey(self, stop: threading.Event) -> None:
        while not stop.is_set():
            began = time.monotonic()
            with noted(self._numbers, "surveys"):
                self._surveys.look(self._given.rules_file.rules.surveyed, stop.is_set)
            took = self._numbers.survey_seconds = time.monotonic() - began
            self._numbers.surveys += 1
            stop.wait(max(self._policy.survey_s, took))

    def _behind(self) -> str:
        """Why traffic that is missing may be on its way; empty: it is not."""
        policy, measuring = self._policy, self._measuring
        if self._clock() - self._started < policy.grace_s:
            return f"the watch has run for less than {policy.grace_s:.0f} s"
        if measuring.behind_s is None or self._clock() - measuring.measured / 1000 > _STALE_S:
            return "it is not known how far the sink is"
        if measuring.behind_s > policy.behind_s:
            return f"the sink is {measuring.behind_s:.0f} s behind"
        return f"messages wait in queue {measuring.waiting}" if measuring.waiting else ""

    def _now(self, rule: Rule | None) -> int:
        """Now, in the time that a rule is evaluated in, ms."""
        of_data = self._surveys.time_of(rule.signal) if rule is not None else 0
        return of_data or int(self._clock() * 1000)


def _is_about(rule: Rule, dimension: str, value: str) -> bool:
    """Whether a rule is about a value of a dimension; those of the pipeline have a dimension of their own."""
    return (dimension in rule.dimensions or rule.signal == SIGNAL) and rule.covers(value)
