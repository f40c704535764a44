"""`UnexpectedRelays`: whom mail claims to be relayed by, of one rule; kept as mails land, and their evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from connectors.watch import asking_mails
from pipelines.alarms.reading import Reading
from pipelines.alarms.relays import HOUR_MS, Limits, Originator, gathered, reading
from schemas.counters import OTHER_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.clickhouse.sql import Target
    from connectors.watch.ledger import Ledger
    from pipelines.alarms.machine import Machine
    from pipelines.alarms.rules import Rule

MOST_VALUES: Final = 1000
"""Organisations that a rule looks at; of more those that most mails name."""
_AGAIN_MS: Final = HOUR_MS
"""What is known is asked for again after so long, whether anything landed or not."""


class UnexpectedRelays:
    """Of one rule and its dimension; for one thread."""

    def __init__(self, target: Target, rule: Rule, dimension: str) -> None:
        self._target = target
        self._rule = rule
        self._dimension = dimension
        self._limits = Limits(rule.severity, rule.options["mails"], rule.options["hours"])
        self._known: list[Originator] = []
        self._landed = -1
        self._asked = 0
        self.left_out = 0
        """1 when there are more than `MOST_VALUES`."""

    def look(self, ledger: Ledger, landed: int, now: int, stopped: Callable[[], bool]) -> None:
        """Evaluate each organisation at `now` (ms): the wall clock, or where a replay of old mail has come to.

        Args:
            ledger: where findings go.
            landed: when a mail of an unexpected relay landed last, ms.
            now: what was received later is not looked at.
            stopped: whether to give up.

        Raises:
            ClickHouseError: no answer.
            BrokerError: Kafka does not take a transition.
        """
        opened = ledger.open_values(self._rule, self._dimension)
        if landed != self._landed or now >= self._asked + _AGAIN_MS:
            self._take_in(opened, now)
            self._landed, self._asked = landed, now
        for originator in self._known:
            if stopped():
                return
            ledger.tell(self._rule, self._dimension, originator.name, self._reader(originator, now))
        for value in opened - {each.name for each in self._known}:
            # No mail names it any more: it ends as quiet.
            ledger.tell(self._rule, self._dimension, value, lambda _: Reading(now))

    def _take_in(self, opened: set[str], now: int) -> None:
        # What is older than both makes no alarm, nor does it keep one from ending.
        hours = max(self._limits.hours, self._rule.quiet_hours)
        found, more = asking_mails.unexpected(self._target, now - int(hours * HOUR_MS), now, MOST_VALUES)
        self.left_out = int(more)
        covered = [each for each in found if self._rule.covers(each.name)]
        self._known = [each for each in gathered(covered, opened) if self._may_be_told(each.name)]

    def _may_be_told(self, name: str) -> bool:
        return name != OTHER_VALUE or self._rule.covers(OTHER_VALUE)

    def _reader(self, originator: Originator, now: int) -> Callable[[Machine], Reading]:
        def read(machine: Machine) -> Reading:
            found = reading(originator, machine, self._limits, now)
            return replace(found, facts={**found.facts, "sql": asking_mails.query(originator)})

        return read
