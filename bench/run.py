"""Every benchmark beside Quix Streams on one embedded broker, in one run; one table at the end.

`make bench`, or `make bench ARGS="--rounds 5"`. Each script also runs alone. Figures of one run compare with
each other; on a machine that does other things as well their spread says how far.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
RESULTS = HERE / "results"
FIGURE = re.compile(r"^\s*(.+?):?(?: median)?\s+([\d,]+) (events|rows)/s\s+\((?:from )?([\d,]+) to ([\d,]+)")
PER_CORE = re.compile(r"^(.+?):.*us CPU an event \(([\d.]+) to ([\d.]+)\), so ([\d,]+) events/s a core")
PEER = "Quix Streams: keyed count"
PEERS = {PEER: 1, "Quix Streams: 13 dimensions": 13}
BUDGETS = {
    "bridge: DEFAULT, a third Sends, two thirds Deliveries (processor)": 40_000,
    "bridge: DEFAULT, Deliveries without their Sends (processor)": 40_000,
    "bridge: threads = false, a third Sends (processor)": 40_000,
    "bridge: threads = false, Deliveries (processor)": 40_000,
    "count: count agent (rate off) in Faust (processor)": 200_000,
    "sink: processor": 100_000,
}
LEGEND = """\
processor  by processor time of the process measured, all its threads, so per core; the broker's own is not in it
clock      by the wall clock, with whatever else the machine did
intake     one thread, no Kafka: NDJSON of 1.3 KB an event, framed, parsed, normalised; then also encoded
bridge     the same into 12 partitions of the embedded broker, until the last block is acknowledged (acks=all):
           DEFAULT is the configuration as it comes, with a row of each message sent for threads, for which Deliveries
           whose Sends are not published pay one by one; "bridge alone" starts from normalised Deliveries
count      step: 64 blocks of 500 events at a time, read, looked up among 5 M remembered ids, counted in 13 dimensions,
           deltas encoded; agents: the same in Faust, from Kafka to Kafka, changelogs on
Quix       one JSON event a record, keyed already; one count a campaign (or one in each of the same 13 dimensions), type
           and hour; no deduplication; changelog on
flat       the counting step, changelog records encoded, as the memory of ids grows to 20 M: what an event costs
sink       encoded blocks into ClickHouse (chdb, on disk), merges included
below      rate: a second's deltas of 5,000 events of 1,000 campaigns; memory: 100,000 campaigns of 14 days and 50 M
           ids in one process; restore: our part of reading a changelog; recovery: a worker on Kafka, from its start to
           its first delta"""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measurement: events or rows a second."""

    name: str
    median: float
    low: float
    high: float


@contextmanager
def broker() -> Iterator[str]:
    """The embedded broker, for all that follows."""
    from connectors.embedded import broker as embedded
    from connectors.embedded import lifeline

    if named := os.environ.get("KAFKA_BROKER"):
        yield named
        return
    port = embedded.free_port()
    process = subprocess.Popen(lifeline.wrap(embedded.command(port)), stdin=subprocess.PIPE)
    try:
        if not embedded.wait_for(port, process):
            raise SystemExit("the embedded broker did not start")
        yield f"{embedded.HOST}:{port}"
    finally:
        process.kill()
        process.communicate()


def script(name: str, title: str, arguments: list[str], server: str) -> list[Figure]:
    """Run one of the scripts here; what it printed."""
    command = [sys.executable, "-W", "ignore", str(HERE / name), *arguments]
    environment = os.environ | {"KAFKA_BROKER": server}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout, end="", flush=True)
    found = [figure for line in done.stdout.splitlines() for figure in read(line, title)]
    if not found:
        raise SystemExit(f"{name} printed no figure")
    return found


