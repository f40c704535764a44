"""What the thread agents remember: messages in threads, and an index of all messages sent lately.

A join changes the state at once, and what it added is then saved; should that fail the process ends, and the next
begins with what was safe.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, Protocol

from pipelines.counting.rate import StateError
from pipelines.threads import facts as packing
from pipelines.threads import rows as rows_packing
from pipelines.threads.join import Threads
from pipelines.worker import thread_records as records
from pipelines.worker.counters import unreadable
from pipelines.worker.tables import Store, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipelines.threads.facts import Fact
    from pipelines.threads.index import Index, Merge, Place
    from pipelines.threads.join import Told

_AT_ONCE: Final = 2_000
"""Records written before others on the event loop get their turn."""
Added = tuple["Place", int, int]
"""Rows of the index: bucket, from which to which."""


class ThreadMemory(Protocol):
    """Memory of the thread agents."""

    owed: dict[int, list[Told]]
    """Of messages that were restored from ClickHouse: feedback that is to be told. Members that are, are dirty."""
    owes: bool
    """Whether anything is owed."""

    def of(self, partition: int) -> Threads:
        """What is remembered of a partition; another object once the partition was away.

        Raises:
            UnreadableState: when a later release wrote it.
        """

    def held(self) -> Mapping[int, Threads]:
        """The partitions of which something is remembered."""

    async def save(self, partition: int, facts: Sequence[Fact], rows: Sequence[Added]) -> None:
        """Make safe what was joined."""

    async def settle(self, partition: int, facts: Sequence[Fact]) -> None:
        """Make safe that feedback of these mails waits no more."""

    async def forget(
        self, partition: int, facts: Sequence[Fact], rows: Sequence[tuple[Place, bytes]]
    ) -> None:
        """These are gone: so are their records."""


def united(rows: Iterable[Added]) -> Iterator[Added]:
    """Rows that are next to each other, as one."""
    by_place: dict[Place, list[tuple[int, int]]] = {}
    for place, start, stop in rows:
        spans = by_place.setdefault(place, [])
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], stop)
        else:
            spans.append((start, stop))
    for place, spans in by_place.items():
        for start, stop in spans:
            yield place, start, stop


class _Partition:
    """A partition while its records are read, and after."""

    __slots__ = ("broken", "read", "threads")

    def __init__(self, *, apart: bool) -> None:
        self.threads = Threads(apart)
        self.read: dict[bytes, Fact] = {}
        """Facts that are not joined yet: they may still be deleted."""
        self.broken: StateError | None = None

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take a record.

        Raises:
            StateError: when it is of a later release, or damaged.
        """
        whose = records.parse(key)
        if isinstance(whose, tuple):
            index = self.threads.index
            if value is None:
                index.forget(whose, key)
            else:
                index.restore(whose, key, *rows_packing.unpacked(value))
            return
        known = self.read.get(whose)
        if value is None:
            if known is not None:
                known.names = tuple(each for each in known.names if each != key)
                if not known.names:
                    del self.read[whose]
            return
        found = packing.unpack(value)
        if known is not None:
            # Of two writers, or widened; the later knows what waits no more.
            found.names = tuple(each for each in known.names if each != key)
            found.firsts = tuple(dict.fromkeys((*known.firsts, *found.firsts)))
            found.hour = max(found.hour, known.hour)
            if found.sent:
                packing.include(found, known)
        found.names += (key,)
        self.read[whose] = found

    async def settle(self) -> None:
        """All records are read."""
        graph = self.threads.graph
        for number, fact in enumerate(self.read.values()):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            if fact.member not in graph.facts:
                graph.add(fact)
        self.read = {}
        # What follows from blocks that were not acknowledged is told when they come again.
        graph.dirty = []
        days = [day for day, _ in self.threads.index.buckets]
        hours = [fact.hour for fact in graph.facts.values()]
        self.threads.hour = max([self.threads.hour, *hours, *(day * 24 for day in days)])


class _ThreadsStore(Store):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.partitions: dict[int, _Partition] = defaultdict(self._new)

    def _new(self) -> _Partition:
        return _Partition(apart=self.table.apart)

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:  # noqa: ARG002
        """Read records of the changelog, at recovery. Faust only logs what is raised here."""
        for event in batch:
            found = self.partitions[event.message.partition]
            try:
                found.apply(event.message.key, event.message.value)
            except StateError as error:
                found.broken = error
                self.app.lost = unreadable(error)

    async def on_recovery_completed(self, active_tps: Any, standby_tps: Any) -> None:
        """Join what was read."""
        await super().on_recovery_completed(active_tps, standby_tps)
        for found in list(self.partitions.values()):
            await found.settle()


