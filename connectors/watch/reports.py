"""`FailingSources`: who sends as us without alignment, of one rule; kept as reports land, and their evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connectors.watch import asking_reports
from pipelines.alarms.reading import Reading
from pipelines.alarms.strangers import DAY_MS, Limits, Source, reading
from schemas.counters import PAIR_SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.clickhouse.sql import Target
    from connectors.watch.ledger import Ledger
    from pipelines.alarms.machine import Machine
    from pipelines.alarms.rules import Rule

MOST_VALUES: Final = 1000
"""Sources that a rule looks at; of more those with the most messages in a day."""
_AGAIN_MS: Final = 3_600_000
"""What is known is asked for again after so long, whether anything landed or not."""
_REMEMBERED_DAYS: Final = 30
"""Days of an incident that still goes on are looked at for so long."""


class FailingSources:
    """Of one rule and its dimension; for one thread."""

    def __init__(self, target: Target, rule: Rule, dimension: str) -> None:
        self._target = target
        self._rule = rule
        self._dimension = dimension
        options = rule.options
        self._limits = Limits(rule.severity, options["messages"], options["new_days"], options["learn_days"])
        self._sources: dict[str, Source] = {}
        self._landed = -1
        self._asked = 0
        self.left_out = 0
        """1 when there are more than `MOST_VALUES`."""

    def look(self, ledger: Ledger, now: int, stopped: Callable[[], bool]) -> None:
        """Evaluate each source at `now` (ms): the wall clock, or where a replay of old reports has come to.

        Raises:
            ClickHouseError: no answer.
            BrokerError: Kafka does not take a transition.
        """
        opened = ledger.open_values(self._rule, self._dimension)
        landed = asking_reports.last_landed(self._target)
        if landed != self._landed or now >= self._asked + _AGAIN_MS:
            self._take_in(opened, now)
            self._landed, self._asked = landed, now
        for value, source in self._sources.items():
            if stopped():
                return
            ledger.tell(self._rule, self._dimension, value, self._reader(source, now))
        for value in opened - self._sources.keys():
            # No report has it any more: it ends as quiet.
            ledger.tell(self._rule, self._dimension, value, lambda _: Reading(now))

    def _take_in(self, opened: set[str], now: int) -> None:
        since = now - int(max(self._limits.new_days, _REMEMBERED_DAYS)) * DAY_MS
        wanted = [(domain, name) for domain, _, name in (value.partition(PAIR_SEPARATOR) for value in opened)]
        # Half of the limit: an incident that goes on with less than opens one.
        least = max(self._limits.messages / 2, 1)
        found, more = asking_reports.failing(
            self._target, since, now, least=least, wanted=wanted, most=MOST_VALUES
        )
        self.left_out = int(more)
        values = ((f"{source.domain}{PAIR_SEPARATOR}{source.name}", source) for source in found)
        self._sources = {value: source for value, source in values if self._rule.covers(value)}

    def _reader(self, source: Source, now: int) -> Callable[[Machine], Reading]:
        return lambda machine: reading(source, machine, self._limits, now)