def read(line: str, title: str) -> Iterator[Figure]:
    """The figures of a line: by the clock, and by processor time where it tells that of an event."""
    if match := FIGURE.match(line):
        name, *numbers = match.group(1, 2, 4, 5)
        kind = "" if "processor" in name or "clock" in name else " (clock)"
        yield Figure(f"{title}: {name}{kind}", *(float(text.replace(",", "")) for text in numbers))
    if match := PER_CORE.match(line):
        name, least, most, rate = match.groups()
        label = f"{title}: {name} (processor)"
        yield Figure(label, float(rate.replace(",", "")), 1e6 / float(most), 1e6 / float(least))


def told(name: str, arguments: list[str], server: str) -> list[str]:
    """Run a script whose figures are not events a second; the lines it printed."""
    command = [sys.executable, "-W", "ignore", str(HERE / name), *arguments]
    environment = os.environ | {"KAFKA_BROKER": server}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    print(done.stdout, end="", flush=True)
    return [f"{name.removesuffix('.py'):<10} {line}" for line in done.stdout.splitlines() if line.strip()]


def peer(title: str, rounds: int, events: int, server: str) -> list[Figure]:
    """Quix Streams, each round in a process of its own."""
    count = [str(HERE / "quix_peer.py"), server, str(events), str(PEERS[title])]
    command = [sys.executable, "-W", "ignore", *count]
    runs = []
    for _ in range(rounds):
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    found = []
    for name in ("wall", "cpu"):
        rates = [run["events"] / run[name] for run in runs]
        label = f"{title} ({'clock' if name == 'wall' else 'processor'})"
        found.append(Figure(label, statistics.median(rates), min(rates), max(rates)))
        print(
            f"{label} {found[-1].median:,.0f} events/s ({min(rates):,.0f} to {max(rates):,.0f})", flush=True
        )
    return found


def show(figures: list[Figure]) -> None:
    """The table; counts beside the peer's, processor time by processor time and clock by clock."""
    base = {each.name: each for each in figures}
    table = Table(
        "", "min", "median", "max", "/ Quix", "/ Quix 13", "budget", title="Events or rows a second"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for each in figures:
        kind = "clock" if "clock" in each.name else "processor"
        peers = [base[f"{title} ({kind})"].median for title in PEERS]
        ratios = [f"{each.median / rate:.1f}" if each.name.startswith("count") else "" for rate in peers]
        budget = BUDGETS.get(each.name)
        values = (f"{value:,.0f}" for value in (each.low, each.median, each.high))
        table.add_row(each.name, *values, *ratios, f"{budget:,}" if budget else "")
    Console(width=120).print(table)
    print(LEGEND)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=100_000, help="of the peer, a round")
    chosen = parser.parse_args()
    rounds = str(chosen.rounds)
    ours = [
        ("intake.py", "intake", [rounds]),
        ("bridge.py", "bridge", ["100000", rounds]),
        ("count.py", "count", ["--repeat", rounds]),
        ("flat.py", "flat", ["--rounds", "1"]),
        ("sink.py", "sink", [rounds]),
    ]
    others = [
        ("rate.py", ["--repeat", rounds]),
        ("memory.py", []),
        ("restore.py", ["--repeat", rounds]),
        ("recovery.py", ["--repeat", rounds]),
    ]
    figures: list[Figure] = []
    load = os.getloadavg()
    with broker() as server:
        for name, title, arguments in ours:
            if (HERE / name).exists():
                figures += script(name, title, arguments, server)
            if name == "count.py":
                for rival, dimensions in PEERS.items():
                    figures += peer(
                        rival, chosen.rounds, chosen.events // (1 if dimensions == 1 else 4), server
                    )
        lines = [line for name, arguments in others for line in told(name, arguments, server)]
    show(figures)
    print("\n".join(["", *lines]))
    print(f"load of the machine: {load[0]:.1f} at the start, {os.getloadavg()[0]:.1f} at the end")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / time.strftime("%Y%m%d-%H%M%S.json", time.gmtime())
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    path.write_text(
        json.dumps(
            {"machine": machine, "figures": [asdict(each) for each in figures], "lines": lines}, indent=1
        )
    )
    print(f"written to {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