class ThreadsTable(Table):
    """`ThreadMemory` with a changelog (see `thread_records`).

    Facts are safe before the index's rows: a row alone says less than its fact. Records of rows are merged by tiers;
    a merged one is safe before those it replaces are deleted.
    """

    store_class = _ThreadsStore
    apart = False

    def configure(self, *, apart: bool) -> ThreadsTable:
        """Set what Faust's constructor has no place for: whether tenants are kept apart."""
        self.apart = apart
        self._writer = os.urandom(records.WRITER_BYTES)
        self._number = 0
        self.owed: dict[int, list[Told]] = {}
        # Nobody may look at the content before there is a loop: the table would be bound to another.
        self.owes = False
        return self

    def of(self, partition: int) -> Threads:
        """See `ThreadMemory`."""
        found: _Partition = self.data.partitions[partition]
        if found.broken is not None:
            raise unreadable(found.broken)
        return found.threads

    def held(self) -> Mapping[int, Threads]:
        """See `ThreadMemory`."""
        return {partition: found.threads for partition, found in self.data.partitions.items()}

    async def save(self, partition: int, facts: Sequence[Fact], rows: Sequence[Added]) -> None:
        """See `ThreadMemory`."""
        state = self.of(partition)
        index = state.index
        await self._put(partition, facts)
        named = [(each, self._name(each[0])) for each in united(rows)]
        await self.write(
            (partition, name, index.buckets[place].rows(start, stop).packed(0))
            for (place, start, stop), name in named
        )
        for (place, start, stop), name in named:
            index.buckets[place].note(name, 0, start, stop)
        # A partition given away meanwhile is no business of ours any more.
        if self.held().get(partition) is state:
            await self._merge(partition, index, {place for (place, _, _), _ in named})

    async def settle(self, partition: int, facts: Sequence[Fact]) -> None:
        """See `ThreadMemory`."""
        await self._put(partition, facts)
        own = {id(fact): self._fact_name(fact) for fact in facts}
        await self.write(
            (partition, name, None) for fact in facts for name in fact.names if name != own[id(fact)]
        )
        for fact in facts:
            fact.names = (own[id(fact)],)

    async def forget(
        self, partition: int, facts: Sequence[Fact], rows: Sequence[tuple[Place, bytes]]
    ) -> None:
        """See `ThreadMemory`."""
        for start in range(0, len(facts), _AT_ONCE):
            some = facts[start : start + _AT_ONCE]
            await self.write((partition, name, None) for fact in some for name in fact.names)
        await self.write((partition, name, None) for _, name in rows)

    async def _put(self, partition: int, facts: Sequence[Fact]) -> None:
        for start in range(0, len(facts), _AT_ONCE):
            some = facts[start : start + _AT_ONCE]
            await self.write((partition, self._fact_name(fact), packing.pack(fact)) for fact in some)
            for fact in some:
                if (name := self._fact_name(fact)) not in fact.names:
                    fact.names += (name,)

    async def _merge(self, partition: int, index: Index, places: Iterable[Place]) -> None:
        merges: list[tuple[Merge, bytes]] = [
            (merge, self._name(place)) for place in places for merge in index.merges(place)
        ]
        if merges:
            await self.write((partition, name, merge.rows.packed(merge.tier)) for merge, name in merges)
            for merge, name in merges:
                index.merged(merge, name)
            await self.write((partition, name, None) for merge, _ in merges for name in merge.replaced)

    def _fact_name(self, fact: Fact) -> bytes:
        return records.fact_name(fact.member, self._writer)

    def _name(self, place: Place) -> bytes:
        self._number += 1
        return records.rows_name(place, self._writer, self._number)


class PlainThreads:
    """`ThreadMemory` without a changelog."""

    def __init__(self, partitions: int, *, apart: bool) -> None:
        self._threads = [Threads(apart) for _ in range(partitions)]
        self.owed: dict[int, list[Told]] = {}
        self.owes = False

    def of(self, partition: int) -> Threads:
        """See `ThreadMemory`."""
        return self._threads[partition]

    def held(self) -> Mapping[int, Threads]:
        """See `ThreadMemory`."""
        return dict(enumerate(self._threads))

    async def save(self, *_: object) -> None:
        """See `ThreadMemory`."""

    async def settle(self, *_: object) -> None:
        """See `ThreadMemory`."""

    async def forget(self, *_: object) -> None:
        """See `ThreadMemory`."""
