"""Mail that comes back, as SES stores it: raw MIME with the header fields that SES puts before it."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final

from connectors.simulator import world

_POLICY: Final = policy.default.clone(max_line_length=998)
"""RFC 5322, section 2.1.1; at 78 the library would encode ids as words."""
_CRLF: Final = b"\r\n"
_BOUNDARY: Final = "=_report"


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of ours that somebody reacts to."""

    message_id: str
    region: str
    sender: str
    subject: str
    sent_ms: int
    recipient: str

    @property
    def on_the_wire(self) -> str:
        """Its Message-ID as recipients see it: SES replaces the caller's."""
        host = "email" if self.region == world.REGION else self.region
        return f"<{self.message_id}@{host}.amazonses.com>"


@dataclass(frozen=True, slots=True)
class Mail:
    """A received mail."""

    ses_id: str
    """SES's id of it, and the end of its object's key."""
    kind: str
    time_ms: int
    envelope_from: str
    recipients: tuple[str, ...]
    raw: bytes


def reply(sent: Sent, time_ms: int, text: str, earlier: tuple[str, ...] = ()) -> EmailMessage:
    """A reader answers, or answers again: `earlier` are the ids of what was written in between."""
    chain = (sent.on_the_wire, *earlier)
    message = _plain(sent.recipient, sent.sender, f"Re: {sent.subject}", time_ms, text)
    message["In-Reply-To"] = chain[-1]
    message["References"] = " ".join(chain)
    return message


def out_of_office(sent: Sent, time_ms: int) -> EmailMessage:
    """An auto-responder answers (RFC 3834)."""
    subject = f"Automatic reply: {sent.subject}"
    message = _plain(sent.recipient, sent.sender, subject, time_ms, "I am away until Monday.")
    message["In-Reply-To"] = sent.on_the_wire
    message["Auto-Submitted"] = "auto-replied"
    return message


def note(sender: str, recipient: str, time_ms: int) -> EmailMessage:
    """A stranger writes."""
    return _plain(
        sender, recipient, "Opening hours?", time_ms, "Hello,\n\nare you open on Sunday?\n\nRegards"
    )


def unsubscribe(sender: str, recipient: str, time_ms: int) -> EmailMessage:
    """What a mail client sends to the mailto of List-Unsubscribe (RFC 2369)."""
    return _plain(sender, recipient, "unsubscribe", time_ms, "")


def bounce(sent: Sent, time_ms: int) -> EmailMessage:
    """A delivery status notification (RFC 3464) of a permanent failure."""
    host = f"mx.{sent.recipient.partition('@')[2]}"
    sender = f"Mail Delivery Subsystem <mailer-daemon@{host}>"
    message = _head(sender, sent.sender, "Undelivered Mail Returned to Sender", time_ms)
    message["Auto-Submitted"] = "auto-replied"
    of_message = f"Reporting-MTA: dns; {host}\nArrival-Date: {_date(sent.sent_ms)}\n"
    of_recipient = (
        f"Final-Recipient: rfc822; {sent.recipient}\nAction: failed\nStatus: 5.1.1\nRemote-MTA: dns; {host}\n"
        f"Diagnostic-Code: smtp; 550 5.1.1 <{sent.recipient}>: user unknown\n"
    )
    told = f"Your message could not be delivered to <{sent.recipient}>.\n"
    return _report(message, "delivery-status", told, f"{of_message}\n{of_recipient}", sent)


def complaint(sent: Sent, time_ms: int) -> EmailMessage:
    """A feedback report of abuse (RFC 5965)."""
    domain = sent.recipient.partition("@")[2]
    message = _head(f"Feedback Loop <feedback@{domain}>", sent.sender, f"FW: {sent.subject}", time_ms)
    report = (
        "Feedback-Type: abuse\nUser-Agent: SimulatedFBL/1.0\nVersion: 1\n"
        f"Original-Mail-From: <{sent.message_id}@amazonses.com>\nOriginal-Rcpt-To: <{sent.recipient}>\n"
        f"Arrival-Date: {_date(time_ms)}\nSource-IP: 192.0.2.10\n"
    )
    told = "This is an abuse report for a message that you sent.\n"
    return _report(message, "feedback-report", told, report, sent)


