"""Feedback reports (RFC 5965, RFC 6591, RFC 9991), and complaints that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mail.kinds import Kind

SES_ID = "0102018f00000001-11111111-2222-3333-4444-555555555555-000000"
RETURNED = (
    f"From: news@shop.example\nTo: ann@example.net\nMessage-ID: <{SES_ID}@eu-west-1.amazonses.com>\n\nHello\n"
)
ABUSE = (
    "Feedback-Type: abuse\nUser-Agent: Example-FBL/1.0\nVersion: 1\nOriginal-Mail-From: <x@shop.example>\n"
    "Original-Rcpt-To: <ann@yahoo.com>\nArrival-Date: Mon, 2 Nov 2026 10:00:00 +0000\nSource-IP: 192.0.2.1\n"
    "Reporting-MTA: dns; fbl.example.net\n"
)


def report(
    fields: str = ABUSE,
    returned: str = RETURNED,
    *,
    head: str = "Subject: Abuse report\n",
    kind: str = "multipart/report; report-type=feedback-report",
) -> str:
    original = f"--b\nContent-Type: message/rfc822\n\n{returned}\n" if returned else ""
    return (
        f"From: fbl@example.net\nTo: abuse@shop.example\nDate: Mon, 2 Nov 2026 10:05:00 +0000\n{head}"
        f'MIME-Version: 1.0\nContent-Type: {kind}; boundary="b"\n\n--b\nContent-Type: text/plain\n\nA report.\n\n'
        f"--b\nContent-Type: message/feedback-report\n\n{fields}\n{original}--b--\n"
    )


def test_what_a_report_says(tell: Callable[..., Kind]) -> None:
    kind = tell(report())
    assert (kind.kind, kind.reason, kind.automatic) == ("complaint", "feedback report: abuse", True)
    (row,) = kind.feedback
    assert row == {
        "event_type": "Complaint",
        "ses_id": SES_ID,
        "message_id": f"{SES_ID}@eu-west-1.amazonses.com",
        "address": "ann@yahoo.com",
        "domain": "yahoo.com",
        "provider": "yahoo",
        "reports_complaints": True,
        "blocked": False,
        "bounce_type": "",
        "bounce_subtype": "",
        "complaint_type": "abuse",
        "action": "",
        "status": "",
        "smtp_reply": "",
        "reporting_mta": "dns; fbl.example.net",
        "remote_mta_ip": "",
        "user_agent": "Example-FBL/1.0",
        "source_ip": "192.0.2.1",
        "time": 1793613900000,
    }


@pytest.mark.parametrize(
    "kind", ["abuse", "fraud", "virus", "other", "not-spam", "opt-out", "opt-out-list", "new-type"]
)
def test_every_type(tell: Callable[..., Kind], kind: str) -> None:
    told = tell(report(ABUSE.replace("abuse", kind)))
    assert (told.kind, told.feedback[0]["complaint_type"]) == ("complaint", kind)


@pytest.mark.parametrize("kind", ["auth-failure", "Auth-Failure"])
def test_failure_reports_are_no_complaints(tell: Callable[..., Kind], kind: str) -> None:
    fields = (
        ABUSE.replace("abuse", kind)
        + "Auth-Failure: dmarc\nDelivery-Result: reject\nIdentity-Alignment: none\n"
    )
    told = tell(report(fields))
    assert told.kind == "dmarc"
    assert [(row["event_type"], row["complaint_type"]) for row in told.feedback] == [("", "auth-failure")]


@pytest.mark.parametrize(
    "fields",
    [
        "Original-Rcpt-To: <a@yahoo.com>\nOriginal-Rcpt-To: <b@yahoo.com>\n",
        "Redacted-Address: redacted\nRedacted-Address: redacted@\n",
        "Original-Rcpt-To: redacted\n",
        "",
    ],
)
def test_candidates_prove_nothing(tell: Callable[..., Kind], fields: str) -> None:
    kind = tell(report("Feedback-Type: abuse\nUser-Agent: x\nVersion: 0.1\nOriginal-Mail-From:\n" + fields))
    assert [(row["address"], row["ses_id"]) for row in kind.feedback] == [("", SES_ID)]


def test_the_same_recipient_twice_is_one(tell: Callable[..., Kind]) -> None:
    (row,) = tell(report(ABUSE + "Original-Rcpt-To: ANN@yahoo.com\n")).feedback
    assert row["address"] == "ann@yahoo.com"


@pytest.mark.parametrize(
    "field",
    [
        f"Original-Mail-From: <{SES_ID}@amazonses.com>",
        f"Original-Mail-From: <{SES_ID}@eu-west-1.amazonses.com>",
        f"Original-Mail-From: {SES_ID}@bounce.shop.example",
        f"Original-Envelope-Id: {SES_ID}",
    ],
)
def test_fields_name_the_message(tell: Callable[..., Kind], field: str) -> None:
    (row,) = tell(report(f"Feedback-Type: abuse\n{field}\n", returned="")).feedback
    assert row["ses_id"] == SES_ID


def test_older_forms(tell: Callable[..., Kind]) -> None:
    fields = (
        ABUSE.replace("Arrival-Date", "Received-Date").replace("Version: 1", "Version: 0.1")
        + "Abuse-Type: spam\n"
    )
    told = tell(report(fields, kind="multipart/report"))
    assert (told.kind, told.feedback[0]["complaint_type"]) == ("complaint", "abuse")
    mixed = tell(report("User-Agent: x\n\nSource-IP: 192.0.2.7\n", kind="multipart/mixed"))
    assert [(row["complaint_type"], row["source_ip"]) for row in mixed.feedback] == [("abuse", "192.0.2.7")]


def test_a_subject_that_looks_forwarded_is_a_report_all_the_same(tell: Callable[..., Kind]) -> None:
    """Yahoo and AOL put `FW:` before the subject complained of."""
    assert tell(report(head="Subject: FW: November news\n")).kind == "complaint"


def test_sent_on_by_a_person_it_is_none(tell: Callable[..., Kind]) -> None:
    assert tell(report(head="Subject: Fwd: Abuse report\n", kind="multipart/mixed")).kind == "other"
    answer = "Subject: see this\nIn-Reply-To: <a@b.example>\n"
    assert tell(report(head=answer, kind="multipart/mixed")).kind == "reply"


@pytest.mark.parametrize("sender", ["staff@hotmail.com", "fbl@example.net"])
def test_microsoft_sends_the_bare_original(tell: Callable[..., Kind], sender: str) -> None:
    raw = (
        f"From: {sender}\nTo: abuse@shop.example\nSubject: complaint about message from 192.0.2.1\n"
        'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: message/rfc822\n\n'
        f"X-HmXmrOriginalRecipient: ann@hotmail.com\n{RETURNED}\n--b--\n"
    )
    kind = tell(raw)
    (row,) = kind.feedback
    assert (kind.kind, kind.reason) == ("complaint", "Microsoft JMRP")
    assert [row["address"], row["ses_id"], row["source_ip"], row["complaint_type"]] == [
        "ann@hotmail.com",
        SES_ID,
        "192.0.2.1",
        "abuse",
    ]
    assert tell(raw.replace("X-HmXmrOriginalRecipient", "X-Nothing")).kind == "other"
    assert tell(raw.replace("Subject: complaint", "Subject: Fwd: complaint")).kind == "other"
