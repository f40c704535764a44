"""Mails that could be of two kinds, and what is in a person's mail."""

from __future__ import annotations

import base64
import gzip
import re
from typing import TYPE_CHECKING

import pytest

from pipelines.mail.notice import Notice
from pipelines.mail.policy import ConversationRule, MailPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mail.kinds import Kind

DSN = (
    'MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary="d"\n\n'
    "--d\nContent-Type: text/plain\n\nIt failed.\n--d\nContent-Type: message/delivery-status\n\n"
    "Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; ann@example.net\nAction: failed\n"
    "Status: 5.1.1\n\n--d--\n"
)
XML = (
    b'<?xml version="1.0"?><feedback><report_metadata><org_name>x</org_name><report_id>1</report_id>'
    b"<date_range><begin>1</begin><end>2</end></date_range></report_metadata></feedback>"
)
PACKED = base64.encodebytes(gzip.compress(XML)).decode()
TLS = base64.encodebytes(
    gzip.compress(b'{"organization-name": "x", "report-id": "1", "date-range": {}, "policies": []}')
).decode()
LEFT = "From: Bob <bob@example.org>\n"
PERSON = "From: Bob <bob@example.org>\nReturn-Path: <bob@example.org>\nTo: help@shop.example\n"


def attached(part: str, head: str = "From: reports@example.net\nSubject: see attached\n") -> str:
    return (
        f'{head}MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="m"\n\n--m\nContent-Type: text/plain\n\n'
        f"Text.\n--m\n{part}\n--m--\n"
    )


def packed(content: str, name: str) -> str:
    return (
        f"Content-Type: application/gzip\nContent-Transfer-Encoding: base64\n"
        f'Content-Disposition: attachment; filename="{name}"\n\n{content}'
    )


AGGREGATE = packed(PACKED, "example.net!shop.example!1793577600!1793663999.xml.gz")


@pytest.mark.parametrize(
    "head",
    [
        "Auto-Submitted: auto-replied\n",
        "Auto-Submitted: auto-generated (failure)\n",
        "Precedence: bulk\n",
        "X-Autoreply: yes\n",
        "In-Reply-To: <a@b.example>\n",
        "Return-Path: <>\n",
    ],
)
def test_a_bounce_is_one_whatever_its_header_says(tell: Callable[..., Kind], head: str) -> None:
    assert (
        tell(f"From: postmaster@mx.example.net\nSubject: Automatic reply: undelivered\n{head}{DSN}").kind
        == "bounce"
    )


def test_a_bounce_to_a_list_address_unsubscribes_nobody(
    tell: Callable[..., Kind], policy: MailPolicy
) -> None:
    under = MailPolicy(policy.directory, pii="plain", list_addresses=("unsub@shop.example",))
    kind = tell(
        f"From: MAILER-DAEMON@mx.example.net\n{DSN}", Notice(recipients=("unsub@shop.example",)), under
    )
    assert (kind.kind, kind.unsubscribes) == ("bounce", [])


@pytest.mark.parametrize("subject", ["Fwd: Undelivered mail", "a bounce", "Re: help"])
def test_a_bounce_that_a_person_attached_is_none(tell: Callable[..., Kind], subject: str) -> None:
    part = f"Content-Type: message/rfc822\n\nFrom: MAILER-DAEMON@mx.example.net\n{DSN}"
    assert tell(attached(part, f"{PERSON}Subject: {subject}\n")).kind == "other"
    status = (
        "Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822;ann@example.net\nStatus: 5.1.1\n"
    )
    assert tell(attached(status, f"{PERSON}Subject: {subject}\n")).kind == "other"


