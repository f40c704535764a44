"""What the thread agents do with batches: a join, then its effects, in an order that survives a crash anywhere.

    facts and index  →  members to mail.threads  →  feedback to ses.events  →  feedback that waits no more  →  acks

A crash before the members or the events: the same blocks come again, and facts that they brought first have all that
follows from them told once more. A crash after an event and before it is noted that nothing waits: it is an event that
comes twice, and counts once.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipelines.threads import mails, members, sent
from pipelines.threads.feedback import event_of
from pipelines.threads.join import Joined, Received, expire, join_mails, join_sent
from pipelines.worker.records import Event, Outlet, open_all, reject
from pipelines.worker.rejects import letter
from schemas.avro import newest
from schemas.blocks import BlockBuilder, MalformedBlock
from schemas.blocks import encode as encode_block
from schemas.dead_letters import dead_letter
from schemas.partitioning import of_message, of_tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import polars as pl

    from pipelines.threads.facts import Fact
    from pipelines.threads.index import Place
    from pipelines.threads.join import Threads, Told
    from pipelines.worker.numbers import Numbers
    from pipelines.worker.records import Opened, Send
    from pipelines.worker.rejects import Message, Rejects
    from pipelines.worker.thread_table import ThreadMemory
    from schemas.dead_letters import DeadLetter
    from schemas.events import SesEvent

_PIECE: Final = 4
"""Blocks of members sent at once: a thread of very many is told in pieces, and others get their turn between."""
_EXPIRED: Final = 5_000
"""Facts looked at in one step, whether they are too old."""
_MS_PER_HOUR: Final = 3_600_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ThreadWays:
    """Where results go."""

    members: Outlet
    events: Send
    inbound: Send
    outbound: Send


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long what is remembered, in days of event time."""

    outbound_days: int
    thread_days: int


