"""What an event costs as the memory of ids grows: processor time of the counting step, up to twenty million.

`python bench/flat.py [--events N] [--rounds N]`. The step does with 32 blocks of 500 events what the count agent does,
all but Kafka: it reads them, looks each id up among all that came before, counts 13 dimensions, encodes the deltas and
the records of its changelog, and remembers the ids. All events are of open hours, each is new.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import time

# Polars would use all cores; the figure is of one.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
from count import BATCH, BLOCK, PARTITIONS, events
from steps import Steps, message

from schemas import topics
from schemas.blocks import encode

TEMPLATES = 64
WINDOW = 1_000_000


class Blocks:
    """Blocks with ids that no other has: prepared ones whose ids are written over."""

    def __init__(self) -> None:
        rows = list(events(TEMPLATES * BLOCK))
        self._chance = np.random.default_rng(3)
        self._templates = []
        for start in range(0, len(rows), BLOCK):
            chosen = rows[start : start + BLOCK]
            data = encode("ses_event", chosen)
            places = np.array([data.index(row["event_id"]) for row in chosen])
            self._templates.append((np.frombuffer(data, dtype=np.uint8), places[:, None] + np.arange(16)))

    def next(self, number: int) -> bytes:
        template, places = self._templates[number % TEMPLATES]
        data = template.copy()
        data[places] = self._chance.integers(0, 256, places.shape, dtype=np.uint8)
        return data.tobytes()


async def windows(total: int) -> list[float]:
    """Microseconds an event, of each million events."""
    steps, blocks = Steps(PARTITIONS), Blocks()
    offsets = [0] * PARTITIONS
    figures: list[float] = []
    spent, done, since, number = 0.0, 0, 0, 0
    while done < total:
        batch = []
        for _ in range(BATCH):
            partition = number % PARTITIONS
            batch.append(message(topics.EVENTS, partition, offsets[partition], blocks.next(number)))
            offsets[partition] += 1
            number += 1
        start = time.process_time()
        await steps.count(batch)
        spent += time.process_time() - start
        before, done, since = done, done + BATCH * BLOCK, since + BATCH * BLOCK
        if done // WINDOW > before // WINDOW:
            figures.append(
                spent / (done - len(figures) * WINDOW) * 1e6 if not figures else spent / WINDOW * 1e6
            )
            spent = 0.0
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    chosen = parser.parse_args()
    runs = [asyncio.run(windows(chosen.events)) for _ in range(chosen.rounds)]
    last = len(runs[0])
    for million in sorted({1, 2, 5, 10, last} & set(range(1, last + 1))):
        found = [run[million - 1] for run in runs]
        middle = statistics.median(found)
        print(
            f"count step, {million}. million: {middle:.3f} us CPU an event"
            f" ({min(found):.3f} to {max(found):.3f}), so {1e6 / middle:,.0f} events/s a core",
            flush=True,
        )
    ratio = statistics.median(run[-1] / run[0] for run in runs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"the last million costs {ratio:.2f} times the first; {peak:,.0f} MiB at the most", flush=True)


if __name__ == "__main__":
    main()
