"""What the rate agent does with a batch: a pure step, then its effects, in an order that survives a crash anywhere."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from pipelines.counting import answers, deltas, rate, rate_rows
from pipelines.counting.caps import Capped, Caps
from pipelines.counting.rating import Batch, Policy, Rating, expired
from pipelines.worker.counters import unreadable
from pipelines.worker.records import Event, Opened, Outlet, open_all, readable, reject
from schemas.blocks import Block, MalformedBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipelines.counting.days import Days
    from pipelines.worker.alarm_step import AlarmStep
    from pipelines.worker.counters import Counters
    from pipelines.worker.numbers import Numbers
    from pipelines.worker.records import Send
    from pipelines.worker.rejects import Message, Rejects

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ways:
    """Where the results go."""

    rates: Outlet
    requests: Send
    """To `ses.recounts`."""
    forwards: Send
    """To `ses.counts`."""


class RateStep:
    """Blocks of deltas and answers in; blocks of rate rows, requests for recounts and forwarded deltas out.

    The order: watermarks, states, decisions of the caps, rows, requests, forwarded deltas, alarms, then (by the
    caller) the acks. A crash before the rows finds the deltas applied, and does all that follows all the same. Recounts
    read from the rows which values are of `(other)`: so they are on their way before anything is asked.
    """

    def __init__(
        self,
        ways: Ways,
        counters: Counters,
        policy: Policy,
        rejects: Rejects,
        *,
        now_us: Callable[[], int],
        numbers: Numbers,
        alarms: AlarmStep | None = None,
    ) -> None:
        self._ways = ways
        self._outlet = ways.rates
        self._counters = counters
        self._policy = policy
        self._rejects = rejects
        self._now_us = now_us
        self._numbers = numbers
        self._alarms = alarms
        self._caps: dict[int, tuple[Days, Caps]] = {}
        self._warned: dict[str, int] = {}

    async def __call__(self, events: Sequence[Event]) -> None:
        """Fold a batch."""
        with self._numbers.rate.timed(len(events)):
            await self._fold(events)

    async def _fold(self, events: Sequence[Event]) -> None:
        messages = [event.message for event in events]
        good, letters = open_all(messages, "rate", self._outlet.framing)
        try:
            batch = self._read(good)
        except MalformedBlock:
            good, more = readable(good, "rate", _check)
            letters |= more
            batch = self._read(good)
        self._numbers.rate.rejected += len(letters)
        await reject(messages, letters, self._rejects, self._outlet)
        async with contextlib.nullcontext() if self._alarms is None else self._alarms.lock:
            await self._apply(batch, {message.partition for message, _ in good})
        self._warn()

    async def _apply(self, batch: Batch, partitions: set[int]) -> None:
        memory = {partition: self._counters.of(partition) for partition in partitions}
        caps = {partition: self._caps_of(partition, days) for partition, days in memory.items()}
        out = Rating(memory, caps, self._policy, batch).outcome()
        for records in (out.watermarks, out.states, out.caps, out.moved):
            if records:
                await self._counters.save(records)
        framing, targets = self._outlet.framing, self._outlet.partitions
        await self._outlet.send(rate_rows.encode(out.rows, targets, framing))
        await self._ways.requests(answers.requests(out.requests, targets, framing))
        if out.forwards is not None:
            await self._ways.forwards(deltas.encode(out.forwards, targets, framing))
        self._numbers.rows += len(out.rows)
        self._numbers.recounts_asked += len(out.requests)
        await self._expire(memory)
        for partition, days in memory.items():
            caps[partition].swap(days)
        if self._alarms is not None:
            await self._alarms.look(batch.deltas, batch.answers)

    def _read(self, good: Opened) -> Batch:
        """The blocks of both kinds, by columns."""
        frames = []
        for kind, read in ((answers.RECORD, answers.read), (deltas.RECORD, deltas.read)):
            # What is neither is refused as a delta.
            places = [
                at
                for at, (_, block) in enumerate(good)
                if (block.schema.record == answers.RECORD) == (kind == answers.RECORD)
            ]
            frame = read([good[at][1] for at in places])
            records = pl.DataFrame(
                {
                    "record": range(len(places)),
                    "at": places,
                    "partition": [good[at][0].partition for at in places],
                },
                schema={"record": pl.Int64, "at": pl.Int64, "partition": pl.Int64},
            )
            frames.append(
                frame.join(records, on="record", maintain_order="left").with_columns(record="at").drop("at")
            )
        return Batch(frames[1], frames[0], self._now_us(), self._counters.floor)

    def _caps_of(self, partition: int, days: Days) -> Caps:
        known = self._caps.get(partition)
        # What came back with its partition is another object.
        if known is not None and known[0] is days:
            return known[1]
        try:
            caps = Caps(self._policy.cap, days.caps)
        except rate.StateError as error:
            raise unreadable(error) from error
        self._caps[partition] = (days, caps)
        return caps

    async def _expire(self, memory: dict[int, Days]) -> None:
        """Let states of days that are over go, some at a time."""
        found = [expired(partition, days, self._policy) for partition, days in memory.items()]
        for records in ([r for first, _ in found for r in first], [r for _, then in found for r in then]):
            if records:
                await self._counters.save(records)

    def capped(self) -> dict[str, Capped]:
        """The dimensions beyond their cap, over the partitions of this worker."""
        held = self._counters.held()
        # Others have the partitions that are gone.
        self._caps = {p: known for p, known in self._caps.items() if held.get(p) is known[0]}
        return _total(caps.capped(days) for days, caps in self._caps.values())

    def _warn(self) -> None:
        """Once an hour for each dimension beyond its cap."""
        hour = self._now_us() // 1_000_000 // rate.HOUR_S
        for dimension, found in self.capped().items():
            if found.refused and self._warned.get(dimension) != hour:
                self._warned[dimension] = hour
                _log.warning(
                    "Dimension %s has more values than counting.dimension_cap: %d have counters of their own, about %d "
                    "count to (other).",
                    dimension,
                    found.admitted,
                    found.refused,
                )


def _total(parts: Iterable[dict[str, Capped]]) -> dict[str, Capped]:
    total: dict[str, Capped] = {}
    for part in parts:
        for dimension, found in part.items():
            known = total.get(dimension, Capped(0, 0))
            total[dimension] = Capped(known.admitted + found.admitted, known.refused + found.refused)
    return total


def _check(_: Message, block: Block) -> None:
    (answers.read if block.schema.record == answers.RECORD else deltas.read)([block])