class ThreadStep:
    """Blocks of mails received, and of messages sent, in; members of threads, and events out.

    A block's mark is its offset, doubled, and one more of `mail.outbound`: both topics are of one partition.
    """

    def __init__(
        self,
        ways: ThreadWays,
        memory: ThreadMemory,
        keeping: Keeping,
        rejects: Rejects,
        *,
        now_ms: Callable[[], int],
        numbers: Numbers,
    ) -> None:
        self.lock: Final = asyncio.Lock()
        self._ways = ways
        self._memory = memory
        self._keeping = keeping
        self._rejects = rejects
        self._now_ms = now_ms
        self._numbers = numbers

    async def mails(self, events: Sequence[Event]) -> None:
        """Join mails received."""
        async with self.lock:
            with self._numbers.thread.timed(len(events)):
                opened, letters = self._open(events)
                by_partition: dict[int, list[Received]] = defaultdict(list)
                strays: list[tuple[int, dict[str, Any]]] = []
                for message, block in opened:
                    try:
                        rows = mails.read(block)
                    except MalformedBlock as error:
                        letters[id(message)] = letter(message, "thread", error)
                        continue
                    for row in rows:
                        place = self._place(message.partition, row["tenant"])
                        if place != message.partition:
                            strays.append((place, dict(row)))
                        else:
                            by_partition[place].append(Received(message.offset * 2, row))
                await self._reject(events, letters)
                await self._send_on(self._ways.inbound, mails.RECORD, strays)
                for partition, found in by_partition.items():
                    state = self._memory.of(partition)
                    await self._effects(partition, state, join_mails(state, found, self._hour()))
                    self._numbers.mails += len(found)
                self._note()

    async def sent(self, events: Sequence[Event]) -> None:
        """Join messages sent."""
        async with self.lock:
            with self._numbers.sent.timed(len(events)):
                opened, letters = self._open(events)
                by_partition: dict[int, list[tuple[int, pl.DataFrame]]] = defaultdict(list)
                strays: list[tuple[int, dict[str, Any]]] = []
                for message, block in opened:
                    try:
                        frame = sent.read(block)
                    except MalformedBlock as error:
                        letters[id(message)] = letter(message, "thread", error)
                        continue
                    kept, others = self._ours(message, frame)
                    by_partition[message.partition].append((message.offset * 2 + 1, kept))
                    strays += others
                await self._reject(events, letters)
                await self._send_on(self._ways.outbound, sent.RECORD, strays)
                for partition, blocks in by_partition.items():
                    state = self._memory.of(partition)
                    await self._effects(partition, state, join_sent(state, blocks, self._hour()))
                    self._numbers.outbound += sum(frame.height for _, frame in blocks)
                self._note()

    @property
    def owes(self) -> bool:
        """Whether something is to be told that no record will bring again. To be asked before anything else."""
        return self._memory.owes

    async def tell_owed(self) -> None:
        """Tell what follows from messages that were restored from ClickHouse, and is not there."""
        async with self.lock:
            for partition, state in self._memory.held().items():
                await self._tell(partition, state)
                await self._tell_events(partition, self._memory.owed.pop(partition, ()))
            self._memory.owes = False

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        async with self.lock:
            return

    async def _effects(self, partition: int, state: Threads, joined: Joined) -> None:
        await self._memory.save(partition, joined.facts, joined.rows)
        await self._tell(partition, state)
        await self._tell_events(partition, joined.told)
        if joined.settled:
            await self._memory.settle(partition, joined.settled)
        await self._expire(partition, state)

    async def _tell(self, partition: int, state: Threads) -> None:
        outlet = self._ways.members
        builder = BlockBuilder(newest("thread_member"), outlet.framing)
        blocks: list[tuple[int, bytes]] = []
        for fact, thread in state.graph.tell():
            builder.add(members.row(fact, thread))
            self._numbers.members += 1
            if builder.full:
                blocks.append((partition, builder.take()))
                if len(blocks) == _PIECE:
                    await outlet.send(blocks)
                    blocks = []
        if builder.count:
            blocks.append((partition, builder.take()))
        if blocks:
            await outlet.send(blocks)

    async def _tell_events(self, partition: int, told: Sequence[Told]) -> None:
        found: list[SesEvent] = []
        letters: list[DeadLetter] = []
        for each in told:
            try:
                event = event_of(each.mail, each.feedback, each.message)
            except Exception as error:  # noqa: BLE001 - one report must not stop the others, and it is told
                letters.append(_unusable(each, error))
                self._rejects.note(bad=True)
                continue
            self._rejects.note(bad=False)
            if event is not None:
                found.append(event)
        outlet = self._ways.members
        if letters:
            await outlet.send_dead_letters(
                [(partition, encode_block("dead_letter", letters, outlet.framing))]
            )
        by_partition: dict[int, list[SesEvent]] = defaultdict(list)
        for event in found:
            by_partition[of_message(event["message_id"], outlet.partitions)].append(event)
        if by_partition:
            await self._ways.events(
                [(p, encode_block("ses_event", rows, outlet.framing)) for p, rows in by_partition.items()]
            )
        self._numbers.feedback += len(found)

    async def _expire(self, partition: int, state: Threads) -> None:
        keeping = self._keeping
        rows: list[tuple[Place, bytes]] = []

        def delete(place: Place, name: bytes) -> None:
            rows.append((place, name))

        gone: list[Fact] = expire(state, keeping.outbound_days, keeping.thread_days, _EXPIRED, delete)
        if gone or rows:
            await self._memory.forget(partition, gone, rows)

    def _open(self, events: Sequence[Event]) -> tuple[Opened, dict[int, DeadLetter]]:
        return open_all([event.message for event in events], "thread", self._ways.members.framing)

    async def _reject(self, events: Sequence[Event], letters: dict[int, DeadLetter]) -> None:
        await reject([event.message for event in events], letters, self._rejects, self._ways.members)
        self._numbers.thread.rejected += len(letters)

    def _place(self, partition: int, tenant: str) -> int:
        """Where a row belongs: elsewhere if its topic has grown since, or its writer did not know better."""
        scope = self._memory.of(partition).scope(tenant)
        return of_tenant(scope, self._ways.members.partitions)

    def _ours(
        self, message: Message, frame: pl.DataFrame
    ) -> tuple[pl.DataFrame, list[tuple[int, dict[str, Any]]]]:
        tenants = frame.get_column("tenant")
        places = {each: self._place(message.partition, each) for each in tenants.unique().to_list()}
        if all(place == message.partition for place in places.values()):
            return frame, []
        ours = [each for each, place in places.items() if place == message.partition]
        others = frame.filter(~tenants.is_in(ours))
        return frame.filter(tenants.is_in(ours)), [
            (places[row["tenant"]], row | {"subject": ""}) for row in others.iter_rows(named=True)
        ]

    async def _send_on(self, send: Send, record: str, strays: Iterable[tuple[int, dict[str, Any]]]) -> None:
        """Send rows on to the partitions in which they are looked for."""
        blocks: list[tuple[int, bytes]] = []
        builders: dict[int, BlockBuilder] = {}
        for place, row in strays:
            builder = builders.setdefault(place, BlockBuilder(newest(record), self._ways.members.framing))
            builder.add(row)
            self._numbers.strays += 1
            if builder.full:
                blocks.append((place, builder.take()))
        blocks += [(place, builder.take()) for place, builder in builders.items() if builder.count]
        if blocks:
            await send(blocks)

    def _note(self) -> None:
        held = self._memory.held().values()
        self._numbers.indexed = sum(len(state.index) for state in held)
        self._numbers.threaded = sum(len(state.graph.facts) for state in held)

    def _hour(self) -> int:
        return self._now_ms() // _MS_PER_HOUR


def _unusable(told: Told, error: Exception) -> DeadLetter:
    mail = told.mail
    _log.error("Feedback of mail %s makes no event.", mail["mail_id"].hex(), exc_info=error)
    return dead_letter(
        time=mail["received_time"],
        stage="thread",
        cause="no_event",
        detail="".join(traceback.format_exception(error)),
        source=f"mail:{mail['mail_id'].hex()}",
        payload=mail["mail_id"],
    )
