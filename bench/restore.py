"""How long a worker takes to have its memory back, of ids and of messages sent: `python bench/restore.py [--ids N]`.

Applies the changelog of a partition's ids as Faust does at recovery, until they can be looked up: as it is once small
records were merged (512 KiB each), and as it is at worst, before a broker has compacted anything: every batch's record,
the merged ones, and a tombstone for each that was merged. Nothing is fetched: it is what our side costs,
to which Faust adds some 100 to 200 microseconds a record.

`--messages N` measures the index of threads instead, which an embedded worker makes of ClickHouse's rows: so many made
messages of four weeks (half of them with subjects and half with Message-IDs of their own, some twice) in chdb on disk;
then processor time and memory of this process, ClickHouse's included, until they can be looked up.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import faust
import numpy as np

from connectors.clickhouse.client import open_client
from connectors.clickhouse.memory import ClickHouseMemory
from connectors.clickhouse.migrations import migrate
from pipelines.counting.count import Fresh
from pipelines.threads.stored import Filling
from pipelines.worker.seen import SeenTable
from pipelines.worker.thread_table import PlainThreads

if TYPE_CHECKING:
    from collections.abc import Iterable

PARTITIONS = 12
BUCKETS = 5
BATCH = 2_000
"""Keys of a batch's record, of one partition and bucket."""
OPEN_HOURS = 48
HOUR = 489_000
INSERTED = 200_000
"""Messages of an insert."""
DAYS = 28
MESSAGES = """
INSERT INTO outbound_rows (message_id, sent_time, header_message_id, account, region, configuration_set, from_domain,
    feedback_a, campaign, subject, base_subject, recipients)
SELECT
    concat('0102', lpad(lower(hex(number)), 12, '0'), '-', substring(h, 1, 8), '-', substring(h, 9, 4), '-',
        substring(h, 13, 4), '-', substring(h, 17, 4), '-', substring(h, 21, 12), '-000000'),
    now64(3) - toIntervalMillisecond(toInt64({days} * 86400000. * (1 - number / {messages}))),
    if(number % 2 = 0, concat(lower(hex(number)), '.mailer@us.example'), ''),
    '123456789012', 'eu-west-1', 'news', 'us.example', news, news, '',
    if(number % 4 < 2, concat('order ', toString(number)), news), [toInt32(cityHash64(number) % 2000000000)]
FROM (SELECT number, lower(hex(MD5(toString(number)))) AS h, concat('c', toString(intDiv(number, 100000))) AS news
    FROM numbers({start}, {rows}))
SETTINGS optimize_on_insert = 0
"""


class Log:
    """A changelog topic."""

    def __init__(self) -> None:
        self.records: list[tuple[int, bytes, bytes | None]] = []

    async def send(self, *, key: bytes, value: bytes | None, partition: int) -> Any:
        self.records.append((partition, key, value))
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    def get_topic_name(self) -> str:
        return "seen-changelog"


def table(log: Log) -> Any:
    app = faust.App("restore", store="memory://")
    made = SeenTable(app, name="seen", key_type=bytes, value_type=bytes, partitions=PARTITIONS)
    made.configure(OPEN_HOURS, lambda: HOUR)
    made.changelog_topic = log
    return made


async def fill(log: Log, ids: int, batch: int) -> None:
    """Write a partition's ids batch by batch, as the count agent does."""
    writer, rng = table(log), np.random.default_rng(1)
    for number in range(0, ids, batch):
        bucket = (HOUR - OPEN_HOURS) // 12 + number * BUCKETS // ids
        keys = rng.integers(0, 2**64, batch, dtype=np.uint64)
        await writer.remember([Fresh(0, bucket, keys)], {0: HOUR})


def compacted(records: Iterable[tuple[int, bytes, bytes | None]]) -> list[tuple[int, bytes, bytes | None]]:
    last = {key: (partition, key, value) for partition, key, value in records}
    return [record for record in last.values() if record[2] is not None]


def restored(records: list[tuple[int, bytes, bytes | None]]) -> tuple[float, int, float]:
    """Seconds of processor time until all ids can be looked up, how many they are, and bytes an id."""
    reader = table(Log())
    start = time.process_time()
    for at in range(0, len(records), 100):
        reader.apply_changelog_batch(
            SimpleNamespace(message=SimpleNamespace(partition=partition, key=key, value=value))
            for partition, key, value in records[at : at + 100]
        )
    asyncio.run(reader.data.on_recovery_completed(set(), set()))
    spent = time.process_time() - start
    held = sum(known.nbytes for known in reader.data.partitions.values())
    return spent, reader.remembered, held / reader.remembered


def threads(messages: int, repeat: int) -> None:
    """The index of messages sent, of ClickHouse's rows."""
    with tempfile.TemporaryDirectory() as folder:
        dsn = f"chdb://{folder}"
        client = open_client(dsn, create=True)
        migrate(client)
        for start in range(0, messages, INSERTED):
            rows = min(INSERTED + INSERTED // 100, messages - start)
            client.command(MESSAGES.format(days=DAYS, messages=messages, start=start, rows=rows))
        for _ in range(repeat):
            before, begun, clock = resident(), time.process_time(), time.perf_counter()
            plain = PlainThreads(1, apart=False)
            filling = Filling(plain.of, lambda _: 0, int(time.time()) // 3600)
            for stored in ClickHouseMemory(dsn).sent(DAYS + 2):
                filling.add(stored)
            filling.done()
            spent, took = time.process_time() - begun, time.perf_counter() - clock
            index = plain.of(0).index
            print(
                f"{len(index):,} messages in {spent:.1f} s of processor time ({took:.1f} by the clock): "
                f"{len(index) / spent:,.0f}/s, 10 M in {1e7 / len(index) * spent:.1f} s; "
                f"{index.nbytes / len(index):.1f} bytes each, {(resident() - before) >> 20} MiB more resident",
                flush=True,
            )
        client.close()


def resident() -> int:
    """Bytes of this process, as the kernel counts them."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=4_000_000, help="of a partition")
    parser.add_argument("--batch", type=int, default=BATCH, help="ids of a batch's record")
    parser.add_argument("--messages", type=int, default=0, help="of threads, instead of ids")
    parser.add_argument("--repeat", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.messages:
        threads(chosen.messages, chosen.repeat)
        print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")
        return
    log = Log()
    asyncio.run(fill(log, chosen.ids, chosen.batch))
    few = compacted(log.records)
    for name, records in (("merged", few), ("not compacted at all", log.records)):
        for _ in range(chosen.repeat):
            spent, ids, held = restored(records)
            print(
                f"{name:<22} {len(records):>8,} records  {ids / spent:>12,.0f} ids/s  "
                f"50 M in {5e7 / ids * spent:5.1f} s  {held:.1f} bytes an id",
                flush=True,
            )
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
