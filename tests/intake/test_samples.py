"""A tree of real payloads, where there is one (`SAMPLES_DIR`): each file ends in its right place.

The table is ours; of the files it only knows names. Whatever is not in it is a mail, a report or the
expected parse of one: one rejection a file, never an event.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from pipelines.intake.intake import Intake
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.provenance import Provenance

ROOT = Path(os.environ.get("SAMPLES_DIR", "/nonexistent"))
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="SAMPLES_DIR is not set")

TEN = [
    "Bounce",
    "Click",
    "Complaint",
    "Delivery",
    "DeliveryDelay",
    "Open",
    "Reject",
    "Rendering-Failure",
    "Send",
    "Subscription",
]
MAIL, ELSEWHERE, OTHER, NO_TIME = "mail", "mail_not_included", "not_an_ses_event", "invalid_timestamp"
EXPECTED: tuple[tuple[str, str], ...] = (
    *(
        (f"anymail/{kind}_event.ses.json", f"{kind.title()}/file")
        for kind in ("bounce", "delivery", "reject", "send")
    ),
    *(
        (f"anymail/{kind}_event.sns*", f"{kind.title()}/sns")
        for kind in ("bounce", "delivery", "reject", "send")
    ),
    *((f"anymail/{kind}_event.s*", NO_TIME) for kind in ("click", "complaint", "multiple_bounce", "open")),
    ("anymail/rendering_failure_event.s*", NO_TIME),
    ("anymail/incorrect_tracking_event*", "missing_field"),
    ("anymail/incorrect_received_event*", ELSEWHERE),
    ("anymail/in*.json", MAIL),
    ("anymail/sns_subscription_confirmation.json", "confirmation"),
    ("aws-docs-firehose/http-endpoint-3.txt", "malformed_json"),
    ("aws-docs-firehose/http-endpoint-6.txt", OTHER),
    *((f"aws-docs-ses/event-publishing-*-{kind.lower()}-record-*", f"{kind}/file") for kind in TEN),
    ("aws-docs-ses/legacy-notification-amazon-sns-delivery*", "Delivery/file"),
    ("aws-docs-ses/legacy-notification-bounce-*", "Bounce/file"),
    ("aws-docs-ses/legacy-notification-complaint-*", "Complaint/file"),
    ("aws-docs-ses/legacy-notification-object-*", OTHER),
    ("aws-docs-ses/receiving-alert-notification-1.invalid.json", "malformed_json"),
    ("aws-docs-ses/*sns-action-1.invalid.json", "malformed_json"),
    ("aws-docs-ses/*.invalid.json", "truncated_json"),
    ("aws-docs-ses/receiving-lambda-*-by-the-lambda-action-*", ELSEWHERE),
    ("aws-docs-ses/receiving-*", MAIL),
    *((f"*/ses-{kind}-event.json", ELSEWHERE) for kind in ("lambda", "sns")),
    ("*/ses-*-event.json", MAIL),
    ("*/kinesis-firehose-event.json", "not_json not_json"),
    ("*/kinesis-firehose-response.json", "not_json not_json not_json"),
    ("*/s3-event*.json", "object"),
    ("*/s3EventDeleteObject.json", "control"),
    ("*/s3*.json", "object"),
    ("*/s[nq]s-event.json", "not_json"),
    ("aws-lambda-ses-forwarder/event.json", ELSEWHERE),
    ("*/sesEvent.json", ELSEWHERE),
    ("*/kinesisFirehoseSQSEvent.json", "not_json"),
    ("*/kinesisFirehose*.json", f"{OTHER} not_json"),
    ("*/snsEvent.json", "not_json"),
    ("*/sqsDlqTriggerEvent.json", "not_json"),
    ("*/sqsEvent.json", f"{OTHER} not_json"),
    *((f"derived-envelopes/eventbridge-{kind.lower()}.json", f"{kind}/eventbridge") for kind in TEN),
    *((f"derived-envelopes/sqs-sns-enveloped-{kind.lower()}.json", f"{kind}/sns") for kind in TEN),
    *((f"derived-envelopes/sqs-sns-raw-{kind.lower()}.json", f"{kind}/file") for kind in TEN),
    ("derived-envelopes/sqs-eventbridge-bounce.json", "Bounce/eventbridge"),
    ("derived-envelopes/sqs-s3-event-setup-notification.json", "control"),
    ("derived-envelopes/sqs-s3-event-urlencoded-key.json", "object object"),
    ("derived-envelopes/sqs-sns-s3-event.json", "object"),
    ("derived-envelopes/sqs-sns-received-sns-action.json", MAIL),
    ("*/request-body-edge.json", "Delivery/firehose Open/firehose Send/firehose control not_json"),
    ("*/request-body.json*", " ".join(f"{kind}/firehose" for kind in TEN)),
    ("*/blank-lines-crlf-truncated-tail.json", "Delivery/file Send/file truncated_json"),
    ("*/processing-failed-record.json", "Bounce/firehose"),
    ("derived-envelopes/firehose-s3/*", " ".join(f"{kind}/file" for kind in TEN)),
    ("sisimai-set-of-emails/obsoleted/*.json", "Complaint/file"),
    ("parsedmarc/empty.xml", ""),
    ("*.zip", "unsupported_compression"),
    ("*.json", OTHER),
    ("*", "not_json"),
)


def files() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file())


def content(name: str) -> bytes:
    data = (ROOT / name).read_bytes()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def place(name: str) -> tuple[str, list[Any]]:
    """Where a file's records end, in words, and its events."""
    intake, words, events = Intake(NormalisePolicy(pii="plain")), Counter[str](), []
    for taken in intake.take_stream([content(name)], Provenance(f"file:///{name}", 1, "file")):
        words.update(f"{one['event_type'].replace(' ', '-')}/{one['path']}" for one in taken.events)
        words.update(one["cause"] for one in taken.dead_letters)
        words.update(
            {
                "object": len(taken.objects),
                "mail": len(taken.mails),
                "control": taken.controls,
                "confirmation": len(taken.confirmations),
            }
        )
        events += taken.events
    return " ".join(sorted(words.elements())), events


