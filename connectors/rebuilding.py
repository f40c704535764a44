"""`rebuild`: rates in ClickHouse and the worker's state in Kafka, both computed anew from the events in ClickHouse.

The sink's committed offsets divide the events: every block before them is in ClickHouse, so the state is that of
them all, and the worker goes on there. Blocks behind them may be in ClickHouse too, when a sink died before its
commit: their events are among the remembered ids, or of closed hours, so reading them counts nothing twice.
Of alarms nothing is computed: each goes on from its last transition, in ClickHouse or still on its way there.
Threads are joined anew, of the mails and messages in ClickHouse; blocks that the sink has not landed, or the worker not
joined, are read again, and all is told again that follows from what they bring.

    a topic that says so    while it is there, no worker starts: the changelogs are not whole
    rates                   recounted, and corrected
    changelogs              deleted, created, and written from ClickHouse
    groups                  the worker goes on at the sink's place in the events, and in mail where the sink is, or it
                            was itself if that is earlier; what waits in counts, recounts and
                            rates is in the new state already, and skipped

Cut off anywhere, it is to be run again.
"""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from connectors.clickhouse.client import open_client
from connectors.clickhouse.memory import ClickHouseMemory
from connectors.clickhouse.repair import Repaired, repair
from connectors.errors import BrokerError
from connectors.kafka import (
    MAX_MESSAGE_BYTES,
    Positions,
    broker_error,
    client_options,
    ensure_topics,
    sentences,
)
from connectors.kafka_admin import Admin, admin_of
from pipelines.alarms.machine import unpack
from pipelines.alarms.transition import decode, partition_of
from pipelines.counting import rate
from pipelines.counting.days import NEVER, WATERMARK, record_key
from pipelines.counting.hours import bucket_of, first_open
from pipelines.counting.remembered import FULL_KEYS
from pipelines.worker import alarm_table, seen_records
from pipelines.worker.config import ALARMS, COUNTERS, SEEN, THREADS, changelog, rebuilding
from pipelines.worker.counters import PlainCounters
from pipelines.worker.thread_memory import records_of, restored
from pipelines.worker.topics import CHANGELOG_CONFIG
from schemas import topics
from schemas.alarms import RATE_SIGNALS
from schemas.blocks import BlockError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from connectors.settings import Settings
    from pipelines.counting.memory import Memory
    from pipelines.worker.config import WorkerConfig
    from schemas.alarms import Alarm

Record = tuple[int, bytes, bytes]
"""Partition, key, value of a changelog record."""

_HOUR_S: Final = 3600
_POLL_MS: Final = 500
_HELD_KEYS: Final = 4_000_000
"""Ids held back at the most, to be written in large records: 32 MB, whatever the number of partitions."""
_UNSENT_BYTES: Final = 32 * 1024 * 1024
"""On their way at the most: the producer itself takes any number."""


def rebuild(
    settings: Settings, config: WorkerConfig, dsn: str, progress: Callable[[int, int, str], None]
) -> Repaired:
    """Rebuild everything; nobody else may be counting or writing.

    Args:
        settings: of Kafka, and what is counted.
        config: the worker's.
        dsn: of ClickHouse.
        progress: told how much is done, of how much, and what that is.

    Raises:
        BrokerError: a worker or a sink still runs; Kafka does not answer, or refuses.
        ClickHouseError: ClickHouse does not answer, or refuses.
    """
    ensure_topics(settings.kafka)
    with admin_of(settings.kafka) as admin, closing(Positions(settings.kafka)) as positions:
        require_stopped(admin)
        admin.create(rebuilding(config.group), {}, partitions=1)
        read = positions.committed(topics.SINK_GROUP, topics.EVENTS)
        now_us = time.time_ns() // 1000
        repaired = _rates(settings, dsn, now_us, progress)
        memory = ClickHouseMemory(dsn, settings.counting.dimensions)
        clock = now_us // 1_000_000
        _write(settings, admin, changelog(SEEN, config.group), seen(memory, config, clock), progress)
        states, latest = counters(memory, config, now_us), dict[int, int]()
        _write(settings, admin, changelog(COUNTERS, config.group), _noted(states, latest), progress)
        held = alarms(memory.machines(), _told(settings, config), config, latest)
        _write(settings, admin, changelog(ALARMS, config.group), held, progress)
        joined = threads(memory, config, clock)
        _write(settings, admin, changelog(THREADS, config.group), joined, progress)
        for group, topic in (
            (config.group, topics.COUNTS),
            (topics.RECOUNT_GROUP, topics.RECOUNTS),
            (topics.SINK_GROUP, topics.RATES),
        ):
            admin.set_offsets(group, topic, positions.end_offsets(topic))
        admin.set_offsets(config.group, topics.EVENTS, read)
        for topic in (topics.INBOUND, topics.OUTBOUND):
            admin.set_offsets(config.group, topic, earlier(positions, config.group, topic))
        admin.delete(rebuilding(config.group))
        return repaired


