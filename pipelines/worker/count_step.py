"""What the count agent does with a batch: a pure step, then its effects, in an order that survives a crash anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.counting import deltas
from pipelines.counting.count import Counted, count
from pipelines.counting.reading import Source, check
from pipelines.worker.records import Event, Outlet, open_all, readable, reject
from schemas.blocks import Block, MalformedBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.counting.hours import Opening
    from pipelines.worker.numbers import Numbers
    from pipelines.worker.rejects import Message, Rejects
    from pipelines.worker.seen import SeenEvents


class CountStep:
    """Blocks of events in, blocks of deltas out.

    The order: deltas, then the memory of what was counted, then (by the caller) the acks. A crash before the
    memory repeats the same deltas, which the rate agent knows by their block; a crash after it finds them
    safe.
    """

    def __init__(
        self,
        outlet: Outlet,
        seen: SeenEvents,
        dimensions: tuple[str, ...],
        rejects: Rejects,
        *,
        opening: Callable[[], Opening],
        numbers: Numbers,
    ) -> None:
        self._outlet = outlet
        self._seen = seen
        self._dimensions = dimensions
        self._rejects = rejects
        self._opening = opening
        self._numbers = numbers

    async def __call__(self, events: Sequence[Event]) -> None:
        """Count a batch."""
        with self._numbers.count.timed(len(events)):
            await self._step(events)

    async def _step(self, events: Sequence[Event]) -> None:
        messages = [event.message for event in events]
        good, letters = open_all(messages, "count", self._outlet.framing)
        sources = [Source(message.partition, message.offset, block) for message, block in good]
        try:
            counted = self._count(sources)
        except MalformedBlock:
            good, more = readable(good, "count", _check_events)
            letters |= more
            sources = [Source(message.partition, message.offset, block) for message, block in good]
            counted = self._count(sources)
        await reject(messages, letters, self._rejects, self._outlet)
        self._numbers.count.rejected += len(letters)
        if counted is None:
            return
        if counted.deltas.height:
            await self._outlet.send(
                deltas.encode(counted.deltas, self._outlet.partitions, self._outlet.framing)
            )
        await self._seen.remember(counted.fresh, counted.watermarks)
        self._note(counted)

    def _count(self, sources: Sequence[Source]) -> Counted | None:
        if not sources:
            return None
        watermarks = self._seen.watermarks({source.partition for source in sources})
        return count(sources, self._seen.look, self._opening(), watermarks, self._dimensions)

    def _note(self, counted: Counted) -> None:
        self._numbers.events += counted.events
        self._numbers.duplicates += counted.duplicates
        self._numbers.closed += counted.closed
        self._numbers.remembered = self._seen.remembered


def _check_events(message: Message, block: Block) -> None:
    check(Source(message.partition, message.offset, block))
