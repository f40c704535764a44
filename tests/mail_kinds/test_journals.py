"""Journal reports: the envelope they tell of, and the mail in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mail.kinds import Kind

ENVELOPE = (
    "Sender: eve@corp.example\nSubject: Lunch\nMessage-Id: <lunch@corp.example>\nTo: ann@example.net\n"
    "To: bob@corp.example, Expanded: team@corp.example\nCc: joe@corp.example, Forwarded: jim@corp.example\n"
    "Bcc: zoe@corp.example\nRecipient: ann@example.net\n"
)
LUNCH = "From: eve@corp.example\nTo: ann@example.net\nSubject: Lunch\nMessage-ID: <lunch@corp.example>\n\nAt one?\n"


def journal(head: str = "X-MS-Journal-Report:\n", text: str = ENVELOPE, inner: str = LUNCH) -> str:
    return (
        f"From: journal@corp.example\nTo: archive@in.example\nSubject: Lunch\n{head}MIME-Version: 1.0\n"
        f'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain\n\n{text}\n'
        f"--b\nContent-Type: message/rfc822\n\n{inner}\n--b--\n"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_exchange(tell: Callable[..., Kind], end: str) -> None:
    kind = tell(journal("X-MS-Journal-Report:\nAuto-Submitted: auto-generated\n").replace("\n", end))
    assert (kind.kind, kind.reason, kind.automatic) == ("journal", "X-MS-Journal-Report", False)
    assert kind.envelope_from == "eve@corp.example"
    assert kind.recipients == ("ann@example.net", "bob@corp.example", "joe@corp.example", "zoe@corp.example")
    assert kind.inner is not None
    assert kind.inner.headers.get("Message-ID") == "<lunch@corp.example>"


def test_another_journal_has_the_layout(tell: Callable[..., Kind]) -> None:
    kind = tell(journal("Auto-Submitted: auto-generated\n"))
    assert (kind.kind, kind.reason, len(kind.recipients)) == ("journal", "layout of a journal report", 4)


def test_an_envelope_that_cannot_be_read_is_unwrapped_all_the_same(tell: Callable[..., Kind]) -> None:
    kind = tell(journal(text="nothing of use"))
    assert (kind.kind, kind.recipients, kind.envelope_from) == ("journal", (), "")


@pytest.mark.parametrize(
    ("head", "text", "expected"),
    [
        ("", ENVELOPE, "other"),
        ("In-Reply-To: <a@b.example>\n", ENVELOPE, "reply"),
        ("Auto-Submitted: auto-generated\n", "Hello,\n" + ENVELOPE, "other"),
        ("Auto-Submitted: auto-generated\n", "Sender: eve@corp.example\n", "other"),
    ],
)
def test_other_mail_is_none(tell: Callable[..., Kind], head: str, text: str, expected: str) -> None:
    assert tell(journal(head, text)).kind == expected


def test_a_journal_without_a_mail_is_none(tell: Callable[..., Kind]) -> None:
    assert (
        tell("From: journal@corp.example\nX-MS-Journal-Report:\n\nSender: eve@corp.example\n").kind == "other"
    )


def test_a_journaled_bounce_is_a_journal(tell: Callable[..., Kind]) -> None:
    bounce = "Return-Path: <>\nFrom: MAILER-DAEMON@mx.example\nSubject: Undelivered mail\n\nann@example.net: 550 no\n"
    kind = tell(journal(inner=bounce))
    assert (kind.kind, kind.feedback, kind.automatic) == ("journal", [], True)
