"""How long evidence takes to become a transition in `ses.alarms`, at a fixed rate through a whole embedded instance.

`python bench/alarm_latency.py [--rate EVENTS] [--seconds S]` starts `ses-streams up` in a new directory and posts
bodies as Firehose does, ten a second. Every half second one more body has the bounces of a campaign that nobody heard
of, and that are proof at once. Latencies count from when that body was due to when a consumer has the transition that
opens the incident.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bridge import event
from kafka import KafkaConsumer, TopicPartition
from latency import GIVE_UP_S, PER_SECOND, WARM_UP_S, post, running

from connectors.settings import Kafka
from pipelines.alarms.transition import decode
from schemas import topics

BUDGET_S = 2.0
BOUNCES = 20
EVERY = PER_SECOND // 2


def bounces(number: int) -> bytes:
    """A request of Firehose with what a campaign bounces."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    records = []
    for at in range(BOUNCES):
        bounced = json.loads(event(0x40000000 + number * BOUNCES + at, "Delivery"))
        address = bounced["mail"]["destination"][0]
        bounced["mail"]["timestamp"] = now
        bounced["mail"]["tags"]["ses:feedback-id-a"] = [f"marker-{number}"]
        del bounced["delivery"]
        bounced["eventType"] = "Bounce"
        bounced["bounce"] = {
            "feedbackId": f"0102019b-{number}-{at}",
            "bounceType": "Permanent",
            "bounceSubType": "General",
            "bouncedRecipients": [{"emailAddress": address, "action": "failed", "status": "5.1.1"}],
            "timestamp": now,
        }
        records.append({"data": b64encode(json.dumps(bounced).encode()).decode()})
    return json.dumps(
        {"requestId": f"m{number}", "timestamp": int(time.time() * 1000), "records": records}
    ).encode()


def mark(url: str, number: int) -> None:
    headers = {"Content-Type": "application/json", "X-Amz-Firehose-Request-Id": f"m{number}"}
    request = urllib.request.Request(f"{url}/firehose", bounces(number), headers)
    with urllib.request.urlopen(request, timeout=GIVE_UP_S) as answer:
        answer.read()


class Opened:
    """When the incident of each campaign was read from `ses.alarms`, by a thread."""

    def __init__(self, broker: str) -> None:
        self.at: dict[str, float] = {}
        self._stop = threading.Event()
        self._consumer = KafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest")
        partitions = range(Kafka().partitions)
        self._consumer.assign([TopicPartition(topics.ALARMS, number) for number in partitions])
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop.is_set():
            for records in self._consumer.poll(20).values():
                now = time.monotonic()
                for record in records:
                    for row in decode(record.value):
                        if row["rule"] == "hard_bounce_rate":
                            self.at.setdefault(row["value"], now)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()


def measure(instance: dict[str, Any], rate: int, seconds: int) -> list[float]:
    """Seconds until each marker's incident was open."""
    events, dues = rate // PER_SECOND, {}
    opened = Opened(instance["broker"])
    try:
        with ThreadPoolExecutor(64) as senders:
            start = time.monotonic() + 0.5
            for number in range((WARM_UP_S + seconds) * PER_SECOND):
                due = start + number / PER_SECOND
                time.sleep(max(0.0, due - time.monotonic()))
                senders.submit(post, instance["http"], number * events, events, due)
                if number >= WARM_UP_S * PER_SECOND and number % EVERY == 0:
                    dues[f"marker-{number}"] = due
                    senders.submit(mark, instance["http"], number)
        deadline = time.monotonic() + GIVE_UP_S
        while dues.keys() - opened.at.keys():
            if time.monotonic() > deadline:
                raise SystemExit(f"{sorted(dues.keys() - opened.at.keys())} opened no incident")
            time.sleep(0.05)
    finally:
        opened.close()
    return [opened.at[name] - due for name, due in dues.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=5000, help="events a second")
    parser.add_argument("--seconds", type=int, default=30)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        command = [sys.executable, "-m", "connectors.cli.main", "up"]
        command += ["--data", str(data), "--http", "127.0.0.1:0"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            found = measure(running(data, process), chosen.rate, chosen.seconds)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    print(
        f"evidence to transition: p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s, most {max(found):.2f} s"
        f" ({len(found)} measured at {chosen.rate:,} events/s; budget: p99 {BUDGET_S:.0f} s)"
    )


if __name__ == "__main__":
    main()
