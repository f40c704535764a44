"""What the worker does about alarms: after each batch of the rate agent, and every few seconds without one.

What comes of it is decided elsewhere (`alarm_keys`); here is when, and the order of effects that survives a crash
anywhere: the machines with what is to be told of them, then that, then that it was told. What a life of the worker did
not get to tell the next one tells first, byte for byte.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipelines.alarms.rules_file import Refused
from pipelines.alarms.transition import encode, record_key, row
from pipelines.counting.days import NEVER
from pipelines.worker import alarm_table
from pipelines.worker.alarm_keys import AlarmKeys, Change, Instant, Place
from pipelines.worker.touched import hit_times, touched
from schemas.blocks import encode as encode_block
from schemas.dead_letters import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import polars as pl

    from pipelines.alarms.machine import Machine
    from pipelines.alarms.rules import Rule
    from pipelines.alarms.rules_file import RulesFile
    from pipelines.worker.alarm_table import Alarms
    from pipelines.worker.counters import Counters
    from pipelines.worker.numbers import Numbers
    from pipelines.worker.records import Send, SendKeyed
    from pipelines.worker.rejects import Rejects
    from pipelines.worker.tables import Record
    from pipelines.worker.touched import Touch
    from schemas.blocks import Framing
    from schemas.dead_letters import DeadLetter

RULES_EVERY_MS: Final = 3000
_AT_ONCE: Final = 32
"""Keys evaluated before others on the event loop get their turn."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where transitions and dead letters go."""

    alarms: SendKeyed
    dead_letters: Send
    framing: Framing


