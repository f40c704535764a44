"""Rows a second from encoded blocks to rows in ClickHouse (chdb, on disk), merges included.

`python bench/sink.py [ROUNDS]`: each round inserts 50,000 events as the sink does; prints the median and the
spread by the clock and by processor time (the budget is for one core).
"""

from __future__ import annotations

import random
import resource
import statistics
import sys
import tempfile
import time

from connectors.clickhouse.client import open_client
from connectors.clickhouse.inserts import EVENTS, insert_blocks
from connectors.clickhouse.migrations import migrate
from schemas.blocks import MAX_ROWS, Block, encode, open_block

BLOCKS = 100


def blocks(seed: int) -> list[Block]:
    chance = random.Random(seed)
    return [open_block(encode("ses_event", [event(chance) for _ in range(MAX_ROWS)])) for _ in range(BLOCKS)]


def event(chance: random.Random) -> dict[str, object]:
    sent = 1_767_225_600_000 + chance.randrange(86_400_000)
    provider = chance.choice(["gmail", "yahoo", "other"])
    reply = f"250 2.0.0 OK {chance.randrange(2**40):x}"
    campaign = f"campaign-{chance.randrange(1000)}"
    return {
        "event_id": chance.randbytes(16),
        "event_type": chance.choice(["Send", "Delivery", "Delivery", "Open"]),
        "event_time": sent + chance.randrange(60_000),
        "sent_time": sent,
        "message_id": f"010001{chance.randrange(2**160):040x}-000000",
        "account": "111122223333",
        "region": "us-east-1",
        "configuration_set": "marketing",
        "from_domain": "shop.example",
        "feedback_a": campaign,
        "campaign": campaign,
        "recipients": [
            {"address": chance.randbytes(16).hex(), "domain": f"{provider}.example", "provider": provider}
            | {"reports_complaints": provider != "gmail", "smtp_reply": reply}
        ],
        "smtp_reply": reply,
        "outgoing_ip": f"192.0.2.{chance.randrange(256)}",
        "tags": [{"name": "ses:feedback-id-a", "values": [campaign]}, {"name": "team", "values": ["growth"]}],
        "tagged": True,
        "path": "sns",
        "arrival_id": chance.randrange(2**62),
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as folder:
        client = open_client(f"chdb://{folder}/clickhouse", create=True)
        migrate(client)
        wall, processor = [], []
        for number in range(rounds + 1):
            batch = blocks(number)
            usage, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            rows = insert_blocks(client, EVENTS, batch)
            took = time.perf_counter() - began
            after = resource.getrusage(resource.RUSAGE_SELF)
            spent = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
            if number:  # the first warms up
                wall.append(rows / took)
                processor.append(rows / spent)
        found = client.command("SELECT count() FROM events")
        client.close()
    if int(found) != (rounds + 1) * BLOCKS * MAX_ROWS:
        raise SystemExit(f"{found} events in ClickHouse")
    for name, rates in (("clock", wall), ("processor", processor)):
        middle, low, high = statistics.median(rates), min(rates), max(rates)
        print(f"{name:>9}: {middle:>9,.0f} rows/s (from {low:,.0f} to {high:,.0f})")


if __name__ == "__main__":
    main()
