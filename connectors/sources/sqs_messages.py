"""What one SQS message stands for: its events, or those of the S3 objects it announces."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from connectors.aws import source_error
from connectors.bridge import sent_rows
from connectors.sources.reading import Tally, read_into
from connectors.sources.s3 import (
    ObjectError,
    ObjectMissing,
    ObjectUnavailable,
    object_error,
    read_object,
)
from connectors.sources.sns_certificates import SnsUnavailable
from connectors.sources.sns_signature import BadSignature
from pipelines.intake.provenance import Provenance
from schemas.dead_letters import DeadLetter, dead_letter

if TYPE_CHECKING:
    import threading

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs.type_defs import MessageTypeDef

    from connectors.bridge import Entrance, Receipt
    from connectors.sources.sns_certificates import SnsHosts
    from pipelines.intake.intake import Intake
    from pipelines.intake.outcomes import ObjectRef

_RECEIPTS: Final = 5
"""Receipts of a message after which what it announces is given up, with a dead letter."""

_log = logging.getLogger(__name__)


class NotNow(Exception):  # noqa: N818 - named by what it says
    """The message cannot be used now; it may later."""

    def __init__(self, cause: str, detail: str, source: str = "") -> None:
        super().__init__(detail)
        self.cause = cause
        self.source = source


class _Never(NotNow):
    """The message can never be used."""


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

    def __init__(self, intake: Intake, s3: S3Client, hosts: SnsHosts | None, stop: threading.Event) -> None:
        self._intake = intake
        self._stop = stop
        self._s3 = s3
        self._hosts = hosts

    def submit(self, message: Message, bridge: Entrance, receipt: Receipt) -> None:
        """Submit its events and dead letters, and those of the objects it announces, under one receipt.

        Raises:
            NotNow: when part of it cannot be had now; part of it may be submitted already.
            UserError: when the bridge is broken.
        """
        try:
            self._check_signature(message)
            taken = self._intake.take(message.body, message.provenance)
            bridge.submit(taken.events, taken.dead_letters, receipt, sent_rows(taken.outbound))
            for confirmation in taken.confirmations:
                _log.warning("topic %s waits for its subscription to be confirmed", confirmation.topic_arn)
            for announced in taken.objects:
                self._object(announced, bridge, receipt)
        except _Never as reason:
            bridge.submit((), (message.rejected(reason.cause, str(reason), reason.source),), receipt)
        except NotNow as reason:
            if message.receipts < _RECEIPTS or self._stop.is_set():
                raise
            detail = f"given up after {message.receipts} receipts: {reason}"
            bridge.submit((), (message.rejected(reason.cause, detail, reason.source),), receipt)

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
            raise _Never("bad_signature", str(error)) from None
        except SnsUnavailable as error:
            raise NotNow("no_certificate", str(error)) from error

    def _object(self, announced: ObjectRef, bridge: Entrance, receipt: Receipt) -> None:
        bucket, key, version = announced.bucket, announced.key, announced.version_id
        uri = f"s3://{bucket}/{key}"
        try:
            provenance = Provenance(uri, self._last_modified(bucket, key, version), "firehose")
            chunks = read_object(self._s3, bucket, key, version)
            intake, tally = self._intake, Tally()
            if not read_into(bridge, intake, chunks, provenance, receipt, tally=tally, stop=self._stop):
                raise NotNow("stopped", f"stopped while reading {uri}", uri)
        except ObjectMissing as error:
            raise _Never(error.cause, str(error), uri) from None
        except ObjectError as error:
            raise NotNow(error.cause, str(error), uri) from error

    def _last_modified(self, bucket: str, key: str, version: str) -> int:
        """Milliseconds since the epoch."""
        uri = f"s3://{bucket}/{key}"
        try:
            if version:
                head = self._s3.head_object(Bucket=bucket, Key=key, VersionId=version)
            else:
                head = self._s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            raise object_error(error, uri) from error
        except BotoCoreError as error:
            raise ObjectUnavailable(str(source_error(error, uri))) from error
        return int(head["LastModified"].timestamp() * 1000)