def require_stopped(admin: Admin) -> None:
    """See that nobody counts or writes.

    Raises:
        BrokerError: when somebody does.
    """
    if working := admin.working():
        raise BrokerError(
            f"the {' and the '.join(working)} still run: stop worker, sink and notify, then rebuild"
        )


def seen(memory: ClickHouseMemory, config: WorkerConfig, clock_s: int) -> Iterator[Record]:
    """Records of the count agent's changelog: watermarks, then the ids of open hours."""
    writer = os.urandom(seen_records.WRITER_BYTES)
    watermark = min(memory.watermark(), clock_s // _HOUR_S)
    for partition in range(config.partitions):
        yield partition, seen_records.watermark_name(writer), seen_records.hour_value(watermark)
    portions = _gathered(memory, config.partitions, first_open(watermark, config.open_hours))
    for number, (partition, bucket, keys) in enumerate(portions):
        yield partition, seen_records.ids_name(bucket, writer, number), seen_records.ids_value(0, keys)


def _gathered(
    memory: ClickHouseMemory, partitions: int, since: int
) -> Iterator[tuple[int, int, NDArray[np.uint64]]]:
    """Ids of a partition and a bucket, in large portions."""
    held: dict[tuple[int, int], list[NDArray[np.uint64]]] = {}
    sizes: dict[tuple[int, int], int] = {}
    for numbers, hours, keys in memory.seen_by_partition(partitions, since):
        places = numbers.astype(np.int64) + partitions * bucket_of(hours)
        order = np.argsort(places, kind="stable")
        found, starts = np.unique(places[order], return_index=True)
        for place, some in zip(found.tolist(), np.split(keys[order], starts[1:]), strict=True):
            bucket, partition = divmod(place, partitions)
            held.setdefault((partition, bucket), []).append(some)
            sizes[partition, bucket] = sizes.get((partition, bucket), 0) + some.size
        # The largest first: what is left then is small, and may grow.
        while sizes and (max(sizes.values()) >= FULL_KEYS or sum(sizes.values()) > _HELD_KEYS):
            fullest = max(sizes, key=lambda place: sizes[place])
            del sizes[fullest]
            yield from _portions(fullest, held.pop(fullest))
    for place, arrays in held.items():
        yield from _portions(place, arrays)


def _portions(
    place: tuple[int, int], arrays: list[NDArray[np.uint64]]
) -> Iterator[tuple[int, int, NDArray[np.uint64]]]:
    keys = np.concatenate(arrays)
    for start in range(0, keys.size, FULL_KEYS):
        yield *place, keys[start : start + FULL_KEYS]


def counters(memory: ClickHouseMemory, config: WorkerConfig, now_us: int) -> Iterator[Record]:
    """Records of the rate agent's changelog.

    States without marks: the worker reads no block again that is in them, and a mark for every source partition in
    every state would be the larger part of it.
    """
    restored = PlainCounters(memory, config.partitions, config.retention_days, now_us)
    for partition in range(config.partitions):
        days = restored.of(partition)
        yield from ((partition, key, value) for key, value in days.records())
        for day, key, packed in days.states():
            state = rate.unpack(packed, day)
            state.version = restored.floor
            yield partition, record_key(key, day), rate.pack(state)


def _noted(records: Iterator[Record], watermarks: dict[int, int]) -> Iterator[Record]:
    """The records, with note taken of the watermarks among them (seconds) by partition."""
    for partition, key, value in records:
        if key == WATERMARK:
            watermarks[partition] = int(value)
        yield partition, key, value


def alarms(
    landed: Iterable[tuple[str, bytes]],
    told: Iterable[Alarm],
    config: WorkerConfig,
    watermarks: Mapping[int, int],
) -> Iterator[Record]:
    """Records of the changelog of alarms: how far keys were looked at, then the last machine of each.

    Args:
        landed: alarm key and machine of the last transition, of ClickHouse.
        told: transitions of `ses.alarms`, of whatever signals.
        config: the worker's.
        watermarks: of the counters (seconds), by partition.
    """
    for partition, watermark in watermarks.items():
        # What was not looked at yet is, at the latest, when something more comes to its key.
        if watermark != NEVER:
            yield _whole(alarm_table.looked(partition, (watermark + _HOUR_S) * 1000))
    last = {key: unpack(machine) for key, machine in landed}
    for each in told:
        if each["signal"] in RATE_SIGNALS:
            machine, key = unpack(each["machine"]), each["alarm_key"]
            if key not in last or machine.seq > last[key].seq:
                last[key] = machine
    for key, machine in last.items():
        yield _whole(alarm_table.record(partition_of(key, config.partitions), key, machine))


def threads(memory: Memory, config: WorkerConfig, clock_s: int) -> Iterator[Record]:
    """Records of the threads' changelog."""
    remembered = restored(memory, config, clock_s // _HOUR_S)
    for partition, state in remembered.held().items():
        yield from ((partition, key, value) for key, value in records_of(state))


def earlier(positions: Positions, group: str, topic: str) -> dict[int, int]:
    """Of each partition where the sink is, or the group if that is earlier."""
    landed, done = positions.committed(topics.SINK_GROUP, topic), positions.committed(group, topic)
    return {partition: min(offset, done.get(partition, 0)) for partition, offset in landed.items()}


def _whole(record: tuple[int, bytes, bytes | None]) -> Record:
    partition, key, value = record
    return partition, key, value or b""


def _told(settings: Settings, config: WorkerConfig) -> Iterator[Alarm]:
    """All that `ses.alarms` has. What is no alarm is passed over: the sink makes a dead letter of it."""
    kafka = settings.kafka
    options = client_options(kafka) | {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
    with sentences(kafka), closing(KafkaConsumer(**options)) as consumer:
        places = [TopicPartition(topics.ALARMS, number) for number in range(kafka.partitions)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        while any(consumer.position(place) < ends[place] for place in places):
            for records in consumer.poll(timeout_ms=_POLL_MS).values():
                for record in records:
                    with contextlib.suppress(BlockError):
                        yield from decode(record.value or b"", config.framing)


def _rates(settings: Settings, dsn: str, now_us: int, progress: Callable[[int, int, str], None]) -> Repaired:
    client = open_client(dsn)
    try:
        return repair(
            client,
            now_us,
            everything=True,
            dimensions=settings.counting.dimensions,
            progress=lambda done, total: progress(done, total, "hours recounted"),
        )
    finally:
        client.close()


def _write(
    settings: Settings,
    admin: Admin,
    name: str,
    records: Iterator[Record],
    progress: Callable[[int, int, str], None],
) -> None:
    """A changelog anew; returns once Kafka has it all."""
    admin.delete(name)
    admin.create(name, CHANGELOG_CONFIG)
    failures: list[Exception] = []
    written = size = 0
    with sentences(settings.kafka):
        producer = KafkaProducer(**client_options(settings.kafka) | _PRODUCER)
        try:
            for partition, key, value in records:
                producer.send(name, key=key, value=value, partition=partition).add_errback(failures.append)
                written += 1
                size += len(value)
                if failures:
                    break
                if size > _UNSENT_BYTES:
                    producer.flush()
                    size = 0
                progress(written, 0, f"records of {name}")
            producer.flush()
        finally:
            producer.close()
    if failures:
        raise broker_error(failures[0], settings.kafka)


_PRODUCER: Final[dict[str, Any]] = {
    "acks": "all",
    "enable_idempotence": True,
    "compression_type": "lz4",
    "linger_ms": 20,
    "batch_size": 256 * 1024,
    "max_request_size": MAX_MESSAGE_BYTES,
    "allow_auto_create_topics": False,
}
