"""`kind_of`: asks for one kind after another. Why in this order is told in docs/mail-kinds.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipelines.mail.kinds import arf, automatic, dsn, journal, prose, unsubscribes
from pipelines.mail.kinds.dates import milliseconds
from pipelines.mail.kinds.facts import Facts
from pipelines.mail.kinds.kind import Kind
from pipelines.mail.kinds.original import original_of, returned
from pipelines.mail.kinds.people import Hashed
from pipelines.mail.kinds.rows import MAX_ROWS, Report, Rows
from pipelines.mail.parsed import Headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mail.kinds.people import People
    from pipelines.mail.notice import Notice
    from pipelines.mail.parsed import ParsedMail
    from pipelines.mail.policy import MailPolicy

    Teller = Callable[[Facts, Rows, MailPolicy], Kind | None]


def kind_of(
    mail: ParsedMail, notice: Notice | None, policy: MailPolicy, people: People | None = None
) -> Kind:
    """Tell the kind of a mail, and read what it says as that.

    Args:
        mail: the mail.
        notice: what is known of it beside its bytes.
        policy: settings.
        people: who writes addresses into rows; by default one made of `policy` for this mail.
    """
    facts = Facts(mail, notice)
    rows = Rows(policy, people or Hashed(policy))
    for teller in _TELLERS:
        if kind := teller(facts, rows, policy):
            return kind
    return _of_people(facts)


def _journal(facts: Facts, _rows: Rows, _policy: MailPolicy) -> Kind | None:
    inner = journal.inner_of(facts)
    return Kind("journal", "journal report", automatic=True, inner=inner) if inner else None


def _status_report(facts: Facts, rows: Rows, _policy: MailPolicy) -> Kind | None:
    part = dsn.status_part(facts)
    if part is None:
        return None
    reports, named = dsn.reports_of(facts, part)
    original = original_of(facts, returned(facts.mail), named)
    feedback = rows.of_bounce(reports, original, milliseconds(facts.first("date")))
    defects = ["too_many_recipients"] if len(reports.recipients) > MAX_ROWS else []
    return Kind("bounce", reports.reason, automatic=True, feedback=feedback, defects=defects)


def _feedback_report(facts: Facts, rows: Rows, _policy: MailPolicy) -> Kind | None:
    part = arf.report_part(facts.mail)
    if part is None:
        return None
    fields = arf.fields_of(part)
    kind = arf.type_of(fields)
    if kind == arf.FAILURE:
        return Kind("dmarc", "authentication failure report", automatic=True)
    original = original_of(facts, returned(facts.mail), arf.ids_in(fields))
    row = arf.row_of(fields, original, rows, milliseconds(facts.first("date")))
    return Kind("complaint", f"feedback report: {kind}"[:80], automatic=True, feedback=[row])


def _prose(facts: Facts, rows: Rows, _policy: MailPolicy) -> Kind | None:
    form = prose.form_of(facts)
    if not form:
        return None
    headers = returned(facts.mail) or Headers(tuple(prose.headers_in(facts)))
    original = original_of(facts, headers)
    reports = prose.reports_of(facts, form)
    if not reports.recipients and original.to:
        reports.recipients.append(Report(original.to, "failed"))
    feedback = rows.of_bounce(reports, original, milliseconds(facts.first("date")))
    return Kind("bounce", reports.reason, automatic=True, feedback=feedback)


def _answer(facts: Facts, _rows: Rows, _policy: MailPolicy) -> Kind | None:
    why = automatic.answers(facts)
    return Kind("auto_reply", why, automatic=True) if why else None


def _request(facts: Facts, _rows: Rows, policy: MailPolicy) -> Kind | None:
    why, what = unsubscribes.read(facts, policy)
    if not why:
        return None
    return Kind("unsubscribe", why, automatic=automatic.automatic(facts), unsubscribes=what)


def _of_people(facts: Facts) -> Kind:
    """A reply, or anything else."""
    machine = automatic.automatic(facts)
    if not machine and (facts.answers):
        return Kind("reply", "In-Reply-To or References")
    return Kind("other", "", automatic=machine)


_TELLERS: Final[tuple[Teller, ...]] = (_journal, _status_report, _feedback_report, _prose, _answer, _request)
