"""How long an event takes to be visible in `events`, at a fixed rate through a whole embedded instance.

`python bench/latency.py [--rate EVENTS] [--seconds S]` starts `ses-streams up` in a new directory, posts bodies as
Firehose does, ten a second, and asks ClickHouse for one event of now this request, now that, every 10 ms until it is
there. Both latencies count from when a request was due, so a late sender is not in its own favour: `visible` to the
answer of the query that saw the event, `acknowledged` to the answer to Firehose (which waits for ClickHouse too).
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bridge import event

from connectors.clickhouse import door

PER_SECOND = 10
WARM_UP_S = 5
BUDGET_S = 2.0
START_S = 60
GIVE_UP_S = 60


def body(first: int, events: int) -> bytes:
    """A request of Firehose; `first` is the number of its first event."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()).encode()
    lines = (
        re.sub(rb"2026-10-05T[\d:.]+Z", now, event(number, "Delivery"))
        for number in range(first, first + events)
    )
    records = [{"data": base64.b64encode(line).decode()} for line in lines]
    return json.dumps(
        {"requestId": f"r{first}", "timestamp": int(time.time() * 1000), "records": records}
    ).encode()


def post(url: str, first: int, events: int, due: float) -> float:
    """Seconds from when the request was due to its answer."""
    headers = {"Content-Type": "application/json", "X-Amz-Firehose-Request-Id": f"r{first}"}
    request = urllib.request.Request(f"{url}/firehose", body(first, events), headers)
    with urllib.request.urlopen(request, timeout=GIVE_UP_S) as answer:
        answer.read()
    return time.monotonic() - due


def visible(instance: dict[str, Any], number: int, due: float) -> float:
    """Seconds from when the event was due to when a query found it."""
    message_id = json.loads(event(number, "Delivery"))["mail"]["messageId"]
    query = f"SELECT count() FROM events WHERE message_id = '{message_id}'"
    while time.monotonic() - due < GIVE_UP_S:
        if int(b"".join(door.query(instance["door"], instance["token"], query))):
            return time.monotonic() - due
        time.sleep(0.01)
    raise SystemExit(f"event {number} was not visible within {GIVE_UP_S} s")


def measure(instance: dict[str, Any], rate: int, seconds: int) -> tuple[list[float], list[float]]:
    """Latencies of markers and of requests."""
    events = rate // PER_SECOND
    posts, markers = [], []
    with ThreadPoolExecutor(64) as senders, ThreadPoolExecutor(1) as asker:
        start = time.monotonic() + 0.5
        for number in range((WARM_UP_S + seconds) * PER_SECOND):
            due = start + number / PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            sent = senders.submit(post, instance["http"], number * events, events, due)
            if number < WARM_UP_S * PER_SECOND:
                continue
            posts.append(sent)
            if not markers or markers[-1].done():
                markers.append(asker.submit(visible, instance, number * events + events - 1, due))
        return [each.result() for each in markers], [each.result() for each in posts]


def running(data: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Where the instance answers, once it does."""
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return dict(json.loads((data / "instance.json").read_text()))
        except (OSError, ValueError):
            time.sleep(0.05)
    raise SystemExit("no instance came up")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=5000, help="events a second")
    parser.add_argument("--seconds", type=int, default=30)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        command = [
            sys.executable,
            "-m",
            "connectors.cli.main",
            "up",
            "--data",
            str(data),
            "--http",
            "127.0.0.1:0",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            seen, answered = measure(running(data, process), chosen.rate, chosen.seconds)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    for name, found in (("visible", seen), ("acknowledged", answered)):
        cuts = statistics.quantiles(found, n=100, method="inclusive")
        print(
            f"{name:<13} p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s, most {max(found):.2f} s"
            f" ({len(found)} measured at {chosen.rate:,} events/s; budget: p99 {BUDGET_S:.0f} s)"
        )


if __name__ == "__main__":
    main()
