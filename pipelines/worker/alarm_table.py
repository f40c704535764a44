"""What the alarm step remembers: the machine of every alarm key that anything ever happened to.

Keys and values of the changelog's records:

    01 "looked"   event time (ms) up to which the partition's keys have been looked at, as text
    alarm key     msgpack array: format, packed machine, *outbox*: the records of `ses.alarms` that are to follow

A machine and what is to be told of it are one value, so one atomic write: a transition that was decided is sent, be it
by the next life of the worker, and identical.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from pipelines.alarms import machine as machines
from pipelines.alarms.transition import partition_of, record_key
from pipelines.counting.rate import StateError
from pipelines.worker.counters import unreadable
from pipelines.worker.tables import Record, Store, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipelines.alarms.machine import Machine
    from pipelines.counting.memory import Memory

LOOKED: Final = b"\x01looked"
NEVER: Final = -(1 << 62)
"""Of a partition that was not looked at yet."""
_FORMAT: Final = 1
_FIRST_PRINTABLE: Final = 32
"""Names of rules begin with nothing less."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is remembered of an alarm key."""

    machine: Machine
    outbox: tuple[bytes, ...] = ()


class Machines:
    """The alarm keys of one partition: what the records say that were applied one after the other."""

    __slots__ = ("broken", "held", "looked", "open", "unsent")

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.looked = NEVER
        """Event time, ms."""
        self.open: set[str] = set()
        """Keys with an open incident."""
        self.unsent: set[str] = set()
        """Keys whose outbox may not have been sent."""
        self.broken: StateError | None = None

    def get(self, key: str) -> Machine | None:
        """The machine of an alarm key; None: nothing ever happened to it."""
        found = self.held.get(key)
        return None if found is None else found.machine

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take over a record.

        Raises:
            StateError: when it is of a later release, or damaged.
        """
        if key == LOOKED:
            self.looked = max(self.looked, int(value or NEVER))
        elif key[0] < _FIRST_PRINTABLE:
            raise StateError("a record of a kind that a later release wrote")
        else:
            self._hold(key.decode(), None if value is None else _unpack(value))

    def _hold(self, key: str, held: Held | None) -> None:
        self.open.discard(key)
        self.unsent.discard(key)
        if held is None:
            self.held.pop(key, None)
            return
        self.held[key] = held
        if held.machine.is_open:
            self.open.add(key)
        if held.outbox:
            self.unsent.add(key)


def record(partition: int, key: str, machine: Machine, outbox: Sequence[bytes] = ()) -> Record:
    """What makes `Machines` remember a machine."""
    value = msgspec.msgpack.encode([_FORMAT, machines.pack(machine), *outbox])
    return partition, record_key(key), value


def looked(partition: int, time: int) -> Record:
    """What makes `Machines` remember how far they were looked at (event time, ms)."""
    return partition, LOOKED, str(time).encode()


def _unpack(value: bytes) -> Held:
    try:
        release, packed, *outbox = msgspec.msgpack.decode(value, type=list[Any])
    except (msgspec.DecodeError, ValueError) as error:
        raise StateError(f"the state of an alarm is damaged: {error}") from error
    if release != _FORMAT:
        raise StateError(f"the state of an alarm has format {release}, this release reads {_FORMAT}")
    return Held(machines.unpack(packed), tuple(outbox))


class Alarms(Protocol):
    """Memory of the alarm step."""

    restored: bool
    """Whether it was restored from ClickHouse, which may not have all that was told or looked at."""

    def of(self, partition: int) -> Machines:
        """What is remembered of a partition; another object once the partition was away.

        Raises:
            UnreadableState: when a later release wrote it.
        """

    def held(self) -> Mapping[int, Machines]:
        """The partitions of which something is remembered."""

    async def save(self, records: Sequence[Record]) -> None:
        """Apply records; returns once they are safe."""


class PlainAlarms:
    """`Alarms` without a changelog, of all partitions."""

    restored = True

    def __init__(self, memory: Memory, partitions: int) -> None:
        self._machines = {partition: Machines() for partition in range(partitions)}
        try:
            for key, packed in memory.machines():
                found = self._machines[partition_of(key, partitions)]
                found.apply(*record(0, key, machines.unpack(packed))[1:])
        except StateError as error:
            raise unreadable(error) from error

    def of(self, partition: int) -> Machines:
        """See `Alarms`."""
        return self._machines[partition]

    def held(self) -> Mapping[int, Machines]:
        """See `Alarms`."""
        return self._machines

    async def save(self, records: Sequence[Record]) -> None:
        """See `Alarms`."""
        for partition, key, value in records:
            self._machines[partition].apply(key, value)


class _AlarmsStore(Store):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.partitions: dict[int, Machines] = defaultdict(Machines)

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:  # noqa: ARG002
        """Read records of the changelog, at recovery. Faust only logs what is raised here."""
        for event in batch:
            known = self.partitions[event.message.partition]
            try:
                known.apply(event.message.key, event.message.value)
            except StateError as error:
                known.broken = error
                self.app.lost = unreadable(error)


class AlarmsTable(Table):
    """`Alarms` with a changelog, whose records are those of `Machines`."""

    store_class = _AlarmsStore
    restored = False

    def of(self, partition: int) -> Machines:
        """See `Alarms`."""
        found: Machines = self.data.partitions[partition]
        if found.broken is not None:
            raise unreadable(found.broken)
        return found

    def held(self) -> Mapping[int, Machines]:
        """See `Alarms`."""
        partitions: Mapping[int, Machines] = self.data.partitions
        return partitions

    async def save(self, records: Sequence[Record]) -> None:
        """See `Alarms`."""
        await self.write(records)
        for partition, key, value in records:
            self.data.partitions[partition].apply(key, value)
