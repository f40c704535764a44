"""How long a worker takes to have its memory of ids back: `python bench/restore.py [--ids N] [--batch N]`.

Applies the changelog of a partition's ids as Faust does at recovery, until they can be looked up: as it is once small
records were merged (512 KiB each), and as it is at worst, before a broker has compacted anything: every batch's record,
the merged ones, and a tombstone for each that was merged. Nothing is fetched: it is what our side costs,
to which Faust adds some 100 to 200 microseconds a record.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import faust
import numpy as np

from pipelines.counting.count import Fresh
from pipelines.worker.seen import SeenTable

if TYPE_CHECKING:
    from collections.abc import Iterable

PARTITIONS = 12
BUCKETS = 5
BATCH = 2_000
"""Keys of a batch's record, of one partition and bucket."""
OPEN_HOURS = 48
HOUR = 489_000


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=4_000_000, help="of a partition")
    parser.add_argument("--batch", type=int, default=BATCH, help="ids of a batch's record")
    parser.add_argument("--repeat", type=int, default=3)
    chosen = parser.parse_args()
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
