"""Complaints: feedback reports (RFC 5965, RFC 6591, RFC 9991) and the bare originals of feedback loops without one."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from pipelines.mail.kinds.dsn import address_of
from pipelines.mail.kinds.fields import every, first, groups_of
from pipelines.mail.kinds.rows import FIELD

if TYPE_CHECKING:
    from pipelines.mail.kinds.fields import Group
    from pipelines.mail.kinds.original import Original
    from pipelines.mail.kinds.rows import Rows
    from pipelines.mail.parsed import ParsedMail, Part
    from schemas.mail import Feedback

TYPE: Final = "message/feedback-report"
FAILURE: Final = "auth-failure"
"""RFC 6591: of a message that failed authentication. Nobody complained."""


def report_part(mail: ParsedMail) -> Part | None:
    """The part that is the report."""
    return next((part for part in mail.parts if part.content_type == TYPE), None)


def fields_of(part: Part) -> Group:
    """Its fields, blank lines between them or not."""
    groups = groups_of(part.text or part.content[:1_000_000].decode("utf-8", "replace"))
    return [field for group in groups for field in group]


def type_of(fields: Group) -> str:
    """Feedback-Type in lower case; `abuse` where it is missing, for that is what loops are for."""
    return first(fields, "feedback-type").lower().split(";")[0].strip() or "abuse"


def ids_in(fields: Group) -> list[str]:
    """What it names of the message it is about, best first."""
    return [
        *every(fields, "original-mail-from"),
        *every(fields, "original-envelope-id"),
        *every(fields, "original-message-id"),
    ]


def row_of(fields: Group, original: Original, rows: Rows, time: int) -> Feedback:
    """One row a report: those it lists may be all whom the message went to at that provider, which proves nothing."""
    named = {address_of(value) for value in every(fields, "original-rcpt-to")} - {""}
    address = named.pop() if len(named) == 1 else ""
    row = rows.blank(address, original)
    row["event_type"] = "Complaint"
    row["complaint_type"] = type_of(fields)[:FIELD]
    row["user_agent"] = first(fields, "user-agent")[:FIELD]
    row["reporting_mta"] = first(fields, "reporting-mta")[:FIELD]
    row["source_ip"] = _ip(first(fields, "source-ip"))
    row["time"] = time
    return row


def _ip(text: str) -> str:
    try:
        return str(ip_address(text.strip(" []")[:45]))
    except ValueError:
        return ""
