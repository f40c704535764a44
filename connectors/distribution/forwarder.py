"""`Forwarder`: sends mails on, each at most once. Told of mails and of rows; `step` does what is due. No Kafka here.

The order of effects, for one mail:

1. Its raw bytes are read and a draft is made of them; links are made for its attachments.
2. The fallback topic is told of recipients that are refused.
3. The row `intended` is durable, and all rows before it are known. Only if it is then the first live one, it goes on.
4. SES is asked, once.
5. The row of what SES said is durable: `sent`; or `deferred`, if it surely was not sent, and all begins again later.

A crash before 3 repeats what was told in 2. One after 3 leaves a live attempt: whoever comes next waits until nobody
can still be at it, tells the fallback topic that nobody knows, and does not send.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from connectors.distribution.copies import is_whole, together
from connectors.distribution.drafts import Draft
from connectors.distribution.ports import Later
from connectors.distribution.telling import message_of
from connectors.notify.page import NotDelivered
from pipelines.mail.distribution.policy import Unsuitable
from schemas.forwards import DEFERRED, FALLBACK, INTENDED, SENT, SKIPPED, UNKNOWN, UNTOLD, MailForward

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.distribution.drafts import Drafter
    from connectors.distribution.ledger import Ledger
    from connectors.distribution.ports import Book, Fallback, Sender
    from pipelines.mail.addresses import Pseudonyms
    from schemas.mail import InboundMail

LOG: Final = logging.getLogger(__name__)
_SKIPPED: Final = frozenset({"too_old", "replayed", "loop", "automatic"})
"""Causes of which nobody needs to be told."""
_TOLD_BY_OTHERS: Final = frozenset({"no_object", "not_authenticated"})
"""Causes that another copy of a mail may take away."""
_LONGEST_DETAIL: Final = 1000


@dataclass(frozen=True, slots=True)
class Patience:
    """When something is tried again, and given up."""

    retry_s: float = 6 * 3600.0
    """Since the first try; then it is given up, and told."""
    first_s: float = 1.0
    """After the first failure; then doubled."""
    longest_s: float = 300.0
    other_s: float = 300.0
    """For which a mail that was told of without its bytes, or without verdicts, waits for who knows them: it may come
    by two ways."""
    fresh_s: float = 20.0
    """After which an intent is not acted upon any more."""
    settle_s: float = 120.0
    """After which nobody is at an intent any more: `fresh_s`, the longest call of SES, and clocks that differ."""

    def pause_s(self, failures: int) -> float:
        """Seconds to wait after the n-th failure (from 1)."""
        return min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 16))


@dataclass(slots=True)
class Numbers:
    """What was done since the start."""

    outcomes: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    oldest_s: float = 0.0
    """For how long the mail that waits longest does."""


@dataclass(slots=True)
class _Verdict:
    outcome: str
    cause: str
    detail: str
    attempt: str = ""


@dataclass(slots=True)
class _Waiting:
    mail: InboundMail
    since: float
    draft: Draft = field(default_factory=Draft)
    not_before: float = 0.0
    tries: int = 0
    failures: int = 0
    told: bool = False
    """Whether the fallback topic knows of recipients that are refused."""
    fallback_id: str = ""
    verdict: _Verdict | None = None
    """How it ends; only the fallback topic does not take it yet."""


class Forwarder:
    """For one thread."""

    def __init__(
        self,
        ledger: Ledger,
        book: Book,
        drafter: Drafter,
        *,
        sender: Sender,
        fallback: Fallback,
        pseudonyms: Pseudonyms,
        life: str,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        patience: Patience | None = None,
        resend_unclear: bool = False,
    ) -> None:
        """Nothing is known yet.

        Args:
            ledger: what has been done.
            book: where it is written.
            drafter: makes what is to be sent.
            sender: sends it.
            fallback: who is told of what is not sent.
            pseudonyms: of recipients.
            life: a name that no other forwarder has or had.
            clock: seconds since the epoch.
            monotonic: seconds since whenever.
            patience: when something is tried again.
            resend_unclear: whether an unclear answer of SES's counts as if nothing had been sent.
        """
        self._ledger = ledger
        self._book = book
        self._drafter = drafter
        self._sender = sender
        self._fallback = fallback
        self._pseudonyms = pseudonyms
        self._life = life
        self._clock = clock
        self._monotonic = monotonic
        self._patience = patience or Patience()
        self._resend_unclear = resend_unclear
        self._waiting: dict[bytes, _Waiting] = {}
        self._attempts = 0
        self._last_ms = 0
        self._refusals = 0
        """In a row, of SES, that may pass."""
        self._quiet_until = 0.0
        """SES is not asked before: it is the account that is throttled, not a mail."""
        self.numbers = Numbers()

    def take(self, mail: InboundMail) -> None:
        """A mail to be sent on; however often it comes, by whichever way."""
        if self._ledger.is_final(mail["mail_id"]):
            return
        each = self._waiting.setdefault(mail["mail_id"], _Waiting(mail, self._monotonic()))
        lacking = not is_whole(each.mail)
        each.mail = together(each.mail, mail)
        if lacking and is_whole(each.mail):
            each.not_before = 0.0

    def settled(self, mail_id: str) -> bool:
        """Whether nothing more is to be done about a mail; its id in hex."""
        return bytes.fromhex(mail_id) not in self._waiting

    @property
    def waiting(self) -> int:
        """Mails that are not settled."""
        return len(self._waiting)

    def step(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Do what is due; between any two mails it may be told to stop.

        Raises:
            UserError: what is done cannot be written down; so nothing more is. Begin anew.
        """
        for mail_id, each in list(self._waiting.items()):
            now = self._monotonic()
            if stopped():
                break
            if self._ledger.is_final(mail_id):
                del self._waiting[mail_id]
            elif now >= max(each.not_before, self._quiet_until):
                self._work(each)
        self._measure()

    def _work(self, each: _Waiting) -> None:
        each.tries += 1
        if each.verdict is not None:
            self._end(each, each.verdict)
        elif intended := self._ledger.intended_at(each.mail["mail_id"]):
            self._settle(each, intended)
        else:
            self._try(each)

    def _settle(self, each: _Waiting, intended_ms: int) -> None:
        """Somebody meant to send it: a former life, or another forwarder that may still be at it."""
        left = intended_ms / 1000 + self._patience.settle_s - self._clock()
        if left > 0:
            each.not_before = self._monotonic() + min(left, self._patience.settle_s)
            return
        each.draft = Draft()
        with contextlib.suppress(Unsuitable, Later):
            self._drafter.make(each.draft, each.mail, self._now_ms())
        self._end(each, _Verdict(UNKNOWN, "interrupted", "whoever was sending it was interrupted"))

    def _try(self, each: _Waiting) -> None:
        each.draft = Draft()
        try:
            self._drafter.make(each.draft, each.mail, self._now_ms())
            self._tell_refused(each)
        except Unsuitable as why:
            more_s = each.since + self._patience.other_s - self._monotonic()
            if why.cause in _TOLD_BY_OTHERS and not is_whole(each.mail) and more_s > 0:
                each.not_before = self._monotonic() + more_s
                return
            outcome = SKIPPED if why.cause in _SKIPPED else FALLBACK
            self._end(each, _Verdict(outcome, why.cause, why.detail))
        except Later as later:
            self._later(each, "unavailable", later.reason, later.retry_after_s)
        else:
            self._send(each)

    def _tell_refused(self, each: _Waiting) -> None:
        refused = each.draft.named.refused
        if not refused or each.told:
            return
        words = f"{len(refused)} of the recipients that it names are refused; it is sent to the others"
        try:
            each.fallback_id = self._tell(each, INTENDED, "recipients_refused", words)
        except NotDelivered as failure:
            if not failure.for_good:
                raise Later(failure.reason, failure.retry_after_s) from failure
            LOG.warning("the fallback topic does not take what it should know: %s", failure.reason)
        each.told = True

    def _send(self, each: _Waiting) -> None:
        attempt = self._attempt()
        began = self._monotonic()
        self._book.record(self._row(each, attempt, INTENDED))
        if not self._ledger.may_send(each.mail["mail_id"], attempt):
            self._defer(each, attempt, "another", "another process is at it")
            return
        if self._monotonic() - began > self._patience.fresh_s:
            self._defer(each, attempt, "slow", "Kafka took too long to take the intent")
            return
        try:
            sent = self._sender.send(each.draft.raw, each.draft.named.recipients)
        except NotDelivered as failure:
            self._failed(each, attempt, failure)
            return
        self._refusals = 0
        self._close(self._row(each, attempt, SENT) | {"ses_message_id": sent})

    def _failed(self, each: _Waiting, attempt: str, failure: NotDelivered) -> None:
        if failure.unknown and not self._resend_unclear:
            self._end(each, _Verdict(UNKNOWN, "unclear", failure.reason, attempt))
        elif failure.for_good:
            self._end(each, _Verdict(FALLBACK, "rejected", failure.reason, attempt))
        else:
            self._refusals += 1
            pause_s = max(self._patience.pause_s(self._refusals), failure.retry_after_s or 0.0)
            self._quiet_until = self._monotonic() + pause_s
            self._defer(each, attempt, "not_taken", failure.reason)

    def _defer(self, each: _Waiting, attempt: str, cause: str, detail: str) -> None:
        row = self._row(each, attempt, DEFERRED, cause, detail)
        self._book.record(row)
        self._count(DEFERRED)
        self._later(each, cause, detail)

    def _later(self, each: _Waiting, cause: str, detail: str, after_s: float | None = None) -> None:
        """Try again after a while; or end, when that has lasted too long."""
        now = self._monotonic()
        each.failures += 1
        if now - each.since > self._patience.retry_s:
            self._end(each, _Verdict(FALLBACK, "gave_up", f"it was tried until now, {cause}: {detail}"))
            return
        LOG.warning("mail %s is sent on later: %s", each.mail["mail_id"].hex(), detail)
        each.not_before = now + max(self._patience.pause_s(each.failures), after_s or 0.0)

    def _end(self, each: _Waiting, verdict: _Verdict) -> None:
        """Tell who is to be told, then write it down; or try to tell again later."""
        outcome, detail = verdict.outcome, verdict.detail
        if outcome in {UNKNOWN, FALLBACK}:
            try:
                each.fallback_id = self._tell(each, outcome, verdict.cause, detail)
            except NotDelivered as failure:
                if not failure.for_good and self._tell_again(each, verdict, failure):
                    return
                detail = f"{detail}; the fallback topic does not take it: {failure.reason}"
                each.fallback_id = ""
            if not each.fallback_id and outcome == FALLBACK:
                outcome = UNTOLD
        attempt = verdict.attempt or self._attempt()
        self._close(self._row(each, attempt, outcome, verdict.cause, detail))

    def _tell_again(self, each: _Waiting, verdict: _Verdict, failure: NotDelivered) -> bool:
        now = self._monotonic()
        each.failures += 1
        if now - each.since > 2 * self._patience.retry_s:
            return False
        each.verdict = verdict
        each.not_before = now + max(self._patience.pause_s(each.failures), failure.retry_after_s or 0.0)
        LOG.warning(
            "the fallback topic is told later of mail %s: %s", each.mail["mail_id"].hex(), failure.reason
        )
        return True

    def _tell(self, each: _Waiting, outcome: str, cause: str, detail: str) -> str:
        return self._fallback.tell(
            each.mail["mail_id"],
            message_of(each.mail, each.draft, outcome=outcome, cause=cause, detail=detail),
        )

    def _close(self, row: MailForward) -> None:
        self._book.record(row)
        self._count(row["outcome"])
        LOG.info("mail %s: %s %s", row["mail_id"].hex(), row["outcome"], row["reason"])
        self._waiting.pop(row["mail_id"], None)

    def _row(
        self, each: _Waiting, attempt: str, outcome: str, cause: str = "", detail: str = ""
    ) -> MailForward:
        mail, draft = each.mail, each.draft
        known = [self._pseudonyms.recipient(address) for address in draft.named.recipients]
        return MailForward(
            mail_id=mail["mail_id"],
            attempt=attempt,
            time=self._rising_ms(),
            outcome=outcome,
            reason=cause,
            detail=self._pseudonyms.redact(detail)[:_LONGEST_DETAIL],
            received_time=mail["received_time"],
            tenant=mail["tenant"],
            object=mail["object"],
            recipients=[{"address": each.address, "domain": each.domain} for each in known],
            refused=len(draft.named.refused),
            links=len(draft.links),
            links_until=draft.until_ms,
            ses_message_id="",
            fallback_id=each.fallback_id,
            tries=each.tries,
        )

    def _attempt(self) -> str:
        self._attempts += 1
        return f"{self._life}-{self._attempts}"

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)

    def _rising_ms(self) -> int:
        """Now, and later than any row before."""
        self._last_ms = max(self._now_ms(), self._last_ms + 1)
        return self._last_ms

    def _count(self, outcome: str) -> None:
        self.numbers.outcomes[outcome] = self.numbers.outcomes.get(outcome, 0) + 1

    def _measure(self) -> None:
        self.numbers.waiting = len(self._waiting)
        oldest = min((each.since for each in self._waiting.values()), default=self._monotonic())
        self.numbers.oldest_s = self._monotonic() - oldest
