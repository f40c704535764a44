"""Bounces: reports of RFC 3464, and prose where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.mail.dates import millis_of
from pipelines.mail.kinds import dsn, prose
from pipelines.mail.kinds.classification import code_in, status_in
from pipelines.mail.kinds.kind import Kind
from pipelines.mail.kinds.original import Original, original_of, returned
from pipelines.mail.kinds.rows import MAX_ROWS, Report, Reports, rows_of_bounce
from pipelines.mail.parsed import Headers

if TYPE_CHECKING:
    from pipelines.mail.addresses import Pseudonyms
    from pipelines.mail.kinds.facts import Facts


def of_report(facts: Facts, pseudonyms: Pseudonyms) -> Kind | None:
    """The bounce that a report of RFC 3464 or RFC 6533 is; None: there is none in this mail.

    A report in a mail that a person wrote is that person's attachment, unless the whole is a `multipart/report`.
    """
    part = dsn.status_part(facts)
    if part is None or not (facts.mail.content_type == "multipart/report" or facts.machine):
        return None
    reports, named = dsn.reports_of(facts, part)
    if not any(report.address for report in reports.recipients):
        _name(reports, prose.reports_of(facts, "").recipients)
    end = prose.end_of(facts.lines)
    for report in reports.recipients:
        if not (code_in(report.reply) or status_in(report.reply)):
            _complete(report, facts, end, alone=len(reports.recipients) == 1)
    return _kind(facts, reports, original_of(facts, _returned(facts), named), pseudonyms)


def _name(reports: Reports, said: list[Report]) -> None:
    """Take the recipients from the text beside a report that names none."""
    if len(said) == len(reports.recipients) == 1:
        reports.recipients[0].address = said[0].address
    elif said:
        reports.recipients = said


def of_prose(facts: Facts, pseudonyms: Pseudonyms) -> Kind | None:
    """The bounce that a mail is without being a report; None: it is none."""
    form = prose.form_of(facts)
    if not form:
        return None
    reports = prose.reports_of(facts, form)
    if not reports.recipients and not prose.is_sure(form, facts):
        return None
    return _kind(facts, reports, original_of(facts, _returned(facts)), pseudonyms)


def _returned(facts: Facts) -> Headers:
    return returned(facts.mail) or Headers(tuple(prose.headers_in(facts)))


def _complete(report: Report, facts: Facts, end: int, *, alone: bool) -> None:
    """Take what the text beside a report says of a recipient, where the report gives no reply."""
    said = prose.reply_for(facts, report.address, end, alone=alone)
    if said and (not report.reply or len(report.reply) < len(said)):
        report.reply = said
        report.status = dsn.status_of(report.status, said)


def _kind(facts: Facts, reports: Reports, original: Original, pseudonyms: Pseudonyms) -> Kind:
    if not any(report.address for report in reports.recipients) and original.to:
        # A message to one recipient alone: that is who did not get it.
        reply = prose.reply_for(facts, "", prose.end_of(facts.lines), alone=True)
        said = reports.recipients[0] if reports.recipients else Report(reply=reply)
        said.address = original.to
        said.status = dsn.status_of(said.status, said.reply)
        reports.recipients = [said]
    for report in reports.recipients:
        report.action = report.action or "failed"
    feedback = rows_of_bounce(reports, original, pseudonyms, millis_of(facts.first("date")))
    defects = ["too_many_recipients"] if len(reports.recipients) > MAX_ROWS else []
    return Kind("bounce", reports.reason, automatic=True, feedback=feedback, defects=defects)
