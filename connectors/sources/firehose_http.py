"""Firehose's HTTP endpoint destination.

Source: https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html
"""

from __future__ import annotations

import hmac
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from connectors.bridge import sent_rows
from connectors.sources.http_handover import Handover, Refused, answer, read_body
from connectors.sources.reading import Tally, letters, take_mails
from pipelines.intake.provenance import Provenance
from schemas.dead_letters import DeadLetter, dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from connectors.bridge import Receipt
    from connectors.sources.reading import Desk
    from schemas.events import SesEvent
    from schemas.mail import OutboundMessage

BODY_LIMIT: Final = 80 * 1024 * 1024
"""Bytes of an inflated body: Firehose's 64 MiB, and slack for how it counts them."""
TIMEOUT_S: Final = 150.0
"""Firehose gives up after 3 minutes; an answer after that would make a duplicate of a success."""
_ERROR_LIMIT: Final = 8192
"""Characters of an `errorMessage` (Firehose's contract)."""
_TAKEN_AT_ONCE: Final = 500
"""Records whose events are submitted together."""

_GZIP: Final = b"\x1f\x8b"

_log = logging.getLogger(__name__)


class Delivery(msgspec.Struct, frozen=True, rename="camel"):
    """Body of a request."""

    request_id: str
    timestamp: int
    """Milliseconds since the epoch."""
    records: list[msgspec.Raw]
    """Each `{"data": base64}`."""


class _Record(msgspec.Struct, frozen=True):
    data: bytes
    """Decoded from base64."""


_RECORD: Final = msgspec.json.Decoder(_Record)


class FirehoseEndpoint:
    """Answers 200 once every record of a request is safe, never before."""

    def __init__(
        self,
        access_key: str,
        clock_ms: Callable[[], int],
        *,
        body_limit: int = BODY_LIMIT,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._access_key = access_key.encode()
        self._clock_ms = clock_ms
        self._body_limit = body_limit
        self._timeout_s = timeout_s

    async def handle(self, request: web.Request, handover: Handover) -> web.Response:
        """One delivery attempt."""
        request_id = request.headers.get("X-Amz-Firehose-Request-Id", "")
        try:
            with handover.admitted() as room:
                self._authenticate(request)
                body = await read_body(request, self._body_limit, room)
                arn = request.headers.get("X-Amz-Firehose-Source-Arn", "") or "unknown"
                source = f"firehose://{arn}/{request_id}"
                delivery = await self._read(body, source, handover)
                request_id = delivery.request_id or request_id
                await handover.give(partial(self._submit, delivery, arn), self._timeout_s)
        except Refused as refused:
            _log.warning("firehose request %s: %d %s", request_id[:80], refused.status, refused.reason)
            return self._answer(refused.status, request_id, refused.reason)
        return self._answer(200, request_id)

    def _authenticate(self, request: web.Request) -> None:
        if not self._access_key:
            return
        given = request.headers.get("X-Amz-Firehose-Access-Key", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._access_key):
            raise Refused(401, "X-Amz-Firehose-Access-Key is absent or wrong")

    async def _read(self, body: bytes, source: str, handover: Handover) -> Delivery:
        """Decode the body; one that will never do is a dead letter (the same one at every retry)."""
        try:
            return msgspec.json.decode(body, type=Delivery)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            rejected = dead_letter(
                time=self._clock_ms(),
                stage="unwrap",
                cause="bad_firehose_request",
                detail=f"the request's body is not as Firehose's contract has it: {error}",
                source=source,
                payload=body,
            )
            await handover.give(
                lambda desk, receipt: desk.bridge.submit((), (rejected,), receipt), self._timeout_s
            )
            raise Refused(400, f"the body is not as Firehose's contract has it: {error}") from None

    @staticmethod
    def _submit(delivery: Delivery, arn: str, desk: Desk, receipt: Receipt) -> None:
        provenance = Provenance(f"firehose://{arn}/{delivery.request_id}", delivery.timestamp, "firehose")
        offset = 0
        for start in range(0, len(delivery.records), _TAKEN_AT_ONCE):
            events: list[SesEvent] = []
            outbound: list[OutboundMessage] = []
            dead_letters: list[DeadLetter] = []
            for record in delivery.records[start : start + _TAKEN_AT_ONCE]:
                document = _document(record)
                taken = desk.intake.take(document, provenance, offset)
                events += taken.events
                outbound += taken.outbound
                dead_letters += letters(taken, provenance)
                if taken.mails:
                    take_mails(desk, taken, provenance, receipt, Tally())
                # Tells records apart, and is the same when the request is repeated.
                offset += len(bytes(record))
            desk.bridge.submit(events, dead_letters, receipt, sent_rows(outbound))

    def _answer(self, status: int, request_id: str, error: str = "") -> web.Response:
        document: dict[str, object] = {"requestId": request_id, "timestamp": self._clock_ms()}
        if error:
            document["errorMessage"] = error[:_ERROR_LIMIT]
        return answer(status, document)


def _document(record: msgspec.Raw) -> bytes:
    """The record's data, which is twice as fast as to let the intake open the envelope.

    The envelope itself where more is to be done: the intake inflates, or says what is wrong with it.
    """
    envelope = bytes(record)
    try:
        data = _RECORD.decode(envelope).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return envelope
    return envelope if data.startswith(_GZIP) else data
