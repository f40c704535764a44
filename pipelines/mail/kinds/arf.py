"""Complaints: feedback reports (RFC 5965, RFC 6591, RFC 9991) and the bare originals of feedback loops without one."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from pipelines.mail.dates import millis_of
from pipelines.mail.kinds.dsn import address_of
from pipelines.mail.kinds.fields import every, first, groups_of
from pipelines.mail.kinds.kind import Kind
from pipelines.mail.kinds.original import original_of, returned
from pipelines.mail.kinds.rows import FIELD, REPLY, blank
from pipelines.mail.reports import failure_of

if TYPE_CHECKING:
    from pipelines.mail.addresses import Pseudonyms
    from pipelines.mail.kinds.facts import Facts
    from pipelines.mail.kinds.fields import Group
    from pipelines.mail.parsed import ParsedMail, Part
    from schemas.mail import Feedback

TYPE: Final = "message/feedback-report"
_JMRP: Final = "x-hmxmroriginalrecipient"
_JMRP_SENDER: Final = "staff@hotmail.com"
_COMPLAINT: Final = re.compile(r"complaint about message from ?([0-9A-Fa-f.:]{0,45})", re.IGNORECASE)
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


def kind_of(facts: Facts, pseudonyms: Pseudonyms) -> Kind | None:
    """The complaint that a mail is, or the failure report; None: it is neither."""
    part = report_part(facts.mail)
    if part is None:
        return _bare_original(facts, pseudonyms)
    if facts.mail.content_type != "multipart/report" and (facts.passed_on or facts.answers):
        return None
    fields = fields_of(part)
    kind = type_of(fields)
    row = _row(facts, fields, kind, pseudonyms)
    if kind == FAILURE:
        _fail(row, facts, pseudonyms)
        return Kind("dmarc", "authentication failure report", automatic=True, feedback=[row])
    return Kind("complaint", f"feedback report: {kind}"[:80], automatic=True, feedback=[row])


def _row(facts: Facts, fields: Group, kind: str, pseudonyms: Pseudonyms) -> Feedback:
    """One row a report: those it lists may be all whom the message went to at that provider, which proves nothing."""
    original = original_of(facts, returned(facts.mail), ids_in(fields))
    named = {address_of(value).lower() for value in every(fields, "original-rcpt-to")} - {""}
    row = blank(named.pop() if len(named) == 1 else "", original, pseudonyms)
    row["event_type"] = "Complaint"
    row["complaint_type"] = kind[:FIELD]
    row["user_agent"] = first(fields, "user-agent")[:FIELD]
    row["reporting_mta"] = first(fields, "reporting-mta")[:FIELD]
    row["source_ip"] = _ip(first(fields, "source-ip"))
    row["time"] = millis_of(facts.first("date"))
    return row


def _fail(row: Feedback, facts: Facts, pseudonyms: Pseudonyms) -> None:
    """Make it the row of a failure report (view `dmarc_failures`): one that counts for nothing."""
    row["event_type"] = ""
    if found := failure_of(facts.mail):
        row["domain"] = found.reported_domain
        row["bounce_subtype"] = found.auth_failure
        row["action"] = found.delivery_result
        row["smtp_reply"] = pseudonyms.redact(found.authentication_results[:REPLY])
        row["time"] = found.arrival_time or row["time"]


def _bare_original(facts: Facts, pseudonyms: Pseudonyms) -> Kind | None:
    """Microsoft's JMRP: the message complained of, with whom it went to in a field of its own, and no report."""
    headers = returned(facts.mail)
    if headers is None or facts.passed_on:
        return None
    recipient = headers.get(_JMRP)
    if not recipient or not (_COMPLAINT.match(facts.subject) or facts.sender == _JMRP_SENDER):
        return None
    address = address_of(recipient)
    row = blank(address, original_of(facts, headers), pseudonyms)
    row["event_type"] = "Complaint"
    row["complaint_type"] = "abuse"
    row["user_agent"] = "JMRP"
    found = _COMPLAINT.match(facts.subject)
    row["source_ip"] = _ip(found[1]) if found else ""
    row["time"] = millis_of(facts.first("date"))
    return Kind("complaint", "Microsoft JMRP", automatic=True, feedback=[row])


def _ip(text: str) -> str:
    try:
        return str(ip_address(text.strip(" []")[:45]))
    except ValueError:
        return ""