def test_reports(tell: Callable[..., Kind]) -> None:
    dmarc, tls = tell(attached(AGGREGATE)), tell(attached(packed(TLS, "x!shop.example!1!2.json.gz")))
    assert [(kind.kind, kind.automatic) for kind in (dmarc, tls)] == [("dmarc", True), ("tls_report", True)]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("Subject: Fwd: Report Domain: shop.example Submitter: x Report-ID: <1>\n", "other"),
        ("Subject: what is this?\nIn-Reply-To: <a@b.example>\n", "reply"),
    ],
)
def test_a_report_in_a_persons_mail_is_none(tell: Callable[..., Kind], head: str, expected: str) -> None:
    assert tell(attached(AGGREGATE, PERSON + head)).kind == expected
    wrapped = f"Content-Type: message/rfc822\n\n{attached(AGGREGATE)}"
    assert tell(attached(wrapped, PERSON + head)).kind == expected


def test_reports_of_machines_that_call_themselves_automatic(tell: Callable[..., Kind]) -> None:
    head = "From: noreply-dmarc@example.net\nAuto-Submitted: auto-generated\nSubject: Report domain: shop.example\n"
    assert tell(attached(AGGREGATE, head)).kind == "dmarc"


def test_an_answer_to_a_bounce_is_a_reply(tell: Callable[..., Kind]) -> None:
    text = "> This message was created automatically by mail delivery software.\n>  ann@example.net\n\nWhy?\n"
    head = "Subject: Re: Mail delivery failed: returning message to sender\nIn-Reply-To: <a@b.example>\n"
    assert tell(f"{PERSON}{head}\n{text}").kind == "reply"


def test_an_answer_of_a_postmaster_is_no_bounce(tell: Callable[..., Kind]) -> None:
    head = "From: Postmaster <postmaster@example.org>\nSubject: Re: Undeliverable: November news\n"
    assert tell(f"{head}In-Reply-To: <a@b.example>\n\nWe looked into it.\n").kind != "bounce"


@pytest.mark.parametrize(
    ("head", "text", "expected"),
    [
        ("From: no-reply@parcels.example\n", "Your parcel could not be delivered today.", "other"),
        (LEFT + "Auto-Submitted: auto-replied\n", "Your message could not be delivered: I left.", "auto_reply"),
        (LEFT + "Return-Path: <>\n", "The message you sent to me could not be delivered.", "other"),
        ("From: no-reply@mx.example\n", "Your message could not be delivered to: <ann@example.net>", "bounce"),
        ("From: postmaster@mx.example\n", "Your message could not be delivered.", "bounce"),
    ],
)  # fmt: skip
def test_phrases_alone_make_no_bounce(tell: Callable[..., Kind], head: str, text: str, expected: str) -> None:
    assert tell(f"{head}To: help@shop.example\nSubject: notice\n\n{text}\n").kind == expected


def test_a_vacation_notice_that_quotes_a_bounce_is_a_vacation_notice(tell: Callable[..., Kind]) -> None:
    head = "Auto-Submitted: auto-replied\nSubject: Automatic reply: Mail delivery failed\n"
    text = "I am away.\n\n> This message was created automatically by mail delivery software.\n"
    assert tell(f"{PERSON}{head}\n{text}").kind == "auto_reply"


def test_an_address_names_the_conversation(tell: Callable[..., Kind], policy: MailPolicy) -> None:
    rule = ConversationRule("case", re.compile(r"(case-\d+)\+.*@support\.shop\.example"))
    under = MailPolicy(policy.directory, pii="plain", conversations=(rule,))
    raw = "From: ann@example.net\nTo: case-17+bob@support.shop.example\nSubject: hello\n\nHi\n"
    assert (tell(raw, under=under).kind, tell(raw).kind) == ("reply", "other")
    envelope = Notice(recipients=("case-17+x@support.shop.example",))
    assert tell(raw.replace("case-17+bob", "help"), envelope, under).kind == "reply"
    assert tell("Auto-Submitted: auto-generated\n" + raw, under=under).kind == "other"


def test_an_empty_mail_is_other(tell: Callable[..., Kind]) -> None:
    kind = tell("Subject:\n\n")
    assert (kind.kind, kind.automatic, kind.feedback, kind.inner) == ("other", False, [], None)
