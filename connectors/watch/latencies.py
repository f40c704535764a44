"""`Latencies`: deliveries of a rule and dimension by value and cohort hour, kept as they land; and their evaluation."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from connectors.watch import asking
from pipelines.alarms.latency import PERCENTILE, Counts, Latency, measured
from pipelines.alarms.machine import advance
from pipelines.alarms.series import HOUR_S
from schemas.alarms import alarm_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from connectors.clickhouse.sql import Target
    from connectors.watch.ledger import Ledger
    from pipelines.alarms.machine import Machine
    from pipelines.alarms.reading import Reading
    from pipelines.alarms.rules import Rule

MOST_VALUES: Final = 5000
"""Values that a rule measures in a dimension. What comes beyond is left out, and said."""
_AT_ONCE: Final = 24
"""Cohort hours in a query."""
_OVERLAP_MS: Final = 60_000
"""What landed so long before the last look is looked at again: an insert is seen later than it says it landed."""


class Latencies:
    """Of one rule and dimension; for one thread."""

    def __init__(self, target: Target, rule: Rule, dimension: str) -> None:
        self._target = target
        self._rule = rule
        self._dimension = dimension
        self._counted: dict[str, dict[int, Counts]] = {}
        self._touched: set[str] = set()
        self._landed = 0
        self._evaluated = 0
        self.left_out = 0
        """Values beyond `MOST_VALUES`, at least."""

    def look(self, ledger: Ledger, now: int, stopped: Callable[[], bool]) -> None:
        """Take in what landed since the last look, and evaluate up to `now` (event time, ms).

        Raises:
            ClickHouseError: no answer; what was not evaluated is at the next look.
            BrokerError: Kafka does not take a transition.
        """
        begin = now // 1000 - self._rule.slow_hours * HOUR_S
        landed = self._take_in(min(begin, self._evaluated // 1000 or begin), now, stopped)
        before = self._evaluated or begin * 1000
        opened = ledger.open_values(self._rule, self._dimension)
        for value in sorted(self._touched | opened):
            if stopped():
                return
            self._evaluate(ledger, value, before, now)
        self._landed = max(self._landed, landed)
        self._evaluated, self._touched = now, set()
        self._forget(begin)

    def _take_in(self, since: int, now: int, stopped: Callable[[], bool]) -> int:
        """Ask for the cohort hours that something landed for; until when that is, ms."""
        hours, landed = asking.delivered_since(self._target, max(0, self._landed - _OVERLAP_MS), since, now)
        limits = [limit for _, limit in self._rule.limits]
        for start in range(0, len(hours), _AT_ONCE):
            if stopped():
                break
            some = hours[start : start + _AT_ONCE]
            for row in asking.delivered(self._target, self._dimension, some, limits, self._rule.values):
                if self._rule.covers(row.value) and self._set(row):
                    self._touched.add(row.value)
        return landed

    def _set(self, row: asking.Delivered) -> bool:
        """Whether it changes anything."""
        if row.value not in self._counted and len(self._counted) >= MOST_VALUES:
            self.left_out += 1
            return False
        of_value = self._counted.setdefault(row.value, {})
        counts = (row.deliveries, *row.slow)
        changed = of_value.get(row.hour) != counts
        of_value[row.hour] = counts
        return changed

    def _evaluate(self, ledger: Ledger, value: str, before: int, now: int) -> None:
        """At each hour boundary of event time that matters, then at `now`."""
        counted = self._counted.get(value, {})
        test = Latency(self._rule, counted)
        key = self._key(value)
        at = before
        while True:
            instant = next(test.instants(ledger.of(key), at, now), None)
            if instant is None:
                return
            ledger.tell(self._rule, self._dimension, value, self._reader(test, counted, value, instant))
            if instant >= now:
                return
            at = instant

    def _reader(
        self, test: Latency, counted: Mapping[int, Counts], value: str, instant: int
    ) -> Callable[[Machine], Reading]:
        def read(machine: Machine) -> Reading:
            found = test.reading(machine, instant)
            if advance(machine, self._rule, found)[1] is None:
                return found
            hours = [hour for hour in counted if _since(found) <= hour < instant / 1000]
            share = self._rule.options[PERCENTILE]
            return measured(
                found,
                asking.percentile(self._target, self._dimension, value, hours, share) if hours else None,
            )

        return read

    def _forget(self, begin: int) -> None:
        for value, of_value in list(self._counted.items()):
            for hour in [hour for hour in of_value if hour < begin]:
                del of_value[hour]
            if not of_value:
                del self._counted[value]

    def _key(self, value: str) -> str:
        return alarm_key(self._rule.name, self._dimension, value)


def _since(reading: Reading) -> float:
    """Cohort hour from which on the evidence is strongest, seconds."""
    since = reading.facts.get("since")
    return datetime.fromisoformat(since).timestamp() if since else 0.0
