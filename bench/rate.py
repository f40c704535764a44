"""What the rate agent costs: a stream of deltas through its step, in memory, on one core; with alarms and without.

`python bench/rate.py [--seconds N] [--repeat N] [--campaigns N] [--days N]`. Each second of traffic is 5,000 events of
1,000 campaigns in all 13 dimensions, in blocks of 250, whose deltas come in one batch: the agent folds once a second.
Before the first there are so many days of the like in memory. Hits (hard bounces 3.7 % of sends, complaints 0.05 % of
deliveries) are within the limits of the program's own rules, which are in force. Printed: seconds of processor time for
a second of traffic (below 1 it keeps up), deltas and rows a second, evaluations of alarm keys.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

# Polars would use all cores; the budget is of one.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import polars as pl

from pipelines.alarms.rules_file import RulesFile
from pipelines.counting import deltas
from pipelines.counting.rating import Policy
from pipelines.worker.alarm_step import AlarmStep, Outlets
from pipelines.worker.alarm_table import PlainAlarms
from pipelines.worker.config import RejectLimits
from pipelines.worker.counters import PlainCounters
from pipelines.worker.numbers import Numbers
from pipelines.worker.rate_step import RateStep, Ways
from pipelines.worker.records import Outlet
from pipelines.worker.rejects import Rejects
from schemas.blocks import SINGLE_OBJECT, open_block
from schemas.counters import COUNTERS, DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EVENTS = 5_000
BLOCK = 250
PARTITIONS = 12
NOON = 1_760_011_200
HOUR = 3600
KINDS = ("sends", "eligible", "opens", "clicks", "hard_bounces", "complaints")
SHARES = np.array([40, 39.5, 15, 4, 1.48, 0.02]) / 100
PROVIDERS = np.array(["gmail", "yahoo", "outlook", "other"])


class Past:
    """A memory of hours like those of the traffic."""

    def __init__(self, days: int, campaigns: int) -> None:
        self._hours = range(24, 24 * days)
        self._campaigns = campaigns

    def watermark(self) -> int:
        return 0

    def seen(self, _: int) -> Iterator[Any]:
        return iter(())

    def machines(self) -> Iterator[Any]:
        return iter(())

    def counters(self, _: int) -> Iterator[Any]:
        rng = np.random.default_rng(2)
        an_hour = EVENTS * 360
        values = [("account", "123456789012", 1)]
        values += [("tenant", f"tenant-{at}", 20) for at in range(20)]
        values += [("campaign", f"campaign-{at}", self._campaigns) for at in range(self._campaigns)]
        for dimension, value, of in values:
            counts = dict.fromkeys(COUNTERS, np.zeros(len(self._hours), dtype=np.int64))
            counts |= {
                name: rng.poisson(an_hour * share / of, len(self._hours))
                for name, share in zip(KINDS, SHARES, strict=True)
            }
            table = np.stack([counts[name] for name in COUNTERS], axis=1).tolist()
            for hour, row in zip(self._hours, table, strict=True):
                yield dimension, value, NOON - hour * HOUR, tuple(row)

    def last_version(self) -> int:
        return 0


def second(rng: np.random.Generator, number: int, campaigns: int) -> pl.DataFrame:
    """The deltas of a second's events, as the count agent makes them."""
    campaign = rng.integers(0, campaigns, EVENTS)
    provider = PROVIDERS[rng.integers(0, 4, EVENTS)]
    names = np.char.add("campaign-", campaign.astype(str))
    values = {
        "account": np.full(EVENTS, "123456789012"),
        "region": np.full(EVENTS, "eu-west-1"),
        "tenant": np.char.add("tenant-", (campaign % 20).astype(str)),
        "configuration_set": np.full(EVENTS, "marketing"),
        "from_domain": np.char.add("news-", (campaign % 3).astype(str)),
        "feedback_a": names,
        "feedback_b": np.char.add("customer-", (campaign % 50).astype(str)),
        "feedback_c": np.full(EVENTS, "eu-west-1.123456789012"),
        "feedback_ab": np.char.add(np.char.add(names, ":customer-"), (campaign % 50).astype(str)),
        "campaign": names,
        "provider": provider,
        "provider_campaign": np.char.add(np.char.add(provider, ":"), names),
        "outgoing_ip": np.char.add("54.240.0.", rng.integers(0, 8, EVENTS).astype(str)),
    }
    kinds = rng.choice(len(KINDS), EVENTS, p=SHARES)
    blocks = np.arange(EVENTS) // BLOCK
    common = {
        "source_partition": pl.Series(blocks % PARTITIONS, dtype=pl.Int32),
        "source_offset": pl.Series(number * EVENTS // BLOCK + blocks, dtype=pl.Int64),
        "hour": NOON - HOUR * (rng.random(EVENTS) < 0.1),
        **{name: (kinds == at).astype(np.int64) for at, name in enumerate(KINDS)},
    }
    parts = [pl.DataFrame({"dimension": name, "value": values[name], **common}) for name in DIMENSIONS]
    keys = ["source_partition", "source_offset", "dimension", "value", "hour"]
    rest = [pl.lit(0, dtype=pl.Int64).alias(name) for name in COUNTERS if name not in KINDS]
    summed = pl.concat(parts).group_by(keys).agg(pl.col(name).sum() for name in KINDS)
    return summed.with_columns(*rest, closed=pl.lit(value=False)).sort(keys)


def traffic(seconds: int, campaigns: int) -> list[list[Any]]:
    """Batches of records of ses.counts."""
    rng = np.random.default_rng(1)
    offsets = [0] * PARTITIONS
    batches = []
    for number in range(seconds):
        batch = []
        for partition, data in deltas.encode(second(rng, number, campaigns), PARTITIONS):
            facts = {
                "topic": "counts",
                "partition": partition,
                "offset": offsets[partition],
                "timestamp": 0.0,
            }
            batch.append(SimpleNamespace(message=SimpleNamespace(value=data, **facts)))
            offsets[partition] += 1
        batches.append(batch)
    return batches


class Counted:
    """Sends that go nowhere."""

    def __init__(self) -> None:
        self.rows = 0

    async def rates(self, blocks: Sequence[tuple[int, bytes]]) -> None:
        self.rows += sum(open_block(data).count for _, data in blocks)

    async def nowhere(self, _: Sequence[tuple[int, bytes]]) -> None:
        return


class Ours:
    """Sends of transitions."""

    def __init__(self) -> None:
        self.transitions = 0

    async def __call__(self, records: Sequence[Any]) -> None:
        self.transitions += len(records)


def run(batches: Sequence[list[Any]], past: Past, *, alarms: bool) -> tuple[float, int, Numbers]:
    """Processor time of all batches but the first, rows sent, and what else was counted."""
    sent, numbers, told = Counted(), Numbers(), Ours()
    counters = PlainCounters(past, PARTITIONS, 14, NOON * 1_000_000)
    step = RateStep(
        Ways(Outlet(sent.rates, sent.nowhere, SINGLE_OBJECT, PARTITIONS), sent.nowhere, sent.nowhere),
        counters,
        Policy(retention_days=14, cap=100_000 // PARTITIONS),
        Rejects("rate", RejectLimits(), time.monotonic),
        now_us=lambda: NOON * 1_000_000,
        numbers=numbers,
        alarms=AlarmStep(
            Outlets(told, sent.nowhere, SINGLE_OBJECT),
            counters,
            PlainAlarms(past, PARTITIONS),
            RulesFile(None, DIMENSIONS, 14),
            Rejects("alarm", RejectLimits(), time.monotonic),
            now_ms=lambda: NOON * 1_000 + 1_800_000,
            numbers=numbers,
        )
        if alarms
        else None,
    )

    async def all_of_them() -> float:
        await step(batches[0])
        sent.rows = numbers.evaluations = 0
        start = time.process_time()
        for batch in batches[1:]:
            await step(batch)
        return time.process_time() - start

    return asyncio.run(all_of_them()), sent.rows, numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of traffic")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--campaigns", type=int, default=1000)
    parser.add_argument("--days", type=int, default=14, help="remembered")
    chosen = parser.parse_args()
    batches, past = traffic(chosen.seconds + 1, chosen.campaigns), Past(chosen.days, chosen.campaigns)
    height = sum(open_block(event.message.value).count for batch in batches[1:] for event in batch)
    costs: dict[bool, list[float]] = {False: [], True: []}
    rows, numbers = 0, Numbers()
    for _ in range(chosen.repeat):
        for alarms, found in costs.items():
            seconds, rows, numbers = run(batches, past, alarms=alarms)
            found.append(seconds / chosen.seconds)
    for name, figures, unit in (
        ("processor time for a second of 5,000 events", costs[False], "s"),
        ("with alarms", costs[True], "s"),
        ("deltas folded", [height / chosen.seconds / each for each in costs[False]], "a second"),
    ):
        low, middle, high = min(figures), statistics.median(figures), max(figures)
        print(f"{name:<46} {middle:>12,.3f} {unit} ({low:,.3f} to {high:,.3f}, {len(figures)} runs)")
    print(f"{height / chosen.seconds:,.0f} deltas and {rows / chosen.seconds:,.0f} rows a second of traffic")
    print(
        f"{numbers.evaluations / chosen.seconds:,.0f} evaluations a second, {numbers.transitions} transitions"
    )


if __name__ == "__main__":
    main()
