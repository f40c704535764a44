"""Several workers of one group against one: events counted and rated a second, and what an event costs.

`python bench/workers.py [--workers N] [--events N] [--repeat N]`, with KAFKA_BROKER for an Apache Kafka. A backlog of
blocks of 500 events waits in ses.events; the workers start, and are measured from the moment all of them read until
the group has committed the last block and the last delta. By the clock, which needs a core a worker and one for the
broker; and by the workers' processor time an event, which says what sharing costs where there are not as many.
`--share 0.45` gives each worker so much of a core and no more (a control group, so it wants root): two cores then do
for two workers and the broker, and the clock tells what machines with cores enough gain.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "tests" / "worker")]

from count import BLOCK, blocks, broker  # noqa: E402
from crew import PARTITIONS, Crew  # noqa: E402
from kafka import KafkaConsumer, TopicPartition  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator


class Group:
    """How far a group is."""

    def __init__(self, crew: Crew) -> None:
        self.consumer = KafkaConsumer(
            bootstrap_servers=crew.broker, group_id=crew.group, enable_auto_commit=False
        )
        self.events, self.counts = (
            [TopicPartition(topic, number) for number in range(PARTITIONS)]
            for topic in (crew.names.events, crew.names.counts)
        )

    def done(self) -> int:
        """Blocks of events committed."""
        return sum(self.consumer.committed(partition) or 0 for partition in self.events)

    def left(self) -> int:
        """Records of events and counts that are not committed."""
        ends = self.consumer.end_offsets([*self.events, *self.counts])
        return sum(end - (self.consumer.committed(partition) or 0) for partition, end in ends.items())


def cpu_s(pid: int) -> float:
    """Processor time a process has used, all its threads (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


PERIOD_US = 20_000
"""Short, for a worker that stands still for long keeps the broker waiting."""


@contextlib.contextmanager
def held_to(share: float, pid: int) -> Iterator[None]:
    """Hold a process to so much of a core, by a control group of version 1 or 2 (0: as much as it can get)."""
    if not share:
        yield
        return
    first = Path("/sys/fs/cgroup/cpu")
    group = (first if first.is_dir() else Path("/sys/fs/cgroup")) / f"bench-worker-{pid}"
    group.mkdir()
    quota = int(share * PERIOD_US)
    if first.is_dir():
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
    (group / "cgroup.procs").write_text(str(pid))
    try:
        yield
    finally:
        (group.parent / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def measure(server: str, written: list[tuple[int, bytes]], number: int, share: float) -> dict[str, float]:
    """One run: events a second by the clock, and microseconds of processor time an event."""
    with tempfile.TemporaryDirectory() as folder:
        crew = Crew(server, Path(folder))
        group = Group(crew)
        try:
            for partition, block in written:
                crew.producer.send(crew.names.events, block, partition=partition)
            crew.producer.flush()
            workers = [crew.hire(rebalance_timeout_s=6.0) for _ in range(number)]
            crew.until_shared(*workers)
            with contextlib.ExitStack() as shares:
                for worker in workers:
                    shares.enter_context(held_to(share, worker.process.pid))
                began, before = time.monotonic(), group.done()
                used = sum(cpu_s(worker.process.pid) for worker in workers)
                crew.until(lambda: group.left() == 0, "a drained group", limit_s=600)
                seconds = time.monotonic() - began
                used = sum(cpu_s(worker.process.pid) for worker in workers) - used
        finally:
            group.consumer.close()
            crew.close()
    events = (len(written) - before) * BLOCK
    return {"events": events, "events_s": events / seconds, "us_an_event": used / events * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2, help="as many as are compared with one")
    parser.add_argument("--events", type=int, default=2_400_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.0, help="of a core, for each worker")
    told = parser.parse_args()
    written = blocks(told.events, PARTITIONS)
    print(f"{len(written)} blocks of {BLOCK} events, {os.cpu_count()} cores")
    with broker() as server:
        found: dict[int, list[dict[str, float]]] = {1: [], told.workers: []}
        for _ in range(told.repeat):
            for number, runs in found.items():
                runs.append(measure(server, written, number, told.share))
                print(f"{number} worker(s): {json.dumps({k: round(v, 2) for k, v in runs[-1].items()})}")
    for figure in ("events_s", "us_an_event"):
        one, several = (statistics.median(run[figure] for run in found[number]) for number in found)
        print(f"{figure}: {one:,.2f} with one, {several:,.2f} with {told.workers}: {several / one:.2f} times")


if __name__ == "__main__":
    main()
