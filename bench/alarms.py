"""How rarely alarms of rates are wrong, and how soon they are right: the shipped test and state machine by simulation.

`python bench/alarms.py [--quick] [--seed N] [--write-docs]`. Complaints against the limits of SES and Gmail (0.1 %,
0.3 %), all defaults. Everything that is compared sees the same streams at the same looks, every ten minutes:

- wrong pages: years of traffic whose rate never is above the limit, exactly at it or half of it;
- delays: two weeks at half the limit, then so many times the limit.

With `--write-docs` the tables and the plot of docs/alarms.md are written anew.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from alarm_docs import write
from alarm_figures import Delay, Wrong
from alarm_rivals import RIVALS, openings
from alarm_streams import DAY, LOOKS, Traffic, may_page, pages, streams
from scipy.special import gammaincinv

from pipelines.alarms.mixture import Mixture
from pipelines.alarms.rules import defaults
from pipelines.alarms.signals import SHARES
from pipelines.counting.bounds import clopper_pearson

if TYPE_CHECKING:
    from alarm_streams import Streams
    from numpy.typing import NDArray

RULE = defaults().by_name["complaint_rate"]
LIMIT = RULE.limits[0][1]
LATE_H = SHARES["complaint_rate"].late_h
OURS = "SES Streams"
TOLD = "told the rate"
VOLUMES = (5, 50, 500, 5000)
HISTORY_DAYS = 14
HORIZON_DAYS = 45
MONTH = 30 * DAY
CHUNK = 150
"""Keys at once: half a gigabyte."""


def wrong(traffic: Traffic, part: float, years: int, rng: np.random.Generator) -> Wrong:
    rates = np.full(len(traffic.trials(365)), LIMIT * part)
    by_rule: dict[str, list[NDArray[np.int64]]] = {}
    for start in range(0, years, CHUNK):
        found = streams(traffic, rates, min(CHUNK, years - start), 365, rng)
        for name, looks in opened(found).items():
            by_rule.setdefault(name, []).extend(looks)
    return Wrong(
        traffic.name,
        traffic.volume,
        "at the limit" if part == 1 else "half the limit",
        years,
        {name: poisson(sum(map(len, looks)), years) for name, looks in by_rule.items()},
        {
            name: binomial(sum(bool((each < MONTH).any()) for each in looks), years)
            for name, looks in by_rule.items()
        },
    )


def opened(found: Streams) -> dict[str, list[NDArray[np.int64]]]:
    """By rule, of each key the looks at which it paged."""
    keys = range(len(found.hits))
    looks = {OURS: [np.array(each, dtype=np.int64) for each in pages(found, RULE, LATE_H)]}
    return looks | {
        name: [openings(rule(found, key, LIMIT)) for key in keys] for name, rule in RIVALS.items()
    }


def delay(traffic: Traffic, multiple: float, runs: int, rng: np.random.Generator) -> Delay:
    rates = np.full(len(traffic.trials(HISTORY_DAYS + HORIZON_DAYS)), LIMIT * multiple)
    change = HISTORY_DAYS * DAY
    rates[:change] = LIMIT / 2
    found = streams(traffic, rates, runs, HISTORY_DAYS + HORIZON_DAYS, rng)
    hours = {
        OURS: [
            after(np.array(each, dtype=np.int64), change) for each in pages(found, RULE, LATE_H, until=change)
        ]
    }
    for name, rule in RIVALS.items():
        # A rule that holds already when the rate changes is given the look after as the time it took.
        hours[name] = [after(rule(found, key, LIMIT).nonzero()[0], change) for key in range(runs)]
    oracle = may_page(found, told(multiple), float(np.log(RULE.threshold)))
    hours[TOLD] = [after(row.nonzero()[0], change) for row in oracle]
    return Delay(
        traffic.name,
        traffic.volume,
        multiple,
        runs,
        {name: middle(np.sort(each)) for name, each in hours.items()},
        {name: float(np.sort(each)[int(np.ceil(0.9 * runs)) - 1]) for name, each in hours.items()},
    )


def told(multiple: float) -> Mixture:
    """The test that knows the rate to come, and sees hits at once: none with the same promise is much sooner."""
    rate = LIMIT * multiple
    return Mixture(np.array([np.log(multiple)]), np.array([np.log1p(-rate) - np.log1p(-LIMIT)]), np.ones(1))


def after(looks: NDArray[np.int64], change: int) -> float:
    """Hours from the change to the end of the first look of these; infinite: none."""
    later = looks[looks >= change]
    return float(later[0] - change + 1) / LOOKS if len(later) else np.inf


def poisson(count: int, years: int) -> tuple[float, float, float]:
    low = float(gammaincinv(count, 0.025)) if count else 0.0
    return count / years, low / years, float(gammaincinv(count + 1, 0.975)) / years


def binomial(count: int, number: int) -> tuple[float, float, float]:
    low, high = clopper_pearson(np.array([count]), np.array([number]))
    return count / number, float(low[0]), float(high[0])


def middle(hours: NDArray[np.float64]) -> tuple[float, float, float]:
    number = len(hours)
    spread = 0.98 * np.sqrt(number)
    low, high = max(int(number / 2 - spread), 0), min(int(np.ceil(number / 2 + spread)), number - 1)
    return float(hours[number // 2]), float(hours[low]), float(hours[high])


def line(name: str, figures: dict[str, str]) -> None:
    print(f"{name:44}" + "".join(f"{figures[each]:>22}" for each in figures), flush=True)


def show_wrong(found: Wrong) -> None:
    line(
        f"{found.traffic}, {found.rate}",
        {name: f"{mean:.2f} ({low:.2f}-{high:.2f})" for name, (mean, low, high) in found.pages.items()},
    )


def show_delay(found: Delay) -> None:
    line(
        f"{found.traffic}, {found.multiple:g} times the limit",
        {
            name: f"{mid:.1f} ({low:.1f}-{high:.1f}) {found.p90[name]:.1f}"
            for name, (mid, low, high) in found.median.items()
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer years and runs: below a minute")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument(
        "--write-docs", action="store_true", help="write docs/alarms.md's tables and plot anew"
    )
    chosen = parser.parse_args()
    years, runs = (10, 40) if chosen.quick else (300, 500)
    begun = time.process_time()
    rng = np.random.default_rng(chosen.seed)

    print(f"Pages a key-year that are wrong, with 95 % limits; {years} key-years each")
    line("", dict(zip([OURS, *RIVALS], [OURS, *RIVALS], strict=True)))
    cases = [(Traffic(volume), part) for part in (1.0, 0.5) for volume in VOLUMES]
    cases += [
        (Traffic(500, daily=True), 1.0),
        (Traffic(500, late=True), 1.0),
        (Traffic(5000, daily=True), 1.0),
    ]
    wrongs = []
    for traffic, part in cases:
        wrongs.append(wrong(traffic, part, years, rng))
        show_wrong(wrongs[-1])

    print(f"\nHours from the change to the page: median (95 % limits) and 90th percentile; {runs} runs each")
    line("", dict(zip([OURS, *RIVALS, TOLD], [OURS, *RIVALS, TOLD], strict=True)))
    cases = [(Traffic(volume), multiple) for multiple in (5, 2) for volume in VOLUMES[1:]]
    cases += [(Traffic(500, daily=True), 5), (Traffic(500, late=True), 5)]
    delays = []
    for traffic, multiple in cases:
        delays.append(delay(traffic, multiple, runs, rng))
        show_delay(delays[-1])
    print(f"\n{time.process_time() - begun:.0f} s of processor time")
    if chosen.write_docs:
        write(Path(__file__).parents[1] / "docs", wrongs, delays, f"{years} key-years and {runs} runs each")


if __name__ == "__main__":
    main()
