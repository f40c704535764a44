"""Where agents keep what they know: Faust tables with a changelog, or plain memory restored from ClickHouse.

Faust writes a table only from inside a stream's iteration, and hands the changelog record to a buffer nobody
waits for. Here the record is sent and awaited like any other, and the store is set once it is safe; recovery
is Faust's.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import faust
import numpy as np
from faust.stores.memory import Store as MemoryStore

from pipelines.counting import rate
from pipelines.counting.dedup import Keys, Mask, Seen
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipelines.counting.memory import Memory


class SeenEvents(Protocol):
    """Memory of the count agent."""

    def look(self, partition: int, ids: Keys) -> tuple[Mask, Mask]:
        """See `Seen.look`."""

    async def remember(self, fresh: Mapping[int, Keys], offsets: Mapping[int, int]) -> None:
        """Add keys by source partition, of blocks up to the given offset; returns once they are safe."""


class Counters(Protocol):
    """Packed states of the rate agent, by (dimension, value)."""

    floor: int
    """Versions are to be greater."""

    def get(self, dimension: str, value: str) -> bytes | None:
        """The packed state; `None` when there is none."""

    async def put(self, states: Sequence[tuple[str, str, bytes]]) -> None:
        """Write (dimension, value, packed state); returns once they are safe."""


class PlainSeen:
    """`SeenEvents` without a changelog."""

    def __init__(self, memory: Memory) -> None:
        self._seen = Seen()
        self._seen.restore(memory.seen())

    def look(self, partition: int, ids: Keys) -> tuple[Mask, Mask]:  # noqa: ARG002 - one memory for all partitions
        """See `SeenEvents`."""
        return self._seen.look(ids)

    async def remember(self, fresh: Mapping[int, Keys], offsets: Mapping[int, int]) -> None:  # noqa: ARG002
        """See `SeenEvents`."""
        for found in fresh.values():
            self._seen.add(found)


class PlainCounters:
    """`Counters` without a changelog."""

    def __init__(self, memory: Memory) -> None:
        self._data: dict[tuple[str, str], bytes] = {}
        for key, rows in groupby(memory.counters(), lambda row: (row[0], row[1])):
            known = self._data.get(key)
            state = rate.unpack(known) if known else rate.State()
            state.hours.update((hour, list(counters)) for _, _, hour, counters in rows)
            self._data[key] = rate.pack(state)
        self.floor = memory.last_version()

    def get(self, dimension: str, value: str) -> bytes | None:
        """See `Counters`."""
        return self._data.get((dimension, value))

    async def put(self, states: Sequence[tuple[str, str, bytes]]) -> None:
        """See `Counters`."""
        self._data.update(((dimension, value), packed) for dimension, value, packed in states)


class _Store(MemoryStore):  # type: ignore[misc]
    """A table's content by partition, so that a partition given away is dropped whole."""

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:  # noqa: ARG002
        """Read records of the changelog, at recovery."""
        for event in batch:
            self.restore(event.message.partition, event.message.key, event.message.value)

    async def on_rebalance(
        self,
        assigned: Any,  # noqa: ARG002
        revoked: Any,
        newly_assigned: Any,  # noqa: ARG002
        generation_id: int = 0,  # noqa: ARG002
    ) -> None:
        """Drop what others own now; Faust reads a partition that comes back from its beginning."""
        for topic, partition in revoked:
            if topic == self.table.changelog_topic_name:
                self.drop(partition)

    async def on_recovery_completed(self, active_tps: Any, standby_tps: Any) -> None:
        """Nothing to tidy: revoked partitions are gone already."""

    def restore(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Take a changelog record."""
        raise NotImplementedError

    def drop(self, partition: int) -> None:
        """Forget a partition."""
        raise NotImplementedError


class _SeenStore(_Store):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.partitions: dict[int, Seen] = defaultdict(Seen)

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:  # noqa: ARG002
        """Gather keys of many small records before adding them."""
        found: dict[int, list[Keys]] = defaultdict(list)
        for event in batch:
            if event.message.value:
                found[event.message.partition].append(np.frombuffer(event.message.value, dtype="<u8"))
        for partition, arrays in found.items():
            self.partitions[partition].add(np.concatenate(arrays))

    def drop(self, partition: int) -> None:
        self.partitions.pop(partition, None)


class _CountersStore(_Store):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.partitions: dict[int, dict[bytes, bytes]] = defaultdict(dict)

    def restore(self, partition: int, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.partitions[partition].pop(key, None)
        else:
            self.partitions[partition][key] = value

    def drop(self, partition: int) -> None:
        self.partitions.pop(partition, None)


class _Table(faust.Table):  # type: ignore[misc]
    """A table whose changelog records are awaited."""

    store_class: type[_Store]

    def _new_store(self) -> _Store:
        return self.store_class(
            "memory://",
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            value_type=self.value_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            loop=self.loop,
        )

    async def write(self, records: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Send (partition, key, value) to the changelog; returns once the broker has them all."""
        topic = self.changelog_topic
        futures = [
            await topic.send(key=key, value=value, partition=partition) for partition, key, value in records
        ]
        await asyncio.gather(*futures)


class SeenTable(_Table):
    """`SeenEvents` with a changelog: a record for each partition of a batch, of all its new keys.

    Its key is the offset of the last block: once it is written no batch that ends there has new keys, so
    compaction never replaces keys by fewer.
    """

    store_class = _SeenStore

    def look(self, partition: int, ids: Keys) -> tuple[Mask, Mask]:
        """See `SeenEvents`."""
        seen: Seen = self.data.partitions[partition]
        return seen.look(ids)

    async def remember(self, fresh: Mapping[int, Keys], offsets: Mapping[int, int]) -> None:
        """See `SeenEvents`."""
        for partition, found in fresh.items():
            self.data.partitions[partition].add(found)
        await self.write(
            (partition, offsets[partition].to_bytes(8, "big"), found.astype("<u8").tobytes())
            for partition, found in fresh.items()
        )


class CountersTable(_Table):
    """`Counters` with a changelog: key `dimension NUL value`, value packed state."""

    store_class = _CountersStore
    floor = 0

    def get(self, dimension: str, value: str) -> bytes | None:
        """See `Counters`."""
        partition = of_key(dimension, value, self.partitions)
        states: dict[bytes, bytes] = self.data.partitions[partition]
        return states.get(_key(dimension, value))

    async def put(self, states: Sequence[tuple[str, str, bytes]]) -> None:
        """See `Counters`."""
        records = [
            (of_key(dimension, value, self.partitions), _key(dimension, value), packed)
            for dimension, value, packed in states
        ]
        await self.write(records)
        for partition, key, packed in records:
            self.data.partitions[partition][key] = packed


def _key(dimension: str, value: str) -> bytes:
    return f"{dimension}\0{value}".encode()
