"""What the rate agent remembers: the packed states of every (dimension, value) and day."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.counting import caps, rate
from pipelines.counting.days import CAPS, NEVER, WATERMARK, Days, Record, key_of, names_of, record_key
from pipelines.counting.rating import AHEAD_S
from pipelines.worker.errors import UnreadableState
from pipelines.worker.tables import Store, Table
from schemas.counters import OTHER_VALUE
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipelines.counting.memory import Memory


class Counters(Protocol):
    """Memory of the rate agent."""

    floor: int
    """Versions are to be greater."""

    def of(self, partition: int) -> Days:
        """What is remembered of a partition of `ses.counts`.

        Raises:
            UnreadableState: when a later release wrote it.
        """

    def held(self) -> Mapping[int, Days]:
        """The partitions of which something is remembered."""

    async def save(self, records: Sequence[Record]) -> None:
        """Apply records; returns once they are safe."""


class PlainCounters:
    """`Counters` without a changelog, of all partitions."""

    def __init__(self, memory: Memory, partitions: int, retention_days: int, now_us: int) -> None:
        self._days = [Days() for _ in range(partitions)]
        latest = NEVER
        horizons: dict[str, int] = {}
        far: dict[str, set[int]] = defaultdict(set)
        clock = now_us // 1_000_000
        rows = memory.counters(retention_days)
        for (dimension, value, day), cells in groupby(rows, lambda row: (*row[:2], rate.day_of(row[2]))):
            key, days = key_of(dimension, value), self._days[of_key(dimension, value, partitions)]
            known = days.get(key, day)
            state = rate.unpack(known, day) if known is not None else rate.State()
            for _, _, hour, counters in cells:
                state.hours[hour] = list(counters)
                if value == OTHER_VALUE and hour > clock + AHEAD_S:
                    far[dimension].add(hour)
                elif value == OTHER_VALUE:
                    horizons[dimension] = max(horizons.get(dimension, NEVER), hour)
                if hour <= clock:
                    latest = max(latest, hour)
                elif hour > clock + rate.HOUR_S:
                    # As it was before: an hour that was ahead is recounted for good.
                    rate.recount(state, hour)
            days.apply(record_key(key, day), rate.pack(state))
        for days in self._days:
            days.apply(WATERMARK, str(latest).encode())
        self._cap(horizons, far)
        self.floor = memory.last_version()

    def _cap(self, horizons: dict[str, int], far: dict[str, set[int]]) -> None:
        """Keep what has counted to `(other)` there (see `caps.restored`)."""
        if not horizons and not far:
            return
        for days in self._days:
            days.apply(CAPS, caps.restored(horizons, far))
            for day, key, packed in days.states():
                dimension, value = names_of(key)
                if value != OTHER_VALUE and dimension in horizons:
                    state = rate.unpack(packed, day)
                    state.since = caps.first_own(horizons[dimension])
                    days.apply(record_key(key, day), rate.pack(state))

    def of(self, partition: int) -> Days:
        """See `Counters`."""
        return self._days[partition]

    def held(self) -> Mapping[int, Days]:
        """See `Counters`."""
        return dict(enumerate(self._days))

    async def save(self, records: Sequence[Record]) -> None:
        """See `Counters`."""
        for partition, key, value in records:
            self._days[partition].apply(key, value)


class _CountersStore(Store):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.partitions: dict[int, Days] = defaultdict(Days)

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:  # noqa: ARG002
        """Read records of the changelog, at recovery. Faust only logs what is raised here."""
        for event in batch:
            days = self.partitions[event.message.partition]
            try:
                days.apply(event.message.key, event.message.value)
            except rate.StateError as error:
                days.broken = error
                self.app.lost = unreadable(error)

    async def on_recovery_completed(self, active_tps: Any, standby_tps: Any) -> None:
        """See `Days.settle`."""
        await super().on_recovery_completed(active_tps, standby_tps)
        for days in self.partitions.values():
            days.settle()


class CountersTable(Table):
    """`Counters` with a changelog, whose records are those of `Days`."""

    store_class = _CountersStore
    floor = 0

    def of(self, partition: int) -> Days:
        """See `Counters`."""
        days: Days = self.data.partitions[partition]
        if days.broken is not None:
            raise unreadable(days.broken)
        return days

    def held(self) -> Mapping[int, Days]:
        """See `Counters`."""
        partitions: Mapping[int, Days] = self.data.partitions
        return partitions

    async def save(self, records: Sequence[Record]) -> None:
        """See `Counters`."""
        await self.write(records)
        for partition, key, value in records:
            self.data.partitions[partition].apply(key, value)


def unreadable(error: rate.StateError) -> UnreadableState:
    """What ends the worker when it cannot read what it is to remember."""
    return UnreadableState(
        f"The worker cannot read the state that is in Kafka ({error}): start the release that wrote it, or a later one."
    )