@pytest.mark.parametrize("name", files())
def test_every_file_ends_in_its_place(name: str) -> None:
    expected = next(words for pattern, words in EXPECTED if fnmatch(name, pattern))
    assert place(name)[0] == " ".join(sorted(expected.split()))


@pytest.mark.parametrize("name", [name for name in files() if fnmatch(name, "a*/*.json")])
def test_rows_say_what_the_bare_events_say(name: str) -> None:
    document = json.loads(content(name)) if "invalid" not in name else {}
    _, events = place(name)
    if not isinstance(document, dict) or not events or "mail" not in document:
        return
    (row,), mail = events, document["mail"]
    kind = document.get("eventType") or document["notificationType"]
    tags = mail.get("tags", {})
    assert row["event_type"] == kind
    assert row["message_id"] == mail["messageId"]
    assert row["account"] == mail.get("sendingAccountId", row["account"])
    assert row["region"] == mail.get("sourceArn", "::::::").split(":")[3]
    assert row["configuration_set"] == tags.get("ses:configuration-set", [""])[0]
    assert {one["name"]: one["values"] for one in row["tags"]} == tags
    sent = datetime.fromisoformat(mail["timestamp"].replace(" +0000", "+00:00"))
    assert row["sent_time"] == round(sent.timestamp() * 1000)
    detail = document.get(
        {"Rendering Failure": "failure", "DeliveryDelay": "deliveryDelay"}.get(kind, kind.lower()), {}
    )
    if "timestamp" in detail:
        assert row["event_time"] == round(datetime.fromisoformat(detail["timestamp"]).timestamp() * 1000)
    assert row["feedback_id"] == detail.get("feedbackId", "")
    named = (
        detail.get("bouncedRecipients")
        or detail.get("complainedRecipients")
        or detail.get("delayedRecipients")
    )
    about = (
        [one["emailAddress"] for one in named] if named else detail.get("recipients") or mail["destination"]
    )
    assert [one["address"] for one in row["recipients"]] == about


def test_the_derived_envelopes_of_one_event_have_one_id() -> None:
    for kind in TEN:
        names = [name for name in files() if fnmatch(name, f"derived-envelopes/*-{kind.lower()}.json")]
        ids = {place(name)[1][0]["event_id"] for name in names}
        assert (len(names) >= 3, len(ids)) == (True, 1), kind


def test_the_keys_of_announced_objects_are_decoded() -> None:
    name = "derived-envelopes/sqs-s3-event-urlencoded-key.json"
    taken = Intake(NormalisePolicy()).take(content(name), Provenance("x", 1, "file"))
    assert next(one.key.rsplit("/", 2)[-2:] for one in taken.objects) == ["red flower+plus", "café=1.eml"]
