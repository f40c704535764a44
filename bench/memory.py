"""What a worker holds: counters of 100,000 campaigns over 14 days, and 50 million ids of events.

`python bench/memory.py [--values N] [--days N] [--ids N]`. Resident memory of this process, as the kernel counts it,
after each part; all partitions are this worker's. The budget of both together, with the libraries, is 2 GiB.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import numpy as np

from pipelines.counting import rate
from pipelines.counting.days import Days, key_of, record_key
from pipelines.counting.rate import State
from pipelines.counting.remembered import Remembered
from schemas.counters import COUNTERS

PARTITIONS = 12
DAY = 20_000
BUCKETS = 5
"""48 open hours are in as many buckets of 12 at the most."""


def resident() -> int:
    """Bytes."""
    line = next(
        each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmRSS")
    )
    return int(line.split()[1]) * 1024


def packed(rng: random.Random, day: int) -> bytes:
    """A campaign's day: mail in each hour, a block of every source partition applied."""
    state = State(1_760_011_200_000_000, 0, {p: rng.randrange(2**24) for p in range(PARTITIONS)})
    for hour in range(24):
        sends = rng.randrange(1, 400)
        counts = {
            "sends": sends,
            "deliveries": sends - sends // 50,
            "eligible": sends // 2,
            "opens": sends // 4,
        }
        counts |= {"hard_bounces": sends // 80, "clicks": sends // 20, "complaints": sends // 300}
        state.hours[day * rate.DAY_S + hour * 3600] = [counts.get(name, 0) for name in COUNTERS]
    return rate.pack(state)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--ids", type=int, default=50_000_000)
    chosen = parser.parse_args()
    rng = random.Random(1)
    begun = resident()
    print(f"{'libraries':<52} {begun / 2**20:>8,.0f} MiB")
    partitions = [Days() for _ in range(PARTITIONS)]
    size = 0
    start = time.process_time()
    data = b""
    for day in range(DAY, DAY + chosen.days):
        for value in range(chosen.values):
            data = packed(rng, day) if value % 100 == 0 else bytes(bytearray(data))
            size += len(data)
            partitions[value % PARTITIONS].apply(
                record_key(key_of("campaign", f"campaign-{value}"), day), data
            )
    seconds = time.process_time() - start
    counted = resident()
    states = sum(map(len, partitions))
    print(f"{f'{states:,} days of values':<52} {(counted - begun) / 2**20:>8,.0f} MiB")
    print(
        f"  {size / states:,.0f} bytes packed ({size / states / 24:.1f} an hour), "
        f"{(counted - begun) / states:,.0f} held each; {seconds / states * 1e6:.1f} µs each to apply"
    )
    seen = [Remembered() for _ in range(PARTITIONS)]
    each = chosen.ids // (PARTITIONS * BUCKETS)
    bits = np.random.default_rng(1)
    for remembered in seen:
        for bucket in range(BUCKETS):
            remembered.hold(bucket, [bits.integers(0, 2**64, each, dtype=np.uint64)])
    end = resident()
    ids = sum(map(len, seen))
    print(
        f"{f'{ids:,} ids':<52} {(end - counted) / 2**20:>8,.0f} MiB  ({(end - counted) / ids:.1f} bytes each)"
    )
    print(f"{'all':<52} {end / 2**20:>8,.0f} MiB of 2,048")


if __name__ == "__main__":
    main()
