"""The bridge: SES JSON to acknowledged blocks, on one core, against a broker started here.

    python bench/bridge.py [EVENTS] [RUNS]

Prints, for each run and as median with spread, events a second and CPU microseconds an event (all threads of
this process: intake, encoding, kafka-python's sender; the broker's own CPU is not in it), once with the
intake and once for the bridge alone (submit to acknowledgement). Wall time depends on who else uses the
machine, CPU less so.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from connectors.bridge import Policy, Receipt
from connectors.bridge.bridge import Bridge
from connectors.bridge.producer import KafkaBlocks
from connectors.embedded import broker, lifeline
from connectors.kafka import ensure_topics
from connectors.settings import Kafka
from pipelines.intake.intake import Intake
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from schemas.events import SesEvent

PARTITIONS = 12
CHUNK = 256 * 1024


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    port = broker.free_port()
    process = subprocess.Popen(lifeline.wrap(broker.command(port)), stdin=subprocess.PIPE)
    try:
        if not broker.wait_for(port, process):
            raise SystemExit("the embedded broker did not start")
        settings = Kafka(brokers=f"{broker.HOST}:{port}", partitions=PARTITIONS, replication=1)
        ensure_topics(settings)
        data = b"".join(delivery(number) for number in range(events))
        print(f"{events} events of {len(data) // events} bytes, {PARTITIONS} partitions, {runs} runs")
        measure("intake + bridge", events, runs, lambda: (taken.events for taken in intake(data)), settings)
        taken = [taken.events for taken in intake(data)]
        gc.freeze()  # a bridge holds no such list: looking through it is not its cost
        measure("bridge alone", events, runs, lambda: iter(taken), settings)
    finally:
        process.kill()
        process.communicate()


def intake(data: bytes) -> Iterator:
    chunks = (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))
    policy = NormalisePolicy(pii_key=b"0123456789abcdef")
    return Intake(policy).take_stream(chunks, Provenance("file:///bench", 0, "file"))


def measure(
    name: str, events: int, runs: int, batches: Callable[[], Iterator[list[SesEvent]]], settings: Kafka
) -> None:
    rates, costs = [], []
    for run in range(runs):
        bridge = Bridge(Policy(PARTITIONS), KafkaBlocks(settings))
        safe: list[float] = []
        wall, cpu = time.perf_counter(), time.process_time()
        receipt = Receipt(lambda safe=safe: safe.append(time.perf_counter()))
        for batch in batches():
            bridge.submit(batch, (), receipt)
        receipt.close()
        bridge.flush(60)
        cpu = time.process_time() - cpu
        counters = bridge.counters
        bridge.close()
        if counters.events != events or len(safe) != 1:
            raise SystemExit(f"{counters} instead of {events} events")
        rates.append(events / (safe[0] - wall))
        costs.append(cpu / events * 1e6)
        print(
            f"  {name}, run {run + 1}: {rates[-1]:,.0f} events/s, {costs[-1]:.1f} us CPU an event,"
            f" {counters.blocks} blocks of {counters.bytes / counters.blocks / 1024:.0f} KiB"
        )
    print(
        f"{name}: median {statistics.median(rates):,.0f} events/s ({min(rates):,.0f} to {max(rates):,.0f}),"
        f" {statistics.median(costs):.1f} us CPU an event ({min(costs):.1f} to {max(costs):.1f}),"
        f" so {1e6 / statistics.median(costs):,.0f} events/s a core"
    )


def delivery(number: int) -> bytes:
    """A Delivery event of the usual size, bare, as Firehose would write it."""
    sent = f"2026-10-05T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.{number % 1000:03}Z"
    sender = "Shop <news@shop.example>"
    address = f"person{number % 50_000}@mailbox{number % 40}.example"
    tags = {
        "ses:source-tls-version": ["TLSv1.3"],
        "ses:operation": ["SendEmail"],
        "ses:configuration-set": ["marketing"],
        "ses:source-ip": [f"203.0.113.{number % 8}"],
        "ses:from-domain": ["shop.example"],
        "ses:caller-identity": ["mailer"],
        "ses:outgoing-ip": [f"198.51.100.{number % 16}"],
        "ses:feedback-id-a": [f"campaign-{number % 25}"],
    }
    headers = [
        {"name": "From", "value": sender},
        {"name": "To", "value": address},
        {"name": "Subject", "value": "Your autumn offers"},
        {"name": "MIME-Version", "value": "1.0"},
    ]
    mail = {
        "timestamp": sent,
        "source": sender,
        "sourceArn": "arn:aws:ses:eu-west-1:111122223333:identity/shop.example",
        "sendingAccountId": "111122223333",
        "messageId": f"0102019b{number:08x}-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9-000000",
        "destination": [address],
        "headersTruncated": False,
        "headers": headers,
        "commonHeaders": {
            "from": ["Shop <news@shop.example>"],
            "to": [address],
            "subject": "Your autumn offers",
        },
        "tags": tags,
    }
    received = {
        "timestamp": sent,
        "processingTimeMillis": 700 + number % 900,
        "recipients": [address],
        "smtpResponse": f"250 2.0.0 OK {number} a1b2c3d4e5f6 - gsmtp",
        "reportingMTA": "b232-18.smtp-out.eu-west-1.amazonses.com",
    }
    return json.dumps({"eventType": "Delivery", "mail": mail, "delivery": received}).encode() + b"\n"


if __name__ == "__main__":
    main()
