"""What the count agent remembers: the events it has counted."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pipelines.counting.dedup import Keys, Mask, Seen
from pipelines.worker.tables import Store, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipelines.counting.memory import Memory


class SeenEvents(Protocol):
    """Memory of the count agent."""

    def look(self, partition: int, ids: Keys) -> tuple[Mask, Mask]:
        """See `Seen.look`."""

    async def remember(self, fresh: Mapping[int, Keys], offsets: Mapping[int, int]) -> None:
        """Add keys by source partition, of blocks up to the given offset; returns once they are safe."""


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


class _SeenStore(Store):
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


class SeenTable(Table):
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
