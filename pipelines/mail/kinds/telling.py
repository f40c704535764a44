"""`kind_of`: asks for one kind after another. Why in this order is told in docs/mail-kinds.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipelines.mail.addresses import Pseudonyms
from pipelines.mail.conversations import conversations_of
from pipelines.mail.kinds import arf, automatic, bounces, journal, unsubscribes
from pipelines.mail.kinds.facts import Facts
from pipelines.mail.kinds.kind import Kind
from pipelines.mail.reports import looks_like_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mail.notice import Notice
    from pipelines.mail.parsed import ParsedMail
    from pipelines.mail.policy import MailPolicy

    Teller = Callable[[Facts, Pseudonyms, MailPolicy], Kind | None]


def kind_of(
    mail: ParsedMail, notice: Notice | None, policy: MailPolicy, pseudonyms: Pseudonyms | None = None
) -> Kind:
    """Tell the kind of a mail, and read what it says as that.

    Args:
        mail: the mail.
        notice: what is known of it beside its bytes.
        policy: settings.
        pseudonyms: puts addresses into rows; by default one made of `policy` for this mail.
    """
    facts = Facts(mail, notice)
    pseudonyms = pseudonyms or Pseudonyms(policy)
    for teller in _TELLERS:
        if kind := teller(facts, pseudonyms, policy):
            return kind
    return _of_people(facts, pseudonyms, policy)


def _journal(facts: Facts, _pseudonyms: Pseudonyms, _policy: MailPolicy) -> Kind | None:
    found = journal.journal_of(facts)
    if found is None:
        return None
    return Kind(
        "journal",
        found.reason,
        automatic=automatic.automatic(Facts(found.inner, None)),
        inner=found.inner,
        envelope_from=found.sender,
        recipients=found.recipients,
    )


def _report(facts: Facts, pseudonyms: Pseudonyms, _policy: MailPolicy) -> Kind | None:
    """Of RFC 3464, RFC 5965, RFC 7489 or RFC 8460."""
    kind = bounces.of_report(facts, pseudonyms) or arf.kind_of(facts, pseudonyms)
    if kind or facts.passed_on or (facts.answers and not facts.machine):
        return kind
    form = looks_like_report(facts.mail)
    return Kind(form, "a report is attached", automatic=True) if form else None


def _prose(facts: Facts, pseudonyms: Pseudonyms, _policy: MailPolicy) -> Kind | None:
    return bounces.of_prose(facts, pseudonyms)


def _answer(facts: Facts, _pseudonyms: Pseudonyms, _policy: MailPolicy) -> Kind | None:
    why = automatic.answers(facts)
    if not why or unsubscribes.requested(facts):
        return None
    return Kind("auto_reply", why, automatic=True)


def _request(facts: Facts, pseudonyms: Pseudonyms, policy: MailPolicy) -> Kind | None:
    why, what = unsubscribes.read(facts, policy, pseudonyms)
    if not why:
        return None
    return Kind("unsubscribe", why, automatic=automatic.automatic(facts), unsubscribes=what)


def _of_people(facts: Facts, pseudonyms: Pseudonyms, policy: MailPolicy) -> Kind:
    """A reply, or anything else."""
    if why := automatic.answers(facts):
        return Kind("auto_reply", why, automatic=True)
    if automatic.automatic(facts):
        return Kind("other", "written by a machine", automatic=True)
    if facts.answers:
        return Kind("reply", "In-Reply-To or References")
    if policy.conversations:
        named = conversations_of(policy.conversations, unsubscribes.recipients_of(facts), pseudonyms)
        if named:
            return Kind("reply", "an address names the conversation")
    return Kind("other", "")


_TELLERS: Final[tuple[Teller, ...]] = (_journal, _report, _prose, _answer, _request)