class AlarmStep:
    """The alarm keys of this worker's partitions.

    `lock` is held by whoever changes their state, or that of the counters they rest on: `look`, `resend` and `change`
    are for those who hold it.
    """

    def __init__(
        self,
        outlets: Outlets,
        counters: Counters,
        alarms: Alarms,
        rules: RulesFile,
        rejects: Rejects,
        *,
        now_ms: Callable[[], int],
        numbers: Numbers,
    ) -> None:
        self.lock: Final = asyncio.Lock()
        self.keys: Final = AlarmKeys(counters, alarms, rules)
        self._outlets = outlets
        self._alarms = alarms
        self._rules_file = rules
        self._rejects = rejects
        self._now_ms = now_ms
        self._numbers = numbers
        self._clock = NEVER
        self._rules_read = 0
        self._restoring = alarms.restored

    def event_clock(self) -> int:
        """Event time now, ms; `NEVER` before any event.

        It is the end of the newest hour of any partition, and as far as time has gone on since; never ahead of the
        clock.
        """
        return max(self.keys.clock(self._now_ms()), self._clock)

    async def look(self, deltas: pl.DataFrame, answers: pl.DataFrame) -> None:
        """Evaluate what a batch has touched, once its counters are safe; returns once all that came of it is.

        Args:
            deltas: as in `touched`.
            answers: as in `touched`.
        """
        self._read_rules()
        self.keys.note(hit_times(deltas, self.keys.rules.dimensions))
        clock = self.event_clock()
        if clock != NEVER:
            found = touched(deltas, answers, self.keys.rules.dimensions)
            await self._go_on(clock, found, every_open=False)

    async def tick(self, ready: Callable[[], bool]) -> None:
        """Let event time go on with the clock, if it is near; nothing when not `ready` once it is our turn."""
        async with self.lock:
            clock = self.event_clock()
            if not ready() or clock == NEVER:
                return
            self._read_rules()
            now = self._now_ms()
            # Only time that went on with the clock before is ahead of what was counted.
            if Instant(clock, now).live or clock > self.keys.end():
                await self._go_on(max(now, clock), (), every_open=True)
            else:
                # Batches may be on their way whose hours nobody has looked at: they alone move old time.
                await self.resend()
                await self.change(list(self.keys.without_rule(clock)))

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        async with self.lock:
            return

    async def _go_on(self, clock: int, touches: Iterable[Touch], *, every_open: bool) -> None:
        """Evaluate what is due up to `clock` (event time, ms)."""
        await self.resend()
        at = Instant(clock, self._now_ms(), self._restoring)
        await self.change(list(self.keys.without_rule(clock)))
        changes, letters = await self._evaluate(self.keys.due(touches, at, every_open=every_open), at)
        if letters:
            await self._outlets.dead_letters(
                [
                    (partition, encode_block("dead_letter", [each], self._outlets.framing))
                    for partition, each in letters
                ]
            )
        self._clock, self._restoring = max(self._clock, clock), False
        await self.change(changes, list(self.keys.looked(at)))
        self._numbers.alarms_open = sum(len(held.open) for held in self._alarms.held().values())

    async def _evaluate(
        self, due: Mapping[Place, Rule], at: Instant
    ) -> tuple[list[Change], list[tuple[int, DeadLetter]]]:
        """What came of keys, and dead letters of those that cannot be evaluated."""
        changes, letters = [], []
        for number, (place, rule) in enumerate(due.items(), 1):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                change = self.keys.evaluate(place, rule, at)
            except Exception as error:  # noqa: BLE001 - one key must not stop the others, and it is told
                letters.append((place.partition, _letter(place, error, at.clock)))
                self._rejects.note(bad=True)
                continue
            self._rejects.note(bad=False)
            if change is not None:
                changes.append(change)
        self._numbers.evaluations += len(due)
        return changes, letters

    async def resend(self) -> None:
        """Send what an earlier life may not have."""
        for partition, held in list(self._alarms.held().items()):
            for key in sorted(held.unsent):
                found = held.held[key]
                for value in found.outbox:
                    await self._outlets.alarms([(partition, record_key(key), value)])
                await self._alarms.save([alarm_table.record(partition, key, found.machine)])
                self._numbers.transitions += len(found.outbox)

    async def change(self, changes: Sequence[Change], looked: Sequence[Record] = ()) -> None:
        """Let machines be what they have become, and tell it; then remember how far partitions were looked at."""
        outboxes = [self._outbox(change) for change in changes]
        pairs = list(zip(changes, outboxes, strict=True))
        if changes:
            await self._alarms.save([_record(change, outbox) for change, outbox in pairs])
        # Of a key each is safe before the next is sent: of those sent last compaction keeps the last.
        for number in range(max(map(len, outboxes), default=0)):
            await self._outlets.alarms(
                [
                    (change.place.partition, record_key(change.place.key), outbox[number])
                    for change, outbox in pairs
                    if number < len(outbox)
                ]
            )
        self._numbers.transitions += sum(map(len, outboxes))
        told = [*(_record(change, ()) for change in changes), *looked]
        if told:
            await self._alarms.save(told)

    def _outbox(self, change: Change) -> list[bytes]:
        place, now = change.place, self._now_ms()
        return [
            encode(row(each, place.rule, place.dimension, place.value, now), self._outlets.framing)
            for each in change.told
        ]

    def machine(self, place: Place) -> Machine | None:
        """The machine of an alarm key; None: nothing ever happened to it."""
        return self._alarms.of(place.partition).get(place.key)

    def _read_rules(self) -> None:
        """Look every few seconds whether they have changed."""
        now = self._now_ms()
        if abs(now - self._rules_read) < RULES_EVERY_MS:
            return
        self._rules_read = now
        found = self._rules_file.look()
        if found is not None:
            _log.log(logging.ERROR if isinstance(found, Refused) else logging.WARNING, "%s", found.sentence)
        self._numbers.rules_refused = bool(self._rules_file.refused)


def _record(change: Change, outbox: Sequence[bytes]) -> Record:
    return alarm_table.record(change.place.partition, change.place.key, change.machine, outbox)


def _letter(place: Place, error: Exception, clock: int) -> DeadLetter:
    _log.error("Alarm %s cannot be evaluated.", place.key, exc_info=error)
    return dead_letter(
        time=clock,
        stage="alarm",
        cause="evaluation_failed",
        detail="".join(traceback.format_exception(error)),
        source=f"alarm:{place.key}",
        payload=record_key(place.key),
    )
