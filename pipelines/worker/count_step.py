"""What the count agent does with a batch: a pure step, then its effects, in an order that survives a crash anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.counting import deltas
from pipelines.counting.count import Counted, Source, check, count
from pipelines.worker.records import Event, Outlet, open_all, readable, reject
from schemas.blocks import Block, MalformedBlock

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pipelines.worker.rejects import Message, Rejects
    from pipelines.worker.seen import SeenEvents


class CountStep:
    """Blocks of events in, blocks of deltas out.

    The order: deltas, then the memory of what was counted, then (by the caller) the acks. A crash before the
    memory repeats the same deltas, which the rate agent knows by their block; a crash after it finds them
    safe.
    """

    def __init__(
        self, outlet: Outlet, seen: SeenEvents, dimensions: Collection[str], rejects: Rejects
    ) -> None:
        self._outlet = outlet
        self._seen = seen
        self._dimensions = dimensions
        self._rejects = rejects

    async def __call__(self, events: Sequence[Event]) -> None:
        """Count a batch."""
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
        if counted is None:
            return
        if counted.deltas.height:
            await self._outlet.send(
                deltas.encode(counted.deltas, self._outlet.partitions, self._outlet.framing)
            )
        offsets = {source.partition: source.offset for source in sources}
        await self._seen.remember(counted.fresh, offsets)

    def _count(self, sources: Sequence[Source]) -> Counted | None:
        return count(sources, self._seen.look, self._dimensions) if sources else None


def _check_events(message: Message, block: Block) -> None:
    check(Source(message.partition, message.offset, block))
