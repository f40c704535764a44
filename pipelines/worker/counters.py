"""What the rate agent remembers: the packed state of every (dimension, value)."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.counting import rate
from pipelines.worker.tables import Store, Table
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipelines.counting.memory import Memory


class Counters(Protocol):
    """Packed states of the rate agent, by (dimension, value)."""

    floor: int
    """Versions are to be greater."""

    def get(self, dimension: str, value: str) -> bytes | None:
        """The packed state; `None` when there is none."""

    async def put(self, states: Sequence[tuple[str, str, bytes]]) -> None:
        """Write (dimension, value, packed state); returns once they are safe."""


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


class _CountersStore(Store):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.partitions: dict[int, dict[bytes, bytes]] = defaultdict(dict)

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:  # noqa: ARG002
        """Read records of the changelog, at recovery."""
        for event in batch:
            message = event.message
            if message.value is None:
                self.partitions[message.partition].pop(message.key, None)
            else:
                self.partitions[message.partition][message.key] = message.value


class CountersTable(Table):
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
