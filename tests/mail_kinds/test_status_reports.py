"""RFC 3464 and RFC 6533 reports, as they should be and as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pipelines.mail.kinds.dsn import address_of, reply_of, status_of
from pipelines.mail.notice import Notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mail.kinds import Kind
    from schemas.mail import Feedback

SES_ID = "0102018f00000001-11111111-2222-3333-4444-555555555555-000000"
OTHER_ID = "0102018f00000002-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee-000000"
RETURNED = f"From: news@shop.example\nTo: ann@example.net\nMessage-ID: <{SES_ID}@eu-west-1.amazonses.com>\n"
STATUS = (
    "Reporting-MTA: dns; mx.example.net\nArrival-Date: Mon, 2 Nov 2026 10:00:00 +0000\n\n"
    "Final-Recipient: rfc822; ann@example.net\nAction: failed\nStatus: 5.1.1\n"
    "Remote-MTA: dns; mx2.example.net [192.0.2.9]\nDiagnostic-Code: smtp; 550 5.1.1 no such user\n"
    "Last-Attempt-Date: Mon, 2 Nov 2026 10:01:00 +0000\n"
)


def report(
    status: str = STATUS,
    returned: str = RETURNED,
    *,
    head: str = "",
    text: str = "See below.",
    kind: str = "multipart/report; report-type=delivery-status",
    part: str = "message/delivery-status",
    sender: str = "MAILER-DAEMON@mx.example.net",
) -> str:
    original = f"--b\nContent-Type: text/rfc822-headers\n\n{returned}\n" if returned else ""
    return (
        f"From: {sender}\nTo: bounces@shop.example\nSubject: Undelivered mail\n"
        f"Date: Mon, 2 Nov 2026 10:05:00 +0000\n{head}MIME-Version: 1.0\n"
        f'Content-Type: {kind}; boundary="b"\n\n--b\nContent-Type: text/plain\n\n{text}\n'
        f"--b\nContent-Type: {part}\n\n{status}\n{original}--b--\n"
    )


def told(row: Feedback, *names: str) -> list[Any]:
    return [row[name] for name in names]  # type: ignore[literal-required]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_what_a_report_says(tell: Callable[..., Kind], end: str) -> None:
    kind = tell(report().replace("\n", end))
    assert (kind.kind, kind.reason, kind.automatic) == ("bounce", "RFC 3464 report", True)
    (row,) = kind.feedback
    assert row == {
        "event_type": "Bounce",
        "ses_id": SES_ID,
        "message_id": f"{SES_ID}@eu-west-1.amazonses.com",
        "address": "ann@example.net",
        "domain": "example.net",
        "provider": "other",
        "reports_complaints": False,
        "blocked": False,
        "bounce_type": "Permanent",
        "bounce_subtype": "NoEmail",
        "complaint_type": "",
        "action": "failed",
        "status": "5.1.1",
        "smtp_reply": "550 5.1.1 no such user",
        "reporting_mta": "dns; mx.example.net",
        "remote_mta_ip": "192.0.2.9",
        "user_agent": "",
        "source_ip": "",
        "time": 1793613660000,
    }


def test_addresses_are_hashed_and_replies_redacted(tell: Callable[..., Kind], policy: Any) -> None:
    hashed = type(policy)(policy.directory, pii_key=b"k")
    kind = tell(report(STATUS.replace("no such user", "<ann@example.net> unknown")), under=hashed)
    (row,) = kind.feedback
    assert (len(row["address"]), row["domain"]) == (32, "example.net")
    assert "ann@" not in str(kind)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(
            "Reporting-MTA: dns; mx.example.net\n\nAction: failed\nFinal-Recipient: rfc822;ann@example.net\n"
            "Diagnostic-Code: smtp; 550 5.1.1 user unknown\nStatus: 5.1.1\n",
            [["ann@example.net", "failed", "5.1.1"]],
            id="fields in another order",
        ),
        pytest.param(
            STATUS + "\n" + STATUS.partition("\n\n")[2].replace("ann@", "bob@").replace("failed", "delayed"),
            [["ann@example.net", "failed", "5.1.1"], ["bob@example.net", "delayed", "5.1.1"]],
            id="several recipients",
        ),
        pytest.param(
            "Final-Recipient: rfc822; ann@example.net\nAction: failed\nStatus: 5.1.1\n"
            "Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.2.2\n",
            [["ann@example.net", "failed", "5.1.1"], ["bob@example.net", "failed", "5.2.2"]],
            id="no blank line between recipients",
        ),
        pytest.param(
            "Reporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; ann@example.net\n\nAction: failed\n\nStatus: 5.2.1\n",
            [["ann@example.net", "failed", "5.2.1"]],
            id="blank lines within a recipient",
        ),
        pytest.param(
            "Reporting-MTA: dns; mx\nFinal-Recipient: rfc822; ann@example.net\nAction: failed\nStatus: 5.2.1\n",
            [["ann@example.net", "failed", "5.2.1"]],
            id="no blank line at all",
        ),
        pytest.param(
            STATUS.replace("Status: 5.1.1", "Status: 5.0.0 (permanent failure)"),
            [["ann@example.net", "failed", "5.1.1"]],
            id="a comment in Status, which is general",
        ),
        pytest.param(
            STATUS.replace("Status: 5.1.1", "Status: (was 4.1.1) 5.1.2"),
            [["ann@example.net", "failed", "5.1.2"]],
            id="a comment before Status",
        ),
        pytest.param(
            STATUS.replace("Action: failed", "Action: failed (gave up; retry time passed)"),
            [["ann@example.net", "failed", "5.1.1"]],
            id="a comment in Action",
        ),
        pytest.param(
            "Original-Recipient: rfc822;ann@example.net\nAction: failed\nStatus: 5.1.1\n",
            [["ann@example.net", "failed", "5.1.1"]],
            id="Original-Recipient alone",
        ),
        pytest.param(
            "Final-Recipient: rfc822; <ann@example.net>\nStatus: 5.1.1\n",
            [["ann@example.net", "failed", "5.1.1"]],
            id="no Action, an address in brackets",
        ),
        pytest.param(
            "Final-Recipient: rfc822; ann@example.net\nAction: relayed\nStatus: 2.1.9\n",
            [["ann@example.net", "relayed", "2.1.9"]],
            id="relayed",
        ),
    ],
)
def test_reports_as_they_are(tell: Callable[..., Kind], status: str, expected: list[list[str]]) -> None:
    kind = tell(report(status))
    assert kind.kind == "bounce"
    assert [told(row, "address", "action", "status") for row in kind.feedback] == expected


@pytest.mark.parametrize(
    ("action", "status", "event", "bounce"),
    [
        ("failed", "5.1.1", "Bounce", "Permanent"),
        ("failed", "4.4.7", "Bounce", "Transient"),
        ("delayed", "4.4.1", "DeliveryDelay", ""),
        ("delivered", "2.0.0", "Delivery", ""),
        ("relayed", "2.0.0", "Delivery", ""),
        ("expanded", "2.0.0", "Delivery", ""),
        ("deliverable", "2.1.5", "Delivery", ""),
    ],
)
def test_actions(tell: Callable[..., Kind], action: str, status: str, event: str, bounce: str) -> None:
    text = f"Final-Recipient: rfc822; ann@example.net\nAction: {action}\nStatus: {status}\n"
    (row,) = tell(report(text)).feedback
    assert (row["event_type"], row["bounce_type"], row["blocked"]) == (event, bounce, False)


def test_ses_forwards_a_bounce(tell: Callable[..., Kind]) -> None:
    """Its own id is that of the forwarded bounce; the message is named by what is returned."""
    status = (
        "Reporting-MTA: dsn; a1-2.smtp-out.eu-west-1.amazonses.com\n\nAction: failed\n"
        "Final-Recipient: rfc822; ann@example.net\nDiagnostic-Code: smtp; 550 5.1.1 user unknown\nStatus: 5.1.1\n"
    )
    head = f"Message-ID: <{OTHER_ID}@eu-west-1.amazonses.com>\nReturn-Path: <>\n"
    (row,) = tell(report(status, head=head, sender="MAILER-DAEMON@eu-west-1.amazonses.com")).feedback
    assert told(row, "ses_id", "reporting_mta") == [
        SES_ID,
        "dsn; a1-2.smtp-out.eu-west-1.amazonses.com",
    ]


def test_ses_bounces_what_it_receives(tell: Callable[..., Kind]) -> None:
    """Its Bounce action: a year of two digits."""
    status = (
        "Reporting-MTA: dns; inbound-smtp.eu-west-1.amazonaws.com\nArrival-Date: Mon, 2 Nov 26 10:00:00 +0000\n\n"
        "Final-Recipient: rfc822; ann@example.net\nDiagnostic-Code: smtp; 550 5.1.1 mailbox does not exist\n"
        "Last-Attempt-Date: Mon, 2 Nov 26 10:00:00 +0000\nAction: failed\nStatus: 5.1.1\n"
    )
    (row,) = tell(report(status)).feedback
    assert told(row, "time", "bounce_type", "bounce_subtype") == [1793613600000, "Permanent", "NoEmail"]


def test_x_postfix_diagnostics(tell: Callable[..., Kind]) -> None:
    status = STATUS.replace(
        "smtp; 550 5.1.1 no such user",
        "X-Postfix; host mx2.example.net[192.0.2.77]\n    said: 552 5.2.2 mailbox full (in reply to RCPT)",
    ).replace("Remote-MTA: dns; mx2.example.net [192.0.2.9]\n", "")
    (row,) = tell(report(status)).feedback
    assert (
        row["smtp_reply"]
        == "host mx2.example.net[192.0.2.77] said: 552 5.2.2 mailbox full (in reply to RCPT)"
    )
    assert told(row, "remote_mta_ip", "bounce_subtype") == ["192.0.2.77", "MailboxFull"]


@pytest.mark.parametrize(
    "kind", ["multipart/report", "multipart/mixed", 'multipart/report; report-type="Delivery-Status"']
)
def test_report_type_is_missing_or_odd(tell: Callable[..., Kind], kind: str) -> None:
    assert tell(report(kind=kind)).kind == "bounce"


def test_in_utf_8(tell: Callable[..., Kind]) -> None:
    """RFC 6533: addresses beyond ASCII, as they are or with escapes."""
    status = (
        "Reporting-MTA: dns; mx.example.net\n\nOriginal-Recipient: utf-8;j\\x{F6}rg@b\\x{FC}cher.example\n"
        "Final-Recipient: utf-8;jörg@bücher.example\nAction: failed\nStatus: 5.1.1\n"
        "Diagnostic-Code: smtp; 550 5.1.1 kein Postfach für jörg\n"
    )
    kind = tell(
        report(
            status,
            kind="multipart/report; report-type=global-delivery-status",
            part="message/global-delivery-status",
        )
    )
    (row,) = kind.feedback
    assert told(row, "address", "domain", "status") == ["jörg@bücher.example", "bücher.example", "5.1.1"]
    assert row["smtp_reply"].endswith("für jörg")


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822; ann@EXAMPLE.net", "ann@example.net"),
        ("RFC822;<ann@example.net>", "ann@example.net"),
        ("ann@example.net", "ann@example.net"),
        (r"utf-8; \x{4F60}\x{597D}@example.net", "你好@example.net"),
        (r"utf-8; \x{FFFFFF}@example.net", "\N{REPLACEMENT CHARACTER}@example.net"),
        ("x-local; ann", ""),
        ("", ""),
    ],
)
def test_addresses(value: str, address: str) -> None:
    assert address_of(value) == address


@pytest.mark.parametrize(
    ("field", "reply", "status"),
    [
        ("5.2.2", "550 5.1.1 x", "5.2.2"),
        ("5.0.0", "550 5.1.1 x", "5.1.1"),
        ("5.0.0", "450 4.2.1 x", "5.0.0"),
        ("", "421-4.7.28 x", "4.7.28"),
        ("", "host 10.5.5.1 said no", ""),
        ("", "Sorry. (#5.4.6)", "5.4.6"),
        ("5.1.1.", "", "5.1.1"),
        ("", "250 2.1.5 Ok, then 451 4.3.0 queue file write error", "4.3.0"),
    ],
)
def test_statuses(field: str, reply: str, status: str) -> None:
    assert status_of(field, reply) == status


def test_replies() -> None:
    assert reply_of("smtp; 550 no") == "550 no"
    assert reply_of("X-Unix; 67") == "67"
    assert reply_of("550 no; really") == "550 no; really"


@pytest.mark.parametrize(
    ("fields", "head", "returned", "ses_id"),
    [
        ("Original-Envelope-Id: " + SES_ID + "\n", "", "", SES_ID),
        (f"X-Postfix-Sender: rfc822; {SES_ID}@eu-west-1.amazonses.com\n", "", "", SES_ID),
        ("", "", f"Return-Path: <{SES_ID}@eu-west-1.amazonses.com>\nMessage-ID: <a@shop.example>\n", SES_ID),
        ("", "", f"Return-Path: <{SES_ID}@bounce.shop.example>\n", SES_ID),
        ("", f"Delivered-To: SRS0=a1b2=cd=eu-west-1.amazonses.com={SES_ID}@forwarder.example\n", "", SES_ID),
        ("", "", f"Message-ID: <{SES_ID}@email.amazonses.com>\n", SES_ID),
        ("", "", "Message-ID: <EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000@email.amazonses.com>\n",
         "EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000"),
        ("", f"In-Reply-To: <{SES_ID}@email.amazonses.com>\n", "", SES_ID),
        ("", f"References: <a@b> <{SES_ID}@us-east-1.amazonses.com>\n", "", SES_ID),
        ("", f"X-Original-To: {SES_ID}@bounce.shop.example\n", "", SES_ID),
        ("Original-Envelope-Id: " + OTHER_ID + "\n", "", RETURNED, SES_ID),
        ("", "", "Message-ID: <no-reply@amazonses.com>\n", ""),
        ("", "", f"Message-ID: <{SES_ID}x@shop.example>\n", ""),
    ],
)  # fmt: skip
def test_which_message(tell: Callable[..., Kind], fields: str, head: str, returned: str, ses_id: str) -> None:
    (row,) = tell(report(fields + STATUS, returned, head=head)).feedback
    assert row["ses_id"] == ses_id


def test_the_envelope_tells_which_message(tell: Callable[..., Kind]) -> None:
    notice = Notice(recipients=(f"{SES_ID}@bounce.shop.example",))
    (row,) = tell(report(returned=""), notice).feedback
    assert told(row, "ses_id", "message_id") == [SES_ID, ""]


def test_whom_the_report_does_not_name(tell: Callable[..., Kind]) -> None:
    """X-Failed-Recipients, the text, and at last the only one whom the message went to."""
    status = "Reporting-MTA: dns; mx.example.net\n\nAction: failed\nStatus: 5.2.2\n"
    assert (
        tell(report(status, head="X-Failed-Recipients: bob@example.net\n")).feedback[0]["address"]
        == "bob@example.net"
    )
    said = tell(report(status, text="<eve@example.net>: mailbox full"))
    assert told(said.feedback[0], "address", "status") == ["eve@example.net", "5.2.2"]
    (row,) = tell(report(status)).feedback
    assert told(row, "address", "status", "bounce_subtype") == ["ann@example.net", "5.2.2", "MailboxFull"]


def test_the_text_completes_a_report_without_replies(tell: Callable[..., Kind]) -> None:
    status = "Final-Recipient: rfc822; ann@example.net\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: X-Unix; 67\n"
    text = "bob@example.net: 550 5.2.1 disabled\n\nann@example.net: 552 5.2.2 mailbox full\n"
    (row,) = tell(report(status, text=text)).feedback
    assert told(row, "status", "smtp_reply") == ["5.2.2", "552 5.2.2 mailbox full"]


def test_reputation_blocks(tell: Callable[..., Kind]) -> None:
    status = STATUS.replace("550 5.1.1 no such user", "421-4.7.28 unusual rate of unsolicited mail").replace(
        "Status: 5.1.1", "Status: 4.7.28"
    )
    (row,) = tell(report(status)).feedback
    assert told(row, "blocked", "bounce_type") == [True, "Transient"]
    (row,) = tell(report(status.replace("failed", "delayed"))).feedback
    assert told(row, "blocked", "event_type") == [True, "DeliveryDelay"]


def test_provider(tell: Callable[..., Kind]) -> None:
    (row,) = tell(report(STATUS.replace("ann@example.net", "ann@yahoo.com"))).feedback
    assert told(row, "provider", "reports_complaints") == ["yahoo", True]


def test_recipients_beyond_the_most_are_told(tell: Callable[..., Kind]) -> None:
    blocks = [
        f"Final-Recipient: rfc822; a{n}@example.net\nAction: failed\nStatus: 5.1.1\n" for n in range(501)
    ]
    kind = tell(report("\n".join(blocks)))
    assert (len(kind.feedback), kind.defects) == (500, ["too_many_recipients"])


def test_one_recipient_twice_is_one_row(tell: Callable[..., Kind]) -> None:
    block = STATUS.partition("\n\n")[2]
    assert len(tell(report(f"{STATUS}\n{block}")).feedback) == 1
