"""What the count agent remembers: the events it has counted in open hours, and how far each partition has come."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from pipelines.counting.hours import AHEAD, NEVER, bucket_of, first_open
from pipelines.counting.remembered import Merge, Remembered
from pipelines.worker import seen_records as records
from pipelines.worker.errors import UnreadableState
from pipelines.worker.tables import Record, Store, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pipelines.counting.count import Fresh
    from pipelines.counting.dedup import Keys, Mask
    from pipelines.counting.memory import Memory

LAGGARD_HOURS: Final = 24
"""Without changelogs all partitions share one memory: none may hold up the dropping of ids for longer."""


class SeenEvents(Protocol):
    """Memory of the count agent."""

    @property
    def remembered(self) -> int:
        """Number of ids."""

    def watermarks(self, partitions: Iterable[int]) -> dict[int, int]:
        """Of those partitions that have one."""

    def look(self, partition: int, bucket: int, ids: Keys) -> tuple[Mask, Mask]:
        """See `Remembered.look`."""

    async def remember(self, fresh: Sequence[Fresh], watermarks: Mapping[int, int]) -> None:
        """Add ids and advance watermarks; returns once they are safe. Drops the ids of hours that closed."""


class PlainSeen:
    """`SeenEvents` without a changelog: one memory for all partitions."""

    def __init__(self, memory: Memory, open_hours: int, clock: Callable[[], int]) -> None:
        self._open_hours = open_hours
        self._seen = Remembered()
        self._start = min(memory.watermark(), clock())
        self._marks: dict[int, int] = {}
        parts: dict[int, list[Keys]] = defaultdict(list)
        for hours, found in memory.seen(first_open(self._start, open_hours)):
            buckets = bucket_of(hours)
            for bucket in np.unique(buckets).tolist():
                parts[bucket].append(found[buckets == bucket])
        while parts:
            self._seen.hold(*parts.popitem())

    @property
    def remembered(self) -> int:
        """See `SeenEvents`."""
        return len(self._seen)

    def watermarks(self, partitions: Iterable[int]) -> dict[int, int]:
        """See `SeenEvents`."""
        least = self._least()
        return {partition: max(self._marks.get(partition, least), least) for partition in partitions}

    def _least(self) -> int:
        # Ids are dropped on account of the foremost partition; to raise a watermark is always right.
        return max([self._start, *(mark - LAGGARD_HOURS for mark in self._marks.values())])

    def look(self, partition: int, bucket: int, ids: Keys) -> tuple[Mask, Mask]:  # noqa: ARG002 - one for all
        """See `SeenEvents`."""
        return self._seen.look(bucket, ids)

    async def remember(self, fresh: Sequence[Fresh], watermarks: Mapping[int, int]) -> None:
        """See `SeenEvents`."""
        for found in fresh:
            self._seen.hold(found.bucket, [found.keys])
        self._marks.update(watermarks)
        self._seen.watermark = self._least()
        self._seen.expire(self._open_hours)


class _SeenStore(Store):
    partitions: dict[int, Remembered]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.partitions = defaultdict(Remembered)
        self.watermark_records: dict[int, dict[bytes, int]] = defaultdict(dict)

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:  # noqa: ARG002
        """Read records of the changelog, at recovery."""
        try:
            for event in batch:
                message = event.message
                self._apply(message.partition, message.key, message.value)
        except UnreadableState as error:
            # Faust would only log it, and go on without these ids.
            self.app.lost = error
            raise

    def _apply(self, partition: int, key: bytes, value: bytes | None) -> None:
        known = self.partitions[partition]
        match records.parse(key, value):
            case records.Ids(bucket, _, None):
                known.delete(bucket, key)
            case records.Ids(bucket, tier, keys) if keys is not None:
                known.restore(bucket, key, tier, keys)
            case records.Watermark(None):
                self.watermark_records[partition].pop(key, None)
            case records.Watermark(hour) if hour is not None:
                known.watermark = max(known.watermark, hour)
                self.watermark_records[partition][key] = hour
            case records.UndatedUntil(hour):
                known.undated_until = hour

    async def on_rebalance(
        self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0
    ) -> None:
        """See `Store`."""
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        for topic, partition in revoked:
            if topic == self.table.changelog_topic_name:
                self.watermark_records.pop(partition, None)

    async def on_recovery_completed(self, active_tps: Any, standby_tps: Any) -> None:  # noqa: ARG002
        """Make ready what was read."""
        for known in self.partitions.values():
            known.settle()


class SeenTable(Table):
    """`SeenEvents` with a changelog (see `seen_records`).

    The order of a batch's effects: its ids and watermarks; then the merged records; then tombstones, of what was merged
    and of what the watermarks, which are safe by now, have closed. A crash between them leaves ids in two records, or
    ids of closed hours, and both are cleared up later.
    """

    store_class = _SeenStore

    def configure(self, open_hours: int, clock: Callable[[], int]) -> SeenTable:
        """Set what Faust's constructor has no place for: the hours kept open, and a clock that tells the hour."""
        self._open_hours = open_hours
        self._clock = clock
        self._writer = os.urandom(records.WRITER_BYTES)
        self._number = 0
        return self

    @property
    def remembered(self) -> int:
        """See `SeenEvents`."""
        return sum(map(len, self.data.partitions.values()))

    def watermarks(self, partitions: Iterable[int]) -> dict[int, int]:
        """See `SeenEvents`."""
        return {partition: self.data.partitions[partition].watermark for partition in partitions}

    def look(self, partition: int, bucket: int, ids: Keys) -> tuple[Mask, Mask]:
        """See `SeenEvents`."""
        known: Remembered = self.data.partitions[partition]
        return known.look(bucket, ids)

    async def remember(self, fresh: Sequence[Fresh], watermarks: Mapping[int, int]) -> None:
        """See `SeenEvents`."""
        known: dict[int, Remembered] = {
            partition: self.data.partitions[partition]
            for partition in {*watermarks, *(found.partition for found in fresh)}
        }
        named = [(found, self._name(found.bucket)) for found in fresh]
        await self.write(
            [
                *((found.partition, name, records.ids_value(0, found.keys)) for found, name in named),
                *self._advances(known, watermarks),
            ]
        )
        for found, name in named:
            known[found.partition].add(found.bucket, name, found.keys)
        # Partitions given away meanwhile are no business of ours any more.
        ours = {p: state for p, state in known.items() if self.data.partitions.get(p) is state}
        replaced = await self._merge(ours, fresh)
        await self.write([*replaced, *self._expire(ours, watermarks)])

    def _name(self, bucket: int) -> bytes:
        self._number += 1
        return records.ids_name(bucket, self._writer, self._number)

    def _advances(self, known: Mapping[int, Remembered], watermarks: Mapping[int, int]) -> Iterable[Record]:
        """Records of the watermarks that moved, and of the hour until which undated ids stay."""
        for partition, hour in watermarks.items():
            state = known[partition]
            if hour > state.watermark:
                yield partition, records.watermark_name(self._writer), records.hour_value(hour)
            if state.has_undated and state.undated_until is None:
                # An earlier release counted whatever came: nothing of it is younger than the clock is now.
                state.undated_until = max(hour, self._clock() + AHEAD)
                yield partition, records.UNDATED_UNTIL, records.hour_value(state.undated_until)

    async def _merge(self, known: Mapping[int, Remembered], fresh: Sequence[Fresh]) -> list[Record]:
        """Merge small records of the buckets that have new ones: tombstones of those replaced."""
        merges: list[tuple[int, Merge, bytes]] = [
            (found.partition, merge, self._name(found.bucket))
            for found in fresh
            if found.partition in known
            for merge in known[found.partition].merges(found.bucket)
        ]
        if not merges:
            return []
        await self.write(
            [
                (partition, name, records.ids_value(merge.tier, merge.keys))
                for partition, merge, name in merges
            ]
        )
        for partition, merge, name in merges:
            known[partition].merged(merge, name)
        return [(partition, name, None) for partition, merge, _ in merges for name in merge.replaced]

    def _expire(self, known: Mapping[int, Remembered], watermarks: Mapping[int, int]) -> Iterable[Record]:
        """Drop what has closed: tombstones of its records, and of watermarks of workers that are long gone.

        One that lost the partition a moment ago may still raise its own, and drop ids on account of it.
        """
        own = records.watermark_name(self._writer)
        for partition, state in known.items():
            hour = watermarks.get(partition, NEVER)
            if hour <= state.watermark:
                continue
            state.watermark = hour
            undated = state.has_undated
            for name in state.expire(self._open_hours):
                yield partition, name, None
            if undated and not state.has_undated:
                state.undated_until = None
                yield partition, records.UNDATED_UNTIL, None
            others = self.data.watermark_records[partition]
            for name in [
                name for name, at in others.items() if name != own and at + self._open_hours <= hour
            ]:
                others.pop(name)
                yield partition, name, None
