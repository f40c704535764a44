"""The bridge: SES JSON to acknowledged blocks, on one core, against a broker started here.

    python bench/bridge.py [EVENTS] [RUNS]

Prints, for each run and as median with spread, events a second and CPU microseconds an event (all threads of
this process: intake, encoding, kafka-python's sender; the broker's own CPU is not in it). The default configuration has
`inbound.threads = true`: a row of each message sent is made besides. It is measured with Deliveries and half as many
Sends, and with Deliveries alone, as where the configuration set publishes no Send: then each makes a row. Beside them
stand both with `inbound.threads = false`, and Deliveries for the bridge alone (submit to acknowledgement, no intake).
Ways take turns, so that a busy machine slows all alike. Wall time depends on who else uses the machine, CPU less so.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from connectors.bridge import Policy, Receipt
from connectors.bridge.bridge import Bridge
from connectors.bridge.producer import KafkaBlocks
from connectors.bridge.rows import sent_rows
from connectors.embedded import broker, lifeline
from connectors.kafka import ensure_topics
from connectors.settings import Kafka
from pipelines.intake.intake import Intake
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.provenance import Provenance
from pipelines.mail.policy import MailPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.intake.intake import Taken

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
        deliveries = b"".join(event(number, "Delivery") for number in range(events))
        mixed = b"".join(mixture(events))
        print(
            f"{events} events of {len(deliveries) // events} bytes (with Sends {len(mixed) // events}),"
            f" {PARTITIONS} partitions, {runs} runs"
        )
        taken = list(intake(deliveries, threads=False))
        gc.freeze()  # a bridge holds no such list: looking through it is not its cost
        ways: dict[str, Callable[[], Iterator[Taken]]] = {
            "DEFAULT, a third Sends, two thirds Deliveries": lambda: intake(mixed, threads=True),
            "DEFAULT, Deliveries without their Sends": lambda: intake(deliveries, threads=True),
            "threads = false, a third Sends": lambda: intake(mixed, threads=False),
            "threads = false, Deliveries": lambda: intake(deliveries, threads=False),
            "bridge alone, Deliveries, no intake": lambda: iter(taken),
        }
        costs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(runs):
            for name, batches in ways.items():
                costs[name].append(measure(name, events, batches, settings))
        for name, found in costs.items():
            report(name, found)
    finally:
        process.kill()
        process.communicate()


def intake(data: bytes, *, threads: bool) -> Iterator[Taken]:
    chunks = (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))
    policy = NormalisePolicy(pii_key=b"0123456789abcdef")
    if threads:
        policy = replace(policy, outbound=MailPolicy(policy.directory(), pii_key=policy.pii_key))
    return Intake(policy).take_stream(chunks, Provenance("file:///bench", 0, "file"))


def measure(
    name: str, events: int, batches: Callable[[], Iterator[Taken]], settings: Kafka
) -> tuple[float, float]:
    """Events a second, and microseconds of processor time an event."""
    bridge = Bridge(Policy(PARTITIONS), KafkaBlocks(settings))
    safe: list[float] = []
    wall, cpu = time.perf_counter(), time.process_time()
    receipt = Receipt(lambda: safe.append(time.perf_counter()))
    for taken in batches():
        bridge.submit(taken.events, (), receipt, sent_rows(taken.outbound))
    receipt.close()
    bridge.flush(60)
    cpu = time.process_time() - cpu
    counters = bridge.counters
    bridge.close()
    if counters.events != events or len(safe) != 1:
        raise SystemExit(f"{counters} instead of {events} events")
    rate, cost = events / (safe[0] - wall), cpu / events * 1e6
    print(
        f"  {name}: {rate:,.0f} events/s, {cost:.1f} us CPU an event, {counters.rows} messages sent,"
        f" {counters.blocks} blocks of {counters.bytes / counters.blocks / 1024:.0f} KiB"
    )
    return rate, cost


def report(name: str, found: list[tuple[float, float]]) -> None:
    rates, costs = zip(*found, strict=True)
    print(
        f"{name}: median {statistics.median(rates):,.0f} events/s ({min(rates):,.0f} to {max(rates):,.0f}),"
        f" {statistics.median(costs):.1f} us CPU an event ({min(costs):.1f} to {max(costs):.1f}),"
        f" so {1e6 / statistics.median(costs):,.0f} events/s a core"
    )


def mixture(events: int) -> Iterator[bytes]:
    """Of each message a Send, then two Deliveries."""
    for number in range(events):
        message, place = divmod(number, 3)
        yield event(message, "Send" if place == 0 else "Delivery")


def event(number: int, kind: str) -> bytes:
    """A Send or Delivery event of the usual size, bare, as Firehose would write it."""
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
    about = {"delivery": received} if kind == "Delivery" else {"send": {}}
    return json.dumps({"eventType": kind, "mail": mail, **about}).encode() + b"\n"


if __name__ == "__main__":
    main()
