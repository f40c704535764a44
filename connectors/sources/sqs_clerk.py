"""`Clerk`: what becomes of a message that was received: submitted at once, left in the lobby, returned or given up."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from connectors.bridge import Receipt
from connectors.sources.sqs_messages import Message, MessageReader, Never, NotNow, StoreAway

if TYPE_CHECKING:
    from connectors.inbound.lobby import Lobby
    from connectors.sources.numbers import Numbers
    from connectors.sources.sqs_custody import Custody, Held
    from pipelines.intake.intake import Taken

_TRIES: Final = 5
"""Failures of a message after which what it announces is given up, with a dead letter."""
_REMEMBERED: Final = 10_000
"""Messages that failed and are remembered."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Errand:
    """A message that is not submitted whole yet."""

    message: Message
    held: Held
    receipt: Receipt
    taken: Taken | None
    waits: bool = False
    """Whether it goes through the lobby."""


@dataclass(slots=True)
class Failures:
    """How often messages failed here.

    SQS counts receipts, also those after which a message was put off: whether it fails they do not say.
    """

    _counts: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, message_id: str) -> int:
        """Once more; how often that is."""
        with self._lock:
            if len(self._counts) >= _REMEMBERED:
                self._counts.clear()
            count = self._counts[message_id] = self._counts.get(message_id, 0) + 1
            return count


@dataclass(frozen=True, slots=True)
class Office:
    """What the clerks of a queue share."""

    name: str
    custody: Custody
    numbers: Numbers
    stop: threading.Event
    failures: Failures = field(default_factory=Failures)


class Clerk:
    """Of one thread, as its reader is."""

    def __init__(self, office: Office, reader: MessageReader) -> None:
        self._office = office
        self._reader = reader

    def accept(self, message: Message, held: Held, lobby: Lobby[Errand]) -> float:
        """Submit what a message stands for, or leave it in the lobby: 0. Or after how many seconds it should return.

        Raises:
            UserError: when the bridge is broken.
        """
        receipt = Receipt(partial(self._office.custody.safe, held))
        try:
            taken = self._reader.open(message)
        except NotNow as reason:
            self._refuse(Errand(message, held, receipt, None), reason)
            return 0.0
        tenant = self._reader.tenant(taken)
        errand = Errand(message, held, receipt, taken, waits=tenant is not None)
        if tenant is None:
            self.finish(errand)
            return 0.0
        # Of a mail in a notification the body and the mail itself wait.
        return lobby.offer(tenant, errand, receipts=message.receipts, size=2 * len(message.body))

    def finish(self, errand: Errand) -> None:
        """Submit what it stands for.

        Raises:
            UserError: when the bridge is broken.
        """
        try:
            if errand.taken is not None:
                self._reader.submit(errand.message, errand.taken, errand.receipt)
        except NotNow as reason:
            self._refuse(errand, reason)
        else:
            errand.receipt.close()

    def _refuse(self, errand: Errand, reason: NotNow) -> None:
        if isinstance(reason, Never):
            self._reader.reject(errand.message, reason, errand.receipt)
            errand.receipt.close()
        elif self._has_failed_enough(errand, reason):
            detail = f"given up after {errand.message.receipts} receipts: {reason}"
            self._reader.reject(errand.message, Never(reason.cause, detail, reason.source), errand.receipt)
            errand.receipt.close()
        else:
            held = errand.held
            _log.warning("%s: message %s returns later: %s", self._office.name, held.message_id, reason)
            self._office.custody.release(held)
            self._office.numbers.give_back()

    def _has_failed_enough(self, errand: Errand, reason: NotNow) -> bool:
        if self._office.stop.is_set() or isinstance(reason, StoreAway):
            return False
        failures = self._office.failures.add(errand.held.message_id)
        return errand.message.receipts >= _TRIES and (failures >= _TRIES or not errand.waits)
