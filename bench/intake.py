"""How many events a second one core takes from NDJSON bytes to `SesEvent`s, to encoded blocks, and to those with what
threads want to know of messages sent.

`python bench/intake.py [rounds]` prints the median of the rounds and their spread. The events are of 1.3 KB
on average, in the proportions of healthy mail: half Deliveries, a third Sends, some Opens, Clicks and
Bounces, and a Complaint in a thousand.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import replace
from random import Random
from time import process_time
from typing import TYPE_CHECKING, Any

from pipelines.intake.intake import Intake
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.provenance import Provenance
from pipelines.mail.policy import MailPolicy
from schemas.avro import newest
from schemas.blocks import BlockBuilder

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = 40_000
CHUNK = 256 * 1024
PROVENANCE = Provenance("s3://events/2026/01/02/03/part-1.gz", 1_767_323_045_000, "firehose")
TYPES = ("Send", "Delivery", "Open", "Click", "Bounce", "Complaint")
WEIGHTS = (340, 500, 100, 40, 19, 1)
WAYS = {
    "JSON to SesEvents, threads = false": (False, False),
    "JSON to encoded blocks, threads = false": (True, False),
    "DEFAULT, JSON to encoded blocks, with rows of messages sent": (True, True),
}
DOMAINS = ("gmail.com", "yahoo.com", "hotmail.com", "example.org", "comcast.net", "web.de")


def payload(random: Random, number: int) -> dict[str, Any]:
    """One event, with headers as SES repeats them."""
    message = number // 3
    kind = random.choices(TYPES, WEIGHTS)[0]
    to = f"reader{message}@{DOMAINS[message % len(DOMAINS)]}"
    message_id = f"0100019b7c{message:06x}-{message:08x}-5f6c-4b5f-9b7c-9f0b1e2d3c4d-000000"
    sent = (
        f"2026-01-02T{message // 3600 % 24:02}:{message // 60 % 60:02}:{message % 60:02}.{number % 1000:03}Z"
    )
    mail = {
        "timestamp": sent,
        "source": "News <news@example.com>",
        "sourceArn": "arn:aws:ses:us-east-1:123456789012:identity/example.com",
        "sendingAccountId": "123456789012",
        "messageId": message_id,
        "destination": [to],
        "headersTruncated": False,
        "headers": [
            {"name": "From", "value": "News <news@example.com>"},
            {"name": "To", "value": to},
            {"name": "Subject", "value": "What is new in January, and what is not"},
            {"name": "MIME-Version", "value": "1.0"},
            {"name": "Content-Type", "value": 'multipart/alternative; boundary="=_part_73.0737"'},
        ],
        "commonHeaders": {
            "from": ["News <news@example.com>"],
            "to": [to],
            "messageId": message_id,
            "subject": "What is new in January, and what is not",
        },
        "tags": {
            "ses:operation": ["SendEmail"],
            "ses:configuration-set": ["marketing"],
            "ses:source-ip": ["192.0.2.1"],
            "ses:from-domain": ["example.com"],
            "ses:caller-identity": ["mailer"],
            "ses:feedback-id-a": [f"campaign-{message % 200}"],
        },
    }
    return {"eventType": kind, "mail": mail, kind.lower(): details(kind, to, sent, number)}


def details(kind: str, to: str, sent: str, number: int) -> dict[str, Any]:
    """The object of a type."""
    time = sent.replace("2026-01-02", "2026-01-03")
    if kind == "Delivery":
        reply = "250 2.0.0 OK  1767323045 d2e1a72fcca58-7b7a0 - gsmtp"
        mta = "a8-70.smtp-out.amazonses.com"
        return {
            "timestamp": time,
            "processingTimeMillis": 870,
            "recipients": [to],
            "smtpResponse": reply,
            "reportingMTA": mta,
        }
    if kind in ("Open", "Click"):
        agent = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
        return {
            "timestamp": time,
            "ipAddress": "192.0.2.7",
            "userAgent": agent,
            "link": "https://example.com/a",
        }
    if kind == "Bounce":
        one = {
            "emailAddress": to,
            "action": "failed",
            "status": "5.1.1",
            "diagnosticCode": "smtp; 550 5.1.1 no such user",
        }
        return {
            "bounceType": "Permanent",
            "bounceSubType": "General",
            "bouncedRecipients": [one],
            "timestamp": time,
            "feedbackId": f"f-{number}",
            "reportingMTA": "dsn; mta.example.com",
        }
    if kind == "Complaint":
        return {
            "complainedRecipients": [{"emailAddress": to}],
            "timestamp": time,
            "feedbackId": f"f-{number}",
            "complaintSubType": None,
        }
    return {}


def chunks(data: bytes) -> Iterator[bytes]:
    """As a source reads them."""
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


def take(data: bytes, *, encoded: bool, threads: bool) -> float:
    """Processor seconds for all events."""
    policy = NormalisePolicy(pii_key=b"bench")
    if threads:
        policy = replace(policy, outbound=MailPolicy(policy.directory(), pii_key=b"bench"))
    intake = Intake(policy)
    builder, sent = BlockBuilder(newest("ses_event")), BlockBuilder(newest("outbound_message"))
    count = blocks = 0
    start = process_time()
    for taken in intake.take_stream(chunks(data), PROVENANCE):
        count += len(taken.events)
        if encoded:
            for event in taken.events:
                builder.add(event)
                if builder.full:
                    blocks += len(builder.take()) > 0
            for message in taken.outbound:
                sent.add(message)
                if sent.full:
                    blocks += len(sent.take()) > 0
    seconds = process_time() - start
    if count != EVENTS:
        raise SystemExit(f"{count} of {EVENTS} events came through")
    return seconds


def main() -> None:
    """Measure, in turns, so that a busy machine slows both alike."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    random = Random(7)
    lines = [json.dumps(payload(random, number)).encode() for number in range(EVENTS)]
    data = b"\n".join(lines) + b"\n"
    print(f"{EVENTS} events of {len(data) // EVENTS} bytes, {rounds} rounds")
    results: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, (encoded, threads) in WAYS.items():
            results[name].append(EVENTS / take(data, encoded=encoded, threads=threads))
    for name, rates in results.items():
        print(
            f"{name} (processor): {statistics.median(rates):,.0f} events/s ({min(rates):,.0f} to {max(rates):,.0f})"
        )


if __name__ == "__main__":
    main()