def dmarc(domain: str, begin_s: int, rows: tuple[tuple[str, int, str], ...], time_ms: int) -> EmailMessage:
    """An aggregate report (RFC 7489, appendix C); rows are source IP, messages, and whether they were aligned."""
    records = "".join(
        f"<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated>"
        f"<disposition>none</disposition><dkim>{passed}</dkim><spf>{passed}</spf></policy_evaluated></row>"
        f"<identifiers><header_from>{domain}</header_from></identifiers><auth_results><dkim><domain>{domain}</domain>"
        f"<selector>ses</selector><result>{passed}</result></dkim><spf><domain>amazonses.com</domain><result>{passed}</result>"
        "</spf></auth_results></record>"
        for ip, count, passed in rows
    )
    end_s = begin_s + 86_399
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><feedback><report_metadata><org_name>mailbox.example</org_name>'
        f"<email>dmarc@mailbox.example</email><report_id>{domain}.{begin_s}</report_id><date_range><begin>{begin_s}</begin>"
        f"<end>{end_s}</end></date_range></report_metadata><policy_published><domain>{domain}</domain><adkim>r</adkim>"
        f"<aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct></policy_published>{records}</feedback>"
    )
    message = _plain(
        "DMARC reports <dmarc@mailbox.example>",
        f"dmarc@{domain}",
        f"Report Domain: {domain} Submitter: mailbox.example Report-ID: <{domain}.{begin_s}>",
        time_ms,
        "An aggregate report is attached.",
    )
    name = f"mailbox.example!{domain}!{begin_s}!{end_s}.xml.gz"
    message.add_attachment(
        gzip.compress(text.encode(), mtime=0), maintype="application", subtype="gzip", filename=name
    )
    message.set_boundary(_BOUNDARY)
    return message


def stored(message: EmailMessage, ses_id: str, kind: str, time_ms: int, envelope_from: str) -> Mail:
    """As SES stores it: with what it found out, on top."""
    recipient = str(message["To"])
    received = (
        f"Received: from mx.example.net (mx.example.net [192.0.2.25]) by inbound-smtp.{world.REGION}.amazonaws.com"
        f" with SMTP id {ses_id} for {recipient}; {_date(time_ms)}"
    )
    results = (
        "Authentication-Results: amazonses.com; spf=pass (spfCheck: domain of the sender designates 192.0.2.25)"
        f" client-ip=192.0.2.25; envelope-from={envelope_from or 'mx.example.net'}; dkim=none; dmarc=none"
    )
    verdicts = ("X-SES-Spam-Verdict: PASS", "X-SES-Virus-Verdict: PASS")
    top = (f"Return-Path: <{envelope_from}>", received, *verdicts, results)
    raw = b"".join(line.encode() + _CRLF for line in top) + bytes(message).replace(b"\n", _CRLF)
    return Mail(ses_id, kind, time_ms, envelope_from, (recipient,), raw)


def _plain(sender: str, recipient: str, subject: str, time_ms: int, text: str) -> EmailMessage:
    message = _head(sender, recipient, subject, time_ms)
    message.set_content(text)
    return message


def _head(sender: str, recipient: str, subject: str, time_ms: int) -> EmailMessage:
    message = EmailMessage(_POLICY)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject
    message["Date"] = _date(time_ms)
    return message


def _report(message: EmailMessage, kind: str, told: str, report: str, sent: Sent) -> EmailMessage:
    """A multipart/report (RFC 6522): text, the report, and the header of the message it is about."""
    subject = sent.subject.encode("ascii", "ignore").decode()
    original = (
        f"Message-ID: {sent.on_the_wire}\nFrom: {sent.sender}\nTo: {sent.recipient}\nSubject: {subject}\n"
        f"Date: {_date(sent.sent_ms)}\nFeedback-ID: ::1.{sent.region}.c2ltdWxhdGVk:AmazonSES\n"
    )
    parts = (("text/plain", told), (f"message/{kind}", report), ("text/rfc822-headers", original))
    message["MIME-Version"] = "1.0"
    message["Content-Type"] = f'multipart/report; report-type={kind}; boundary="{_BOUNDARY}"'
    # The library takes parts of such types for messages of their own, and writes them so.
    bodies = "".join(f"--{_BOUNDARY}\nContent-Type: {name}\n\n{text}\n" for name, text in parts)
    message.set_payload(f"{bodies}--{_BOUNDARY}--\n")
    return message


def _date(time_ms: int) -> str:
    return format_datetime(datetime.fromtimestamp(time_ms // 1000, UTC))
