"""What the agents do with a batch.

A pure step each, then its effects, in an order that survives a crash anywhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.counting import deltas, rate
from pipelines.counting.count import Counted, Source, check, count
from pipelines.counting.fold import fold
from pipelines.worker.rejects import Message, Rejects, letter
from schemas.blocks import MAX_ROWS, Block, BlockError, Framing, MalformedBlock, encode, open_block
from schemas.partitioning import of_key

if TYPE_CHECKING:
    import polars as pl

    from pipelines.worker.state import Counters, SeenEvents
    from schemas.dead_letters import DeadLetter

Send = Callable[[Sequence[tuple[int, bytes]]], Awaitable[None]]
"""Send blocks to partitions of one topic; returns once the broker has them all.

Of a partition each block is safe before the next is sent: marks say that all blocks before them were applied.
"""


class Event(Protocol):
    """What steps read of a Faust event."""

    message: Message


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where a step's results go, and how they are framed."""

    send: Send
    send_dead_letters: Send
    framing: Framing
    partitions: int


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
        good, letters = _open(messages, "count", self._outlet.framing)
        sources = [Source(message.partition, message.offset, block) for message, block in good]
        try:
            counted = self._count(sources)
        except MalformedBlock:
            good, more = _readable(good, "count", _check_events)
            letters |= more
            sources = [Source(message.partition, message.offset, block) for message, block in good]
            counted = self._count(sources)
        await _reject(messages, letters, self._rejects, self._outlet)
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


class RateStep:
    """Blocks of deltas in, blocks of rate rows out.

    The order: states, then rows, then (by the caller) the acks. A crash before the rows finds the deltas
    applied, and sends the rows all the same.
    """

    def __init__(
        self, outlet: Outlet, counters: Counters, rejects: Rejects, now_us: Callable[[], int]
    ) -> None:
        self._outlet = outlet
        self._counters = counters
        self._rejects = rejects
        self._now_us = now_us

    async def __call__(self, events: Sequence[Event]) -> None:
        """Fold a batch."""
        messages = [event.message for event in events]
        good, letters = _open(messages, "rate", self._outlet.framing)
        try:
            found = deltas.read([block for _, block in good])
        except MalformedBlock:
            good, more = _readable(good, "rate", _check_deltas)
            letters |= more
            found = deltas.read([block for _, block in good])
        await _reject(messages, letters, self._rejects, self._outlet)
        states, cells = self._fold(found)
        await self._counters.put(states)
        await self._outlet.send(self._blocks(rate.rows(cells)))

    def _fold(self, found: pl.DataFrame) -> tuple[list[tuple[str, str, bytes]], list[rate.KeyHour]]:
        """Apply deltas: the states to write and the rows to send."""
        folded = fold(found, self._load)
        now = self._now_us()
        cells = []
        for key, known in folded.items():
            version = rate.next_version(known.state, now, self._counters.floor)
            hours = known.state.hours
            cells += [
                rate.KeyHour(*key, hour, version, hours[hour])
                for hour in sorted(known.dirty)
                if hour in hours
            ]
        return [(*key, rate.pack(known.state)) for key, known in folded.items()], cells

    def _load(self, dimension: str, value: str) -> rate.State:
        packed = self._counters.get(dimension, value)
        return rate.unpack(packed) if packed else rate.State()

    def _blocks(self, rows: Sequence[dict[str, Any]]) -> list[tuple[int, bytes]]:
        by_partition: dict[int, list[dict[str, Any]]] = {}
        for row in rows:
            target = of_key(row["dimension"], row["value"], self._outlet.partitions)
            by_partition.setdefault(target, []).append(row)
        return [
            (target, encode("rate_row", chosen[start : start + MAX_ROWS], self._outlet.framing))
            for target, chosen in by_partition.items()
            for start in range(0, len(chosen), MAX_ROWS)
        ]


_Opened = list[tuple[Message, Block]]


def _open(messages: Sequence[Message], stage: str, framing: Framing) -> tuple[_Opened, dict[int, DeadLetter]]:
    """The blocks of records, and dead letters (by identity of the record) of those that are none."""
    good, letters = [], {}
    for message in messages:
        try:
            good.append((message, open_block(message.value or b"", framing)))
        except BlockError as error:
            letters[id(message)] = letter(message, stage, error)
    return good, letters


def _readable(
    opened: _Opened, stage: str, check_one: Callable[[Message, Block], None]
) -> tuple[_Opened, dict[int, DeadLetter]]:
    """Tell the records whose rows decode from the others, one by one."""
    good, letters = [], {}
    for message, block in opened:
        try:
            check_one(message, block)
            good.append((message, block))
        except MalformedBlock as error:
            letters[id(message)] = letter(message, stage, error)
    return good, letters


def _check_events(message: Message, block: Block) -> None:
    check(Source(message.partition, message.offset, block))


def _check_deltas(_: Message, block: Block) -> None:
    deltas.read([block])


async def _reject(
    messages: Sequence[Message], letters: dict[int, DeadLetter], rejects: Rejects, outlet: Outlet
) -> None:
    """Send the dead letters, then look whether they are too many."""
    if letters:
        await outlet.send_dead_letters(
            [
                (message.partition, encode("dead_letter", [letters[id(message)]], outlet.framing))
                for message in messages
                if id(message) in letters
            ]
        )
    for message in messages:
        rejects.note(bad=id(message) in letters)
