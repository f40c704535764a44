"""Events counted a second on one core: the pure step, then the agents in Faust on the embedded broker.

`python bench/count.py [--events N] [--repeat N] [--pure]`. The step is what the agent does with 64 blocks of
500 events: read them columnar, look each id up in a memory of five million, count 13 dimensions (or campaigns
alone), encode the deltas, remember the ids. The agents do so with changelogs on: the count agent alone, the same by
campaign alone, as Quix Streams counts in `quix_peer.py`, then both agents in one process; they are measured between
the first and the last record in ses.counts, by the clock and by the processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Polars would use all cores; the budget is of one.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np

from pipelines.counting import deltas
from pipelines.counting.count import count
from pipelines.counting.hours import BUCKET_HOURS, Opening
from pipelines.counting.reading import Source
from pipelines.counting.remembered import Remembered
from pipelines.worker.config import TopicNames
from schemas.blocks import encode, open_block
from schemas.counters import DIMENSIONS
from schemas.partitioning import of_message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BLOCK = 500
BATCH = 64
PARTITIONS = 4
NOON = 1_760_011_200_000
HOUR_MS = 3_600_000
REMEMBERED = 5_000_000
PROVIDERS = ("gmail", "yahoo", "outlook", "other")
KINDS = (["Send", "Delivery", "Open", "Click", "Bounce", "Complaint"], [40, 38, 15, 4, 2.5, 0.5])


def events(number: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """A day's usual traffic: two dozen campaigns, a few of them busy, and one event in ten
    about mail of the hour before."""
    rng = random.Random(seed)
    kinds = rng.choices(*KINDS, k=number)
    for index, kind in enumerate(kinds):
        number_of = min(int(rng.expovariate(0.25)), 23)
        campaign = f"campaign-{number_of}"
        provider = rng.choice(PROVIDERS)
        sent = NOON - (HOUR_MS if rng.random() < 0.1 else 0)
        yield {
            "event_id": rng.randbytes(16),
            "event_type": kind,
            "event_time": NOON,
            "sent_time": sent,
            "message_id": f"0100019a{index // 2:032x}-000000",
            "account": "123456789012",
            "region": "eu-west-1",
            "configuration_set": "marketing",
            "from_domain": f"news{rng.randrange(3)}.example.com",
            "feedback_a": campaign,
            "feedback_b": f"customer-{number_of % 6}",
            "feedback_c": "eu-west-1.123456789012",
            "campaign": campaign,
            "recipients": [
                {
                    "address": rng.randbytes(16).hex(),
                    "domain": f"{provider}.com",
                    "provider": provider,
                    "reports_complaints": provider != "gmail",
                    "smtp_reply": "250 2.6.0 Message received" if kind == "Delivery" else "",
                }
            ],
            "bounce_type": "Permanent" if kind == "Bounce" else "",
            "bounce_subtype": "General" if kind == "Bounce" else "",
            "outgoing_ip": f"54.240.0.{rng.randrange(4)}",
            "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)" if kind == "Open" else "",
            "tagged": True,
            "path": "sns",
        }


def blocks(number: int, partitions: int, seed: int = 1) -> list[tuple[int, bytes]]:
    """(partition, block) of that many events, in the order a bridge would write them."""
    waiting: list[list[dict[str, Any]]] = [[] for _ in range(partitions)]
    made = []
    for row in events(number, seed):
        partition = of_message(row["message_id"], partitions)
        waiting[partition].append(row)
        if len(waiting[partition]) == BLOCK:
            made.append((partition, encode("ses_event", waiting[partition])))
            waiting[partition] = []
    return made + [(p, encode("ses_event", rows)) for p, rows in enumerate(waiting) if rows]


def pure(
    written: Sequence[tuple[int, bytes]], repeat: int, dimensions: tuple[str, ...] = DIMENSIONS
) -> list[float]:
    """Events a second of processor time, once a repetition."""
    opening = Opening(48, NOON // HOUR_MS)
    figures = []
    for _ in range(repeat + 1):
        memory = {partition: remembered(partition) for partition in range(PARTITIONS)}
        marks: dict[int, int] = {}
        total = 0
        start = time.process_time()
        for first in range(0, len(written), BATCH):
            batch = written[first : first + BATCH]
            sources = [Source(p, first + n, open_block(data)) for n, (p, data) in enumerate(batch)]
            look = lambda p, bucket, ids, memory=memory: memory[p].look(bucket, ids)  # noqa: E731
            result = count(sources, look, opening, marks, dimensions)
            marks |= result.watermarks
            deltas.encode(result.deltas, PARTITIONS)
            for number, fresh in enumerate(result.fresh):
                memory[fresh.partition].add(fresh.bucket, b"%d-%d" % (first, number), fresh.keys)
            total += result.events
        figures.append(total / (time.process_time() - start))
    return figures[1:]


def remembered(partition: int) -> Remembered:
    """A partition's share of the five million ids, over the open hours."""
    rng = np.random.default_rng(partition)
    memory = Remembered()
    newest = NOON // HOUR_MS // BUCKET_HOURS
    for bucket in range(newest - 4, newest + 1):
        memory.hold(bucket, [rng.integers(0, 2**64, size=REMEMBERED // PARTITIONS // 5, dtype=np.uint64)])
    return memory


CAMPAIGN = ("campaign",)
AGENTS = {
    "count agent (rate off)": (["count"], DIMENSIONS),
    "count agent (rate off), campaigns alone": (["count"], CAMPAIGN),
    "count and rate agents": (["count", "rate"], DIMENSIONS),
}
NAMES = (
    *("events", "counts", "recounts", "rates", "dead", "alarms", "orders"),
    *("inbound", "outbound", "threads"),
)
"""In the order of `TopicNames`."""
WORKER = """
import json, logging, sys
from pathlib import Path
from pipelines.worker import app
from pipelines.worker.config import TopicNames, WorkerConfig
from pipelines.worker.run import run_worker
logging.basicConfig(level=logging.ERROR)
told = json.loads(sys.argv[1])
topics = TopicNames(*told.pop("topics"))
told["dimensions"] = tuple(told["dimensions"])
agents, attach = told.pop("agents"), app._attach
def chosen(faust, name, topic, *rest):
    if name in agents:
        attach(faust, name, topic, *rest)
    else:
        faust.topics_read -= set(topic.topics)
app._attach = chosen
sys.exit(run_worker(WorkerConfig(data=Path(told.pop("data")), topics=topics, **told), None))
"""


@contextmanager
def broker() -> Iterator[str]:
    """The embedded broker, or the one named by KAFKA_BROKER."""
    from connectors.embedded import broker as embedded

    if named := os.environ.get("KAFKA_BROKER"):
        yield named
        return
    port = embedded.free_port()
    process = subprocess.Popen(embedded.command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if not embedded.wait_for(port, process):
            raise SystemExit("the embedded broker did not start")
        yield f"{embedded.HOST}:{port}"
    finally:
        process.kill()
        process.wait()


def through_faust(
    written: Sequence[tuple[int, bytes]],
    number: int,
    server: str,
    agents: Sequence[str],
    dimensions: Sequence[str] = DIMENSIONS,
) -> tuple[float, float]:
    """Events a second by the clock and by the worker's processor time, of a run with topics of its own."""
    from kafka import KafkaAdminClient, KafkaProducer
    from kafka.admin import NewTopic

    group = f"bench-{uuid.uuid4().hex[:8]}"
    names = TopicNames(*(f"{group}-{name}" for name in NAMES))
    admin = KafkaAdminClient(bootstrap_servers=server)
    topics = [f"{group}-{name}" for name in NAMES]
    admin.create_topics([NewTopic(n, num_partitions=PARTITIONS, replication_factor=1) for n in topics])
    producer = KafkaProducer(bootstrap_servers=server, acks="all", max_request_size=8 << 20)
    for partition, data in written:
        producer.send(names.events, data, partition=partition)
    producer.flush()
    producer.close()
    with tempfile.TemporaryDirectory() as data:
        told = {"brokers": server, "partitions": PARTITIONS, "data": data, "group": group, "topics": topics}
        told |= {"agents": agents, "dimensions": dimensions, "replication": 1, "rebalance_timeout_s": 2.0}
        worker = subprocess.Popen([sys.executable, "-c", WORKER, json.dumps(told)])
        try:
            figures = _follow(server, names.counts, len(written), worker, number)
        finally:
            worker.kill()
            worker.wait()
    admin.delete_topics(topics)
    admin.close()
    return figures


def _follow(
    server: str, topic: str, total: int, worker: subprocess.Popen[bytes], number: int
) -> tuple[float, float]:
    """Read counts until every source block is among them."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=server, auto_offset_reset="earliest", fetch_max_wait_ms=50)
    consumer.assign([TopicPartition(topic, p) for p in range(PARTITIONS)])
    done: set[tuple[int, int]] = set()
    first: tuple[float, float, int] | None = None
    while len(done) < total:
        if worker.poll() is not None:
            raise SystemExit(f"the worker ended with {worker.returncode}")
        for records in consumer.poll(50).values():
            for delta in deltas.decode([open_block(record.value) for record in records]):
                done.add((delta.partition, delta.offset))
        if done and first is None:
            first = (time.monotonic(), _processor_s(worker.pid), len(done))
    consumer.close()
    clock, processor, head = first or (0.0, 0.0, 0)
    counted = number * (total - head) / total
    return counted / (time.monotonic() - clock), counted / (_processor_s(worker.pid) - processor)


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spread(name: str, figures: Sequence[float]) -> None:
    """Median, least and most."""
    low, middle, high = min(figures), statistics.median(figures), max(figures)
    print(
        f"{name:<52} {middle:>10,.0f} events/s   ({low:,.0f} to {high:,.0f}, {len(figures)} runs)", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--pure", action="store_true", help="only the pure step")
    chosen = parser.parse_args()
    written = blocks(chosen.events, PARTITIONS)
    spread("count step, dedup on (processor)", pure(written, chosen.repeat))
    spread("count step, dedup on, campaigns alone (processor)", pure(written, chosen.repeat, CAMPAIGN))
    if chosen.pure:
        return
    with broker() as server:
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in AGENTS}
        for _ in range(chosen.repeat):  # in turns, so that a busy machine slows both alike
            for name, how in AGENTS.items():
                found[name].append(through_faust(written, chosen.events, server, *how))
    for name, runs in found.items():
        spread(f"{name} in Faust (clock)", [clock for clock, _ in runs])
        spread(f"{name} in Faust (processor)", [processor for _, processor in runs])


if __name__ == "__main__":
    main()
