"""SNS's HTTPS subscriptions: notifications of the topics that the settings name, and of no other.

Source: https://docs.aws.amazon.com/sns/latest/dg/sns-http-https-endpoint-as-subscriber.html
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.aws import Access
from connectors.bridge import sent_rows
from connectors.inbound.fetching import Buckets
from connectors.sources.announced import read_announced
from connectors.sources.http_handover import Handover, Refused, answer, read_body
from connectors.sources.reading import Tally, not_fetched, take_mails
from connectors.sources.s3 import ObjectEncrypted, ObjectMissing
from connectors.sources.sns_certificates import SnsHosts, SnsUnavailable
from connectors.sources.sns_signature import BadSignature
from pipelines.intake.outcomes import MailObject
from pipelines.intake.provenance import Provenance
from pipelines.intake.timestamps import TimestampParser
from schemas.dead_letters import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from aiohttp import web

    from connectors.bridge import Receipt
    from connectors.sources.reading import Desk
    from pipelines.intake.outcomes import ObjectRef
    from pipelines.mail.notice import Notice

BODY_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a body: SNS's 1 MiB of message, escaped once more as a JSON string."""
TIMEOUT_S: Final = 12.0
"""SNS gives up after 15 seconds."""

_LARGEST: Final = 40 * 1024 * 1024
"""Bytes of an object that may be a mail; SNS does not wait for larger ones to be read."""

_log = logging.getLogger(__name__)


class SnsEndpoint:
    """Answers 200 once the message is safe, never before.

    Anybody can post here, so a message that is not from a topic of ours, or not signed by SNS, is refused and
    logged; it does not become a dead letter.
    """

    def __init__(
        self,
        topics: Collection[str],
        hosts: SnsHosts,
        clock_ms: Callable[[], int],
        *,
        timeout_s: float = TIMEOUT_S,
        buckets: Buckets | None = None,
    ) -> None:
        self._topics = frozenset(topics)
        self._buckets = buckets or Buckets(Access())
        self._hosts = hosts
        self._clock_ms = clock_ms
        self._timeout_s = timeout_s
        self._timestamps = TimestampParser()

    async def handle(self, request: web.Request, handover: Handover) -> web.Response:
        """One delivery attempt."""
        try:
            with handover.admitted() as room:
                body = await read_body(request, BODY_LIMIT, room)
                message = self._ours(body)
                await self._from_sns(self._hosts.check, message)
                await self._use(message, body, handover)
        except Refused as refused:
            _log.warning("sns message: %d %s", refused.status, refused.reason)
            return answer(refused.status, {"error": refused.reason})
        return answer(200, {})

    def _ours(self, body: bytes) -> dict[str, Any]:
        """The envelope, if it claims a topic of ours."""
        try:
            message = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Refused(400, "the body is not JSON") from None
        if not isinstance(message, dict):
            raise Refused(400, "the body is not an SNS message")
        topic = message.get("TopicArn")
        if not isinstance(topic, str) or topic not in self._topics:
            raise Refused(403, "the topic is not one of bridge.http.sns_topics")
        return message

    async def _from_sns(self, check: Callable[[Any], None], subject: object) -> None:
        try:
            await asyncio.to_thread(check, subject)
        except BadSignature as error:
            raise Refused(403, str(error)) from None
        except SnsUnavailable as error:
            raise Refused(503, str(error)) from None

    async def _use(self, message: dict[str, Any], body: bytes, handover: Handover) -> None:
        topic = message["TopicArn"]
        match message["Type"]:
            case "SubscriptionConfirmation":
                await self._from_sns(self._hosts.confirm, message["SubscribeURL"])
                _log.info("subscription to topic %s is confirmed", topic)
            case "UnsubscribeConfirmation":
                _log.warning("the subscription to topic %s was ended", topic)
            case _:
                time = self._timestamps.parse(message["Timestamp"])
                uri = f"{topic}/{message['MessageId']}"
                provenance = Provenance(uri, self._clock_ms() if time is None else time, "sns")
                await handover.give(partial(self._submit, body, provenance), self._timeout_s)

    def _submit(self, body: bytes, provenance: Provenance, desk: Desk, receipt: Receipt) -> None:
        taken = desk.intake.take(body, provenance)
        desk.bridge.submit(taken.events, taken.dead_letters, receipt, sent_rows(taken.outbound))
        if not taken.mails and not taken.objects:
            return
        take_mails(desk, taken, provenance, receipt, Tally())
        for mail in taken.mails:
            if isinstance(mail, MailObject):
                self._object(mail.ref, mail.notice, provenance, desk, receipt)
        for ref in taken.objects:
            if ref.size > _LARGEST:
                desk.bridge.submit((), [not_fetched(ref, provenance)], receipt)
            else:
                self._object(ref, None, provenance, desk, receipt)

    def _object(
        self, ref: ObjectRef, notice: Notice | None, provenance: Provenance, desk: Desk, receipt: Receipt
    ) -> None:
        try:
            read_announced(desk, self._buckets, ref, receipt, notice)
        except (ObjectMissing, ObjectEncrypted) as error:
            letter = dead_letter(
                time=provenance.time,
                stage="read",
                cause=error.cause,
                detail=str(error),
                source=f"s3://{ref.bucket}/{ref.key}",
                payload=msgspec.json.encode(ref),
            )
            desk.bridge.submit((), [letter], receipt)
