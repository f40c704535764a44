"""`Sends`: when each value of a rule and dimension sent, over the weeks it is learned from; and its evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connectors.watch import asking
from pipelines.alarms import silence
from pipelines.alarms.reading import Reading
from pipelines.alarms.silence import HOUR_S, WEEK_H, Hour, Pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.clickhouse.sql import Target
    from connectors.watch.ledger import Ledger
    from pipelines.alarms.machine import Machine
    from pipelines.alarms.rules import Rule

MOST_VALUES: Final = 1000
"""Values that a rule learns in a dimension. What comes beyond is left out, and said."""
_DAY_S: Final = 24 * HOUR_S
_RECENT_S: Final = 2 * HOUR_S
"""Before the hour that runs; asked for at every look."""
_LATE_S: Final = 2 * _DAY_S
"""Asked for once an hour: what comes later is learned the next day, when all weeks are asked for again."""


class Sends:
    """Of one rule and dimension; for one thread."""

    def __init__(self, target: Target, rule: Rule, dimension: str) -> None:
        self._target = target
        self._rule = rule
        self._dimension = dimension
        self._hours: dict[str, dict[int, Hour]] = {}
        self._patterns: dict[str, Pattern | None] = {}
        self._whole_at = 0
        self._learned_at = 0
        self.left_out = 0
        """Values beyond `MOST_VALUES`, at least."""

    def look(self, ledger: Ledger, now: int, stopped: Callable[[], bool]) -> None:
        """Evaluate each value at `now`, which is the wall clock (ms): in a replay nothing stops.

        Raises:
            ClickHouseError: no answer.
            BrokerError: Kafka does not take a transition.
        """
        hour = now // 1000 // HOUR_S * HOUR_S
        self._take_in(hour, stopped)
        if stopped():
            return
        if hour != self._learned_at:
            self._learn(hour)
        known = {value: pattern for value, pattern in self._patterns.items() if pattern is not None}
        for value, pattern in known.items():
            ledger.tell(self._rule, self._dimension, value, self._reader(value, pattern, now))
        for value in ledger.open_values(self._rule, self._dimension) - known.keys():
            # Nothing is known of it any more: it ends as quiet.
            ledger.tell(self._rule, self._dimension, value, lambda _: Reading(now))

    def _take_in(self, hour: int, stopped: Callable[[], bool]) -> None:
        # A week and a day more than is learned from, which ends with the last send.
        begin = hour - (int(self._rule.options["weeks"]) + 1) * WEEK_H * HOUR_S - _DAY_S
        if hour >= self._whole_at + _DAY_S:
            since = begin
        elif hour != self._learned_at:
            since = hour - _LATE_S
        else:
            since = hour - _RECENT_S
        while since < hour + HOUR_S and not stopped():
            until = min(since + _DAY_S, hour + HOUR_S)
            for value, at, of in asking.sent(self._target, self._dimension, since, until, self._rule.values):
                self._set(value, at, of)
            since = until
        if hour >= self._whole_at + _DAY_S and not stopped():
            self._whole_at = hour
        self._forget(begin)

    def _forget(self, begin: int) -> None:
        for value, of_value in list(self._hours.items()):
            for old in [at for at in of_value if at < begin]:
                del of_value[old]
            if not of_value:
                del self._hours[value]
                self._patterns.pop(value, None)

    def _set(self, value: str, at: int, of: Hour) -> None:
        if value not in self._hours:
            if not self._rule.covers(value):
                return
            if len(self._hours) >= MOST_VALUES:
                self.left_out += 1
                return
        self._hours.setdefault(value, {})[at] = of

    def _learn(self, hour: int) -> None:
        options = self._rule.options
        self._patterns = {
            value: silence.learn(
                of_value, _before(of_value, hour), int(options["weeks"]), options["least_expected"]
            )
            for value, of_value in self._hours.items()
        }
        self._learned_at = hour

    def _reader(self, value: str, pattern: Pattern, now: int) -> Callable[[Machine], Reading]:
        last_send = min(now, _last_send(self._hours[value]))
        limits = silence.Limits(
            self._rule.severity, self._rule.threshold, self._rule.options["silent_minutes"]
        )

        def read(machine: Machine) -> Reading:
            begin = max(last_send, min(machine.since * 1000, now))
            return silence.reading(silence.silence(pattern, begin, now), machine, limits, last_send, now)

        return read


def _before(hours: dict[int, Hour], hour: int) -> int:
    """Where the history that is learned from ends: the silence that is judged is no part of it, for a week."""
    last = max(hours)
    return min(last, hour) if hour - last < WEEK_H * HOUR_S else hour


def _last_send(hours: dict[int, Hour]) -> int:
    """The end of the last minute in which anything was sent, ms."""
    last = max(hours)
    return (last + hours[last].minutes.bit_length() * 60) * 1000
