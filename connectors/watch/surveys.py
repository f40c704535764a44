"""`Surveys`: what is asked of ClickHouse now and then, in a thread of its own, for it may take long to answer."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

from connectors.watch import asking, asking_mails, asking_reports
from connectors.watch.clock import EventClock
from connectors.watch.latencies import Latencies
from connectors.watch.relays import UnexpectedRelays
from connectors.watch.reports import FailingSources
from connectors.watch.sends import Sends

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connectors.clickhouse.sql import Target
    from connectors.watch.ledger import Ledger
    from connectors.watch.numbers import Numbers
    from pipelines.alarms.rules import Rule

LATENCY: Final = "delivery_latency"
STOPPED: Final = "traffic_stopped"
DMARC: Final = "dmarc_failure"
RELAY: Final = "unexpected_relay"
_REPORT_LIVE_MS: Final = 4 * 86_400_000
_REFUSALS: Final = 10_000
_Part = tuple["Rule", str]
T = TypeVar("T")


class Surveys:
    """For one thread, but for the attributes, which any may read."""

    def __init__(
        self,
        target: Target,
        ledger: Ledger,
        numbers: Numbers,
        behind: Callable[[], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Connects nowhere yet.

        Args:
            target: where ClickHouse is.
            ledger: where findings go.
            numbers: of the watch.
            behind: why what has not come may still be on its way; empty: it is not.
            clock: the wall clock, s.
        """
        self._target = target
        self._ledger = ledger
        self._numbers = numbers
        self._behind = behind
        self._clock = clock
        self._latencies: dict[_Part, Latencies] = {}
        self._sends: dict[_Part, Sends] = {}
        self._failing: dict[_Part, FailingSources] = {}
        self._relays: dict[_Part, UnexpectedRelays] = {}
        self._refused: int | None = None
        self._refusals: deque[tuple[int, int]] = deque(maxlen=_REFUSALS)
        self.event_clock = EventClock()
        self.report_clock = EventClock(_REPORT_LIVE_MS)
        """Of DMARC reports, which come days after the mail that they tell of."""
        self.mail_clock = EventClock()
        """Of received mail."""
        self.answered = 0.0
        """When ClickHouse answered last, s; 0: never."""

    def look(self, rules: Sequence[Rule], stopped: Callable[[], bool]) -> None:
        """Ask, and tell the ledger.

        Raises:
            ClickHouseError: no answer; the rest is done at the next look.
            BrokerError: Kafka does not take a transition.
        """
        wall = int(self._clock() * 1000)
        newest = asking.newest(self._target, wall)
        self._heard()
        self._look_for_refused()
        if newest is not None:
            self.event_clock.advance(newest, wall)
            self._look_at_events(rules, stopped)
        self._look_at_reports(rules, wall, stopped)
        self._look_at_mails(rules, wall, stopped)
        self._say_left_out()

    def _look_at_events(self, rules: Sequence[Rule], stopped: Callable[[], bool]) -> None:
        for latencies in _kept(self._latencies, rules, LATENCY, self._latencies_of):
            latencies.look(self._ledger, self.event_clock.now, stopped)
            self._heard()
        suspended = self._behind() if self.event_clock.live else "the newest events are not of now"
        self._trouble("traffic_stopped", suspended if self.event_clock.live else "")
        for sends in _kept(self._sends, rules, STOPPED, self._sends_of):
            if not suspended:
                sends.look(self._ledger, int(self._clock() * 1000), stopped)
                self._heard()

    def _look_at_reports(self, rules: Sequence[Rule], wall: int, stopped: Callable[[], bool]) -> None:
        wanted = _kept(self._failing, rules, DMARC, self._failing_of)
        newest = asking_reports.newest_report(self._target, wall) if wanted else None
        if newest is None:
            return
        self.report_clock.advance(newest, wall)
        for failing in wanted:
            failing.look(self._ledger, self.report_clock.now, stopped)
            self._heard()

    def _look_at_mails(self, rules: Sequence[Rule], wall: int, stopped: Callable[[], bool]) -> None:
        wanted = _kept(self._relays, rules, RELAY, self._relays_of)
        found = asking_mails.newest_mail(self._target, wall) if wanted else None
        if found is None:
            return
        self.mail_clock.advance(found.newest, wall)
        for relays in wanted:
            relays.look(self._ledger, found.unexpected_landed, self.mail_clock.now, stopped)
            self._heard()

    def time_of(self, signal: str) -> int:
        """Now, in the time of the data that a signal is about, ms; 0: it has none, or there are none."""
        clocks = {LATENCY: self.event_clock, DMARC: self.report_clock, RELAY: self.mail_clock}
        return clocks[signal].now if signal in clocks else 0

    def refused_since(self, time: int) -> int:
        """Dead letters that the sink made in ClickHouse since `time` (ms)."""
        return sum(rows for at, rows in list(self._refusals) if at > time)

    def _heard(self) -> None:
        self.answered = self._clock()

    def _look_for_refused(self) -> None:
        found = asking.refused_by_sink(self._target)
        if self._refused is not None and found > self._refused:
            self._refusals.append((int(self._clock() * 1000), found - self._refused))
        self._refused = found

    def _latencies_of(self, rule: Rule, dimension: str) -> Latencies:
        return Latencies(self._target, rule, dimension)

    def _sends_of(self, rule: Rule, dimension: str) -> Sends:
        return Sends(self._target, rule, dimension)

    def _failing_of(self, rule: Rule, dimension: str) -> FailingSources:
        return FailingSources(self._target, rule, dimension)

    def _relays_of(self, rule: Rule, dimension: str) -> UnexpectedRelays:
        return UnexpectedRelays(self._target, rule, dimension)

    def _say_left_out(self) -> None:
        left_out = sorted(
            {
                f"rule {rule.name} has more {dimension} values than are looked at: name fewer in `values`"
                for parts in (self._latencies, self._sends, self._failing, self._relays)
                for (rule, dimension), part in parts.items()
                if part.left_out
            }
        )
        self._trouble("values", "; ".join(left_out))

    def _trouble(self, what: str, why: str) -> None:
        if why:
            self._numbers.troubles[what] = why
        else:
            self._numbers.troubles.pop(what, None)


def _kept(
    parts: dict[_Part, T], rules: Sequence[Rule], signal: str, make: Callable[[Rule, str], T]
) -> list[T]:
    """The parts of the rules in force; those of a rule that changed begin anew, others go on."""
    wanted = [
        (rule, dimension)
        for rule in rules
        if rule.signal == signal and rule.values
        for dimension in rule.dimensions
    ]
    for gone in parts.keys() - set(wanted):
        del parts[gone]
    for part in wanted:
        if part not in parts:
            parts[part] = make(*part)
    return [parts[part] for part in wanted]
