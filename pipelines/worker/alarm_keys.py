"""`AlarmKeys`: which alarm keys are due, and what becomes of them. Reads what is remembered, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pipelines.alarms.detector import Detector
from pipelines.alarms.machine import Machine, retire
from pipelines.alarms.series import HOUR_MS
from pipelines.alarms.signals import SHARES
from pipelines.alarms.transition import HIT_TIME
from pipelines.alarms.walk import FOREVER, Way, walk
from pipelines.counting.days import NEVER, key_of, names_of
from pipelines.worker import alarm_table
from pipelines.worker.alarm_series import SeriesOf, had_hits
from pipelines.worker.touched import BIT, EVERY_HIT
from schemas.alarms import alarm_key, parts_of
from schemas.counters import OTHER_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipelines.alarms.rules import Rule, Rules
    from pipelines.alarms.rules_file import RulesFile
    from pipelines.alarms.transition import Transition
    from pipelines.worker.alarm_table import Alarms, Machines
    from pipelines.worker.counters import Counters
    from pipelines.worker.tables import Record
    from pipelines.worker.touched import Key, Touch

LIVE_MS: Final = 2 * HOUR_MS
"""Event time that is no further behind the clock is that of live traffic."""
_REMEMBERED: Final = 100_000
"""Keys of which it is remembered when their last hits happened; of more the last."""


@dataclass(frozen=True, slots=True)
class Place:
    """An alarm key, and where its state is."""

    partition: int
    rule: str
    dimension: str
    value: str

    @property
    def key(self) -> str:
        """The alarm key."""
        return alarm_key(self.rule, self.dimension, self.value)


@dataclass(frozen=True, slots=True)
class Change:
    """What came of an alarm key."""

    place: Place
    machine: Machine
    told: Sequence[Transition]


@dataclass(frozen=True, slots=True)
class Instant:
    """When keys are evaluated."""

    clock: int
    """Event time, ms."""
    now: int
    """The wall clock, ms."""
    restoring: bool = False
    """For the first time after a start from ClickHouse."""

    @property
    def hour(self) -> int:
        """The last boundary of hours that is not after it."""
        return self.clock // HOUR_MS * HOUR_MS

    @property
    def live(self) -> bool:
        """Whether this is no replay of old data."""
        return self.now - self.clock <= LIVE_MS


class AlarmKeys:
    """Of the partitions that this worker has counters of."""

    def __init__(self, counters: Counters, alarms: Alarms, rules_file: RulesFile) -> None:
        self._counters = counters
        self._alarms = alarms
        self._rules_file = rules_file
        self._series = SeriesOf()
        self._hit_times: dict[Key, int] = {}
        """ms. Only says how old an alarm's evidence is, so a restart may forget it."""

    @property
    def rules(self) -> Rules:
        """In force."""
        return self._rules_file.rules

    def clock(self, now: int) -> int:
        """Event time by what was counted and looked at, ms, given the clock; `NEVER` before any event."""
        end = self.end()
        return NEVER if end == NEVER else max(min(now, end), *(held.looked for _, held in self._partitions()))

    def end(self) -> int:
        """The end of the newest hour that was counted in any partition, ms; `NEVER` before any event."""
        newest = max((days.watermark for days in list(self._counters.held().values())), default=NEVER)
        return NEVER if newest == NEVER else newest * 1000 + HOUR_MS

    def due(self, touches: Iterable[Touch], at: Instant, *, every_open: bool) -> dict[Place, Rule]:
        """What is to be evaluated: what got hits, and open incidents, all of them or those of hours that have ended."""
        found: dict[Place, Rule] = {}
        for partition, dimension, value, mask in (*touches, *(self._had_hits() if at.restoring else ())):
            for rule in self.rules.of(dimension, value):
                if BIT[rule.of or rule.signal] & mask:
                    found[Place(partition, rule.name, dimension, value)] = rule
        for partition, held in self._partitions():
            if every_open or at.restoring or at.hour > held.looked:
                for place in _open(partition, held):
                    if (known := self.rule_of(place)) is not None:
                        found[place] = known
        return found

    def note(self, times: Mapping[Key, int]) -> None:
        """Take in when hits happened, ms; those of closed hours too, which count once they are recounted."""
        for key, time in times.items():
            self._hit_times.pop(key, None)
            self._hit_times[key] = time
        while len(self._hit_times) > _REMEMBERED:
            del self._hit_times[next(iter(self._hit_times))]

    def evaluate(self, place: Place, rule: Rule, at: Instant) -> Change | None:
        """What becomes of a key up to an instant; None: nothing that is to be told."""
        held = self._alarms.of(place.partition)
        machine = held.get(place.key) or Machine()
        signal = rule.of or rule.signal
        days = self._counters.of(place.partition)
        series = self._series.get(place.partition, days, key_of(place.dimension, place.value), signal)
        detector = Detector(rule, series, SHARES[signal].late_h)
        after = _restored_after(machine, rule, at) if at.restoring else held.looked
        machine, told = walk(machine, rule, detector, series, Way(after, at.clock))
        return Change(place, machine, [self._dated(place, each) for each in told]) if told else None

    def _dated(self, place: Place, told: Transition) -> Transition:
        """With when the hits happened that it rests on, as far as that is known."""
        time = self._hit_times.get((place.partition, place.dimension, place.value))
        if time is None or "hits" not in told.facts:
            return told
        said = datetime.fromtimestamp(time // 1000, UTC).isoformat()
        return replace(told, facts={**told.facts, HIT_TIME: said})

    def without_rule(self, clock: int) -> Iterator[Change]:
        """The end of incidents that no rule covers any more."""
        for partition, held in self._partitions():
            for place in _open(partition, held):
                if self.rule_of(place) is None:
                    machine, told = retire(held.held[place.key].machine, clock)
                    if told is not None:
                        yield Change(place, machine, [told])

    def rule_of(self, place: Place) -> Rule | None:
        """The rule that covers an alarm key."""
        rule = self.rules.by_name.get(place.rule)
        return rule if rule in self.rules.of(place.dimension, place.value) else None

    def looked(self, at: Instant) -> Iterator[Record]:
        """That partitions were looked at: once an hour of event time."""
        for partition, held in self._partitions():
            if at.hour > held.looked:
                yield alarm_table.looked(partition, at.hour)

    def _partitions(self) -> list[tuple[int, Machines]]:
        return [(partition, self._alarms.of(partition)) for partition in list(self._counters.held())]

    def _had_hits(self) -> Iterator[Touch]:
        """All keys that rules look at and that have hits."""
        for partition, days in list(self._counters.held().items()):
            for dimension in self.rules.dimensions:
                for key in list(days.keys(dimension)):
                    value = names_of(key)[1]
                    if value != OTHER_VALUE and had_hits(days, key):
                        yield partition, dimension, value, EVERY_HIT


def _open(partition: int, held: Machines) -> list[Place]:
    return [Place(partition, *parts_of(key)) for key in sorted(held.open)]


def _restored_after(machine: Machine, rule: Rule, at: Instant) -> int:
    """Where to go on from: ClickHouse does not say how far keys were looked at, nor has it what was told last.

    Of live traffic that is now, but for incidents; in the past of a replay all is evaluated again. But for drifts: what
    is usual is taken from the older hours, so an hour that was quiet may seem a drift once those have become more.
    """
    return at.hour if (at.live or rule.of) and not machine.is_open else FOREVER
