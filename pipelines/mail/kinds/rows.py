"""Rows of `Feedback`: addresses, providers and replies as events have them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from pipelines.intake.smtp_signals import is_reputation_signal
from pipelines.mail.kinds.classification import classify
from schemas.mail import Feedback

if TYPE_CHECKING:
    from pipelines.mail.addresses import Pseudonyms
    from pipelines.mail.kinds.original import Original

MAX_ROWS: Final = 500
"""Rows of a mail: SES sends a message to 50 recipients at most, and a row of the topic must fit into a block."""
REPLY: Final = 1_000
"""Characters of a reply that are kept: an SMTP line has 512 (RFC 5321, 4.5.3.1.5)."""
_ADDRESS: Final = 512
"""Characters of an address; RFC 5321 has 320 (4.5.3.1), and what is longer is none."""
FIELD: Final = 255
"""Characters of other fields."""
_BRACKETED: Final = re.compile(r"[\[(]([0-9A-Fa-f.:]{3,45})[\])]")
_EVENT: Final = {
    "delayed": "DeliveryDelay",
    "delivered": "Delivery",
    "relayed": "Delivery",
    "expanded": "Delivery",
}


@dataclass(slots=True)
class Report:
    """What a report says of one recipient, as it stands there."""

    address: str = ""
    action: str = ""
    """`failed`, `delayed`, `delivered`, `relayed` or `expanded`."""
    status: str = ""
    reply: str = ""
    remote_mta: str = ""
    time: int = 0


@dataclass(slots=True)
class Reports:
    """What a bounce says."""

    reason: str
    recipients: list[Report] = field(default_factory=list)
    reporting_mta: str = ""


def rows_of_bounce(reports: Reports, original: Original, pseudonyms: Pseudonyms, time: int) -> list[Feedback]:
    """A row a recipient, `MAX_ROWS` at most. `time`: that of the mail, where the report has none."""
    rows: dict[tuple[str, str], Feedback] = {}
    for report in reports.recipients[:MAX_ROWS]:
        row = blank(report.address, original, pseudonyms)
        reply = " ".join(report.reply.split())[:REPLY]
        row["event_type"] = event = _EVENT.get(report.action, "Bounce")
        row["action"] = report.action
        row["status"] = report.status
        row["smtp_reply"] = pseudonyms.redact(reply)
        row["reporting_mta"] = reports.reporting_mta[:FIELD]
        row["remote_mta_ip"] = ip_in(report.remote_mta) or ip_in(reply)
        row["time"] = report.time or time
        if event == "Bounce":
            row["bounce_type"], row["bounce_subtype"] = classify(report.status, reply)
        row["blocked"] = event != "Delivery" and reply != "" and is_reputation_signal(reply)
        rows.setdefault((row["address"], event), row)
    return list(rows.values())


def blank(address: str, original: Original, pseudonyms: Pseudonyms) -> Feedback:
    """A row that says whom and which message, and nothing else. `address`: empty where nobody is named."""
    person = pseudonyms.recipient(address if len(address) <= _ADDRESS else "")
    return Feedback(
        event_type="",
        ses_id=original.ses_id[:FIELD],
        message_id=original.message_id[: 4 * FIELD],
        address=person.address,
        domain=person.domain[:FIELD],
        provider=person.provider,
        reports_complaints=person.reports,
        blocked=False,
        bounce_type="",
        bounce_subtype="",
        complaint_type="",
        action="",
        status="",
        smtp_reply="",
        reporting_mta="",
        remote_mta_ip="",
        user_agent="",
        source_ip="",
        time=0,
    )


def ip_in(text: str) -> str:
    """The first IP address in `[…]` or `(…)`, or the text itself when it is one; else empty."""
    for found in (*_BRACKETED.findall(text[:REPLY]), text.rpartition(";")[2].strip()[:45]):
        try:
            return str(ip_address(found))
        except ValueError:
            continue
    return ""
