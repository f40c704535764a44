"""`DistributionCompanion`: sends mails on, beside the delivery of alarms, once in an installation.

One process is enough, for SES's sending rate is of the account; and one that holds the whole ledger needs nobody's
word. It is not the once that keeps a mail from being sent twice: for a moment after a rebalance two may run, and one
that was stopped may wake up. What does is the order of intents in `mail.forwards`; see `schemas/forwards.py`.
"""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Final

from connectors.attachments.opening import open_store
from connectors.distribution.aws import SesSender, SnsFallback, StoredMails
from connectors.distribution.chosen import Chosen
from connectors.distribution.drafts import Drafter
from connectors.distribution.forwarder import Forwarder, Numbers, Patience
from connectors.distribution.ledger import Ledger
from connectors.distribution.past import landed, mails_of, rows_of
from connectors.distribution.topics import Feed, KafkaBook
from connectors.errors import SettingsError
from pipelines.mail.addresses import Pseudonyms
from schemas.blocks import SINGLE_OBJECT, Framing

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from connectors.clickhouse.sql import Target
    from connectors.settings import Settings
    from pipelines.mail.policy import MailPolicy
    from schemas.forwards import MailForward
    from schemas.mail import InboundMail

LOG: Final = logging.getLogger(__name__)
_HOUR_S: Final = 3600


class DistributionCompanion:
    """See `connectors.notify.companions.Companion`."""

    name: Final = "distribution"

    def __init__(
        self,
        settings: Settings,
        policy: MailPolicy,
        *,
        memory: Target | None = None,
        framing: Framing = SINGLE_OBJECT,
        clock: Callable[[], float] = time.time,
        patience: Patience | None = None,
    ) -> None:
        """Connects nowhere yet.

        Args:
            settings: of the process.
            policy: how mails are read, and addresses hashed: as the bridge does it.
            memory: of an embedded instance, whose Kafka forgets: its ClickHouse.
            framing: how blocks name their schema.
            clock: seconds since the epoch.
            patience: when something is tried again.
        """
        self._settings = settings
        self._distribution = settings.inbound.distribution
        self._policy = policy
        self._memory = memory
        self._framing = framing
        self._clock = clock
        self._patience = patience or Patience(retry_s=self._distribution.retry_h * _HOUR_S)
        self.numbers = Numbers()

    def run(self, stop: threading.Event) -> None:
        """Send mails on until told to stop. Begins with what was done before, and sends only once it knows all of that.

        Raises:
            BrokerError: Kafka does not answer, or refuses.
            ClickHouseError: it does not answer, and is the memory.
            SettingsError: attachments are not stored.
        """
        ledger = Ledger()
        kafka, memory = self._settings.kafka, self._memory
        pseudonyms = Pseudonyms(self._policy)
        chosen = Chosen(self._distribution.recipients, pseudonyms)
        with ExitStack() as stack:

            def learn(row: MailForward) -> None:
                ledger.take(row, round(self._clock() * 1000))

            durable = partial(landed, memory) if memory else _kafka_suffices
            book = stack.enter_context(closing(KafkaBook(kafka, learn, self._framing, durable)))
            forwarder = self._forwarder(stack, ledger, book, pseudonyms)
            self.numbers = forwarder.numbers
            for row in rows_of(memory) if memory else ():
                learn(row)
            book.catch_up(stop.is_set)
            # Kafka forgets the offsets of a group that has stood still for a week; rows say that there were some.
            known = memory is not None or not ledger.empty
            feed = stack.enter_context(closing(Feed(kafka, self._framing, from_start=known)))

            def take(mail: InboundMail) -> bool:
                wanted = chosen(mail)
                if wanted:
                    forwarder.take(mail)
                return wanted

            for mail in self._left(memory):
                take(mail)
            while not stop.is_set():
                book.poll()
                feed.poll(take, forwarder.settled, forwarder.waiting)
                forwarder.step(stop.is_set)

    def _left(self, memory: Target | None) -> list[InboundMail]:
        """Mails that landed, and that an embedded Kafka may have forgotten before they were sent on."""
        since_s = self._clock() - self._distribution.max_age_h * _HOUR_S
        return mails_of(memory, round(since_s * 1000)) if memory else []

    def _forwarder(
        self, stack: ExitStack, ledger: Ledger, book: KafkaBook, pseudonyms: Pseudonyms
    ) -> Forwarder:
        chosen = self._distribution
        store = open_store(self._settings)
        if store is None:
            raise SettingsError("inbound.distribution makes links to attachments: set inbound.attachments")
        stack.callback(store.close)
        for warning in store.warnings():
            LOG.warning("%s", warning)
        mails = stack.enter_context(closing(StoredMails(chosen, self._policy.limits.size)))
        return Forwarder(
            ledger,
            book,
            Drafter(chosen, self._policy.limits, mails, store),
            sender=stack.enter_context(closing(SesSender(chosen))),
            fallback=stack.enter_context(closing(SnsFallback(chosen))),
            pseudonyms=pseudonyms,
            life=secrets.token_hex(8),
            clock=self._clock,
            monotonic=time.monotonic,
            patience=self._patience,
            resend_unclear=chosen.resend_unclear,
        )


def _kafka_suffices(_: MailForward) -> bool:
    return True
