"""What one SQS message stands for: its events, or those of the S3 objects it announces."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import msgspec

from connectors.attachments.store import StoreError
from connectors.bridge import sent_rows
from connectors.sources.announced import read_announced
from connectors.sources.reading import Tally, take_mails
from connectors.sources.s3 import ObjectEncrypted, ObjectError, ObjectMissing
from connectors.sources.sns_certificates import SnsUnavailable
from connectors.sources.sns_signature import BadSignature
from pipelines.intake.outcomes import MailObject
from pipelines.intake.provenance import Provenance
from schemas.dead_letters import DeadLetter, dead_letter

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

    from connectors.bridge import Receipt
    from connectors.inbound.fetching import Buckets
    from connectors.sources.reading import Desk
    from connectors.sources.sns_certificates import SnsHosts
    from pipelines.intake.intake import Taken
    from pipelines.intake.outcomes import ObjectRef
    from pipelines.mail.notice import Notice

_PLACES: Final = 10_000
_NOBODY: Final = "(none)"
"""Whose turn it is of mails that say nothing of their recipients."""

_log = logging.getLogger(__name__)


class NotNow(Exception):  # noqa: N818 - named by what it says
    """The message cannot be used now; it may later."""

    def __init__(self, cause: str, detail: str, source: str = "") -> None:
        super().__init__(detail)
        self.cause = cause
        self.source = source


class Never(NotNow):
    """The message can never be used."""


class StoreAway(NotNow):
    """There is nothing wrong with the message: attachments cannot be stored now. It is never given up."""

    def __init__(self, error: StoreError, source: str = "") -> None:
        super().__init__("attachment_not_stored", str(error), source)


@dataclass(frozen=True, slots=True)
class Message:
    """One receipt of an SQS message."""

    body: bytes
    provenance: Provenance
    receipts: int
    """How often it was received, this time included (approximately, as SQS counts)."""

    @classmethod
    def of(cls, message: MessageTypeDef, url: str) -> Self:
        """As received from the queue at `url`."""
        attributes = message.get("Attributes", {})
        return cls(
            message.get("Body", "").encode(errors="surrogatepass"),
            Provenance(f"{url}/{message['MessageId']}", int(attributes.get("SentTimestamp", 0)), "sns"),
            int(attributes.get("ApproximateReceiveCount", 1)),
        )

    def rejected(self, cause: str, detail: str, source: str = "") -> DeadLetter:
        """A dead letter of it."""
        return dead_letter(
            time=self.provenance.time,
            stage="read",
            cause=cause,
            detail=detail,
            source=source or self.provenance.uri,
            payload=self.body,
        )


class MessageReader:
    """Submits all that a message stands for. Not thread-safe, as its intake is not."""

    def __init__(self, desk: Desk, buckets: Buckets, hosts: SnsHosts | None, known: KnownPlaces) -> None:
        self._desk = desk
        self._buckets = buckets
        self._hosts = hosts
        self._known = known

    def open(self, message: Message) -> Taken:
        """What it says, nothing of which is submitted yet.

        Raises:
            Never: when it cannot be trusted.
            NotNow: when that cannot be told now.
        """
        self._check_signature(message)
        return self._desk.intake.take(message.body, message.provenance)

    def tenant(self, taken: Taken) -> str | None:
        """In whose turn it is to be read; None: at once, for it holds no mails.

        Of S3 objects that are announced nobody knows what they hold: those are taken for mails that are where the last
        one was a mail, and are in one turn with the others there.
        """
        for mail in taken.mails:
            if tenant := self._desk.mailroom.tenant_of(mail.notice):
                return tenant
            if mail.notice.recipients:
                return mail.notice.recipients[0].rpartition("@")[2].lower()
            return place_of(mail.ref) if isinstance(mail, MailObject) else _NOBODY
        for ref in taken.objects:
            if place_of(ref) in self._known:
                return place_of(ref)
        return None

    def submit(self, message: Message, taken: Taken, receipt: Receipt) -> None:
        """Submit its events and dead letters, its mails, and what is in the objects it announces, under one receipt.

        Raises:
            Never: when part of it can never be had.
            NotNow: when part of it cannot be had now; part of it may be submitted already.
            UserError: when the bridge is broken.
        """
        bridge = self._desk.bridge
        bridge.submit(taken.events, taken.dead_letters, receipt, sent_rows(taken.outbound))
        for confirmation in taken.confirmations:
            _log.warning("topic %s waits for its subscription to be confirmed", confirmation.topic_arn)
        try:
            take_mails(self._desk, taken, message.provenance, receipt, Tally())
        except StoreError as error:
            raise StoreAway(error) from error
        for mail in taken.mails:
            if isinstance(mail, MailObject):
                self._object(mail.ref, receipt, mail.notice)
        for announced in taken.objects:
            self._object(announced, receipt, None)

    def reject(self, message: Message, reason: NotNow, receipt: Receipt) -> None:
        """Submit a dead letter of it."""
        letter = message.rejected(reason.cause, str(reason), reason.source)
        self._desk.bridge.submit((), (letter,), receipt)

    def _check_signature(self, message: Message) -> None:
        """Of an SNS envelope, if signatures are to be verified; what is not enveloped has none."""
        if self._hosts is None:
            return
        try:
            envelope = msgspec.json.decode(message.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if not isinstance(envelope, dict) or "TopicArn" not in envelope:
            return
        try:
            self._hosts.check(envelope)
        except BadSignature as error:
            raise Never("bad_signature", str(error)) from None
        except SnsUnavailable as error:
            raise NotNow("no_certificate", str(error)) from error

    def _object(self, ref: ObjectRef, receipt: Receipt, notice: Notice | None) -> None:
        uri = f"s3://{ref.bucket}/{ref.key}"
        try:
            tally = read_announced(self._desk, self._buckets, ref, receipt, notice)
            self._known.note(place_of(ref), mails=bool(tally.mails))
        except (ObjectMissing, ObjectEncrypted) as error:
            raise Never(error.cause, str(error), uri) from None
        except StoreError as error:
            raise StoreAway(error, uri) from error
        except ObjectError as error:
            raise NotNow(error.cause, str(error), uri) from error


class KnownPlaces:
    """Where in S3 the last object was a mail: bucket and prefix. It only says how to wait for the next one there."""

    def __init__(self) -> None:
        self._mails: dict[str, None] = {}

    def __contains__(self, place: str) -> bool:
        return place in self._mails

    def note(self, place: str, *, mails: bool) -> None:
        """An object there has been read."""
        if not mails:
            self._mails.pop(place, None)
        elif place not in self._mails:
            if len(self._mails) >= _PLACES:
                self._mails.clear()
            self._mails[place] = None


def place_of(ref: ObjectRef) -> str:
    """Bucket and prefix of an object."""
    return f"s3://{ref.bucket}/{ref.key.rpartition('/')[0]}"
