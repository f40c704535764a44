"""How long a worker takes from its start to its first delta, when its changelog holds many ids: Kafka, Faust and all.

`python bench/recovery.py [--ids N] [--repeat N]`, on the embedded broker or the one of KAFKA_BROKER. The changelog is
written as the worker leaves it, in merged records of 65,536 ids; then workers are started, one after the other, each
until the one block that waits for it is counted: first with an empty changelog, which is what starting costs, then
with all ids. What the second takes longer is the recovery. `restore.py` measures our own part of it alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
from count import DIMENSIONS, NOON, PARTITIONS, WORKER, blocks, broker

from pipelines.counting.hours import BUCKET_HOURS, HOUR_MS
from pipelines.counting.remembered import FULL_KEYS
from pipelines.worker.config import COUNTERS, SEEN
from pipelines.worker.seen_records import WRITER_BYTES, ids_name, ids_value

NAMES = (
    *("events", "counts", "recounts", "rates", "dead", "alarms", "orders"),
    *("inbound", "outbound", "threads"),
)
BUCKETS = 5
"""48 open hours touch so many buckets of 12."""
LIMIT_S = 600
BUDGET = 50_000_000


def prepare(server: str, ids: int) -> str:
    """Topics of a group of its own, with the changelog and one block of events; the group's name."""
    from kafka import KafkaAdminClient, KafkaProducer
    from kafka.admin import NewTopic

    group = f"recovery-{uuid.uuid4().hex[:8]}"
    changelogs = [f"{group}-{table}-changelog" for table in (SEEN, COUNTERS)]
    admin = KafkaAdminClient(bootstrap_servers=server)
    admin.create_topics(
        [
            NewTopic(name, num_partitions=PARTITIONS, replication_factor=1)
            for name in (*(f"{group}-{name}" for name in NAMES), *changelogs)
        ]
    )
    admin.close()
    # The embedded broker tells the end of a partition wrong after a batch of several records.
    producer = KafkaProducer(bootstrap_servers=server, acks="all", batch_size=0, max_request_size=8 << 20)
    chance, writer, newest = (
        np.random.default_rng(1),
        os.urandom(WRITER_BYTES),
        NOON // HOUR_MS // BUCKET_HOURS,
    )
    for number in range(-(-ids // FULL_KEYS)):
        keys = chance.integers(0, 2**64, size=min(FULL_KEYS, ids - number * FULL_KEYS), dtype=np.uint64)
        name = ids_name(newest - number % BUCKETS, writer, number)
        producer.send(changelogs[0], key=name, value=ids_value(3, keys), partition=number % PARTITIONS)
    for partition, block in blocks(100, PARTITIONS):
        producer.send(f"{group}-events", block, partition=partition)
    producer.flush()
    producer.close()
    return group


def first_delta(server: str, group: str) -> tuple[float, float]:
    """Seconds by the clock and of processor time until a new worker has counted something."""
    from kafka import KafkaConsumer, TopicPartition

    topics = [f"{group}-{name}" for name in NAMES]
    consumer = KafkaConsumer(bootstrap_servers=server, auto_offset_reset="earliest", fetch_max_wait_ms=20)
    consumer.assign([TopicPartition(topics[1], p) for p in range(PARTITIONS)])
    with tempfile.TemporaryDirectory() as data:
        told = {"brokers": server, "partitions": PARTITIONS, "data": data, "group": group, "topics": topics}
        told |= {"agents": ["count"], "dimensions": DIMENSIONS, "replication": 1, "rebalance_timeout_s": 2.0}
        start = time.monotonic()
        worker = subprocess.Popen([sys.executable, "-c", WORKER, json.dumps(told)])
        try:
            while not consumer.poll(20):
                if worker.poll() is not None or time.monotonic() - start > LIMIT_S:
                    raise SystemExit(f"nothing was counted (worker: {worker.poll()})")
            took, fields = time.monotonic() - start, Path(f"/proc/{worker.pid}/stat").read_text()
        finally:
            worker.kill()
            worker.wait()
            consumer.close()
    user, system = fields.rpartition(")")[2].split()[11:13]
    return took, (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=20_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    chosen = parser.parse_args()
    with broker() as server:
        runs = {
            ids: [first_delta(server, prepare(server, ids)) for _ in range(chosen.repeat)]
            for ids in (0, chosen.ids)
        }
    for kind, name in enumerate(("clock", "processor")):
        empty, full = (sorted(run[kind] for run in runs[ids]) for ids in (0, chosen.ids))
        recovery = statistics.median(full) - statistics.median(empty)
        print(
            f"recovery of {chosen.ids:,} ids ({name}): {recovery:.1f} s; start to first delta"
            f" {full[0]:.1f} to {full[-1]:.1f} s, with none {empty[0]:.1f} to {empty[-1]:.1f} s;"
            f" at that pace {BUDGET:,} take {recovery * BUDGET / chosen.ids:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
