"""Kinds of mails made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.mail.kinds import kind_of
from pipelines.mail.parsed import Headers, ParsedMail, Part

if TYPE_CHECKING:
    from pipelines.mail.policy import MailPolicy

SES_ID = "0102018f00000001-11111111-2222-3333-4444-555555555555-000000"


def mail(*fields: tuple[str, str], parts: list[Part] | None = None, text: str = "") -> ParsedMail:
    return ParsedMail(Headers(fields), "multipart/report" if parts else "text/plain", {}, parts or [], text)


def test_bounce_of_a_message_of_ours(policy: MailPolicy) -> None:
    status = (
        "Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; ann@example.net\nAction: failed\n"
        "Status: 5.1.1 (bad address)\nRemote-MTA: dns; mx.example.net [192.0.2.7]\n"
        "Diagnostic-Code: smtp; 550 5.1.1 no such user here\n"
    )
    original = mail(("Message-ID", f"<{SES_ID}@eu-west-1.amazonses.com>"))
    parts = [
        Part("message/delivery-status", text=status),
        Part("text/rfc822-headers", message=original),
    ]
    kind = kind_of(mail(("From", "MAILER-DAEMON@example.net"), parts=parts), None, policy)
    assert (kind.kind, kind.automatic) == ("bounce", True)
    (row,) = kind.feedback
    assert (row["event_type"], row["address"], row["status"], row["action"]) == (
        "Bounce",
        "ann@example.net",
        "5.1.1",
        "failed",
    )
    assert (row["ses_id"], row["message_id"]) == (SES_ID, f"{SES_ID}@eu-west-1.amazonses.com")
    assert row["smtp_reply"] == "550 5.1.1 no such user here"
    assert row["remote_mta_ip"] == "192.0.2.7"


def test_reply_of_a_person(policy: MailPolicy) -> None:
    fields = (("From", "Ann <ann@example.net>"), ("Subject", "Re: hello"), ("In-Reply-To", f"<{SES_ID}@x>"))
    kind = kind_of(mail(*fields, text="Thanks"), None, policy)
    assert (kind.kind, kind.automatic, kind.feedback) == ("reply", False, [])


def test_vacation(policy: MailPolicy) -> None:
    fields = (("From", "ann@example.net"), ("Subject", "away"), ("Auto-Submitted", "auto-replied (vacation)"))
    kind = kind_of(mail(*fields), None, policy)
    assert (kind.kind, kind.automatic) == ("auto_reply", True)


def test_request_to_a_list_address(policy: MailPolicy) -> None:
    fields = (("From", "ann@example.net"), ("To", "unsubscribe+weekly@news.example.com"), ("Subject", "stop"))
    kind = kind_of(mail(*fields), None, policy)
    assert (kind.kind, kind.unsubscribes) == ("unsubscribe", ["weekly", "stop"])
