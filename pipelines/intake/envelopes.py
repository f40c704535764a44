"""The envelopes in which SES events travel, and how to recognise each.

Sources: SNS "Amazon SNS message and JSON formats", EventBridge "Event structure", S3 "Event message
structure", Firehose "Appendix - HTTP endpoint delivery request and response specifications", Lambda's event
examples.
"""

from __future__ import annotations

import binascii
import zlib
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

from msgspec import Raw, Struct, field
from msgspec.json import decode

from pipelines.intake.framing import MAX_DOCUMENT
from pipelines.intake.outcomes import Confirmation, Control, ObjectRef, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

Keys = dict[str, Raw]


class Refusal(Exception):  # noqa: N818 - named by what it says
    """An envelope that cannot be opened."""

    def __init__(self, cause: str, detail: str, stage: str = "unwrap") -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail
        self.stage = stage


class Rejection(Struct, frozen=True, gc=False):
    """Bytes that end as a dead letter."""

    stage: str
    cause: str
    detail: str
    payload: bytes
    size: int = -1
    """Of the record, where the payload is only its beginning."""


class Layer(Struct, frozen=True, gc=False):
    """Bytes that are still to be opened, and where they were."""

    data: bytes
    path: str
    position: str = ""
    depth: int = 0

    def inner(self, data: bytes, *, number: int = -1, path: str = "") -> Layer:
        """What was inside; `number` tells siblings apart."""
        position = (
            self.position if number < 0 else f"{self.position}.{number}" if self.position else str(number)
        )
        return Layer(data, path or self.path, position, self.depth + 1)

    def with_data(self, data: bytes) -> Layer:
        """The same layer with mended bytes."""
        return Layer(data, self.path, self.position, self.depth)


Opened = list[Layer | Rejection | Outcome]


class _Sns(Struct):
    Type: str | None = None
    TopicArn: str | None = None
    Message: str | None = None
    MessageId: str | None = None
    Token: str | None = None
    SubscribeURL: str | None = None
    Timestamp: str | None = None


def _sns(layer: Layer, _: Keys) -> Opened:
    envelope = decode(layer.data, type=_Sns)
    arn = envelope.TopicArn or ""
    if envelope.Type == "SubscriptionConfirmation":
        return [
            Confirmation(
                "SubscriptionConfirmation",
                topic_arn=arn,
                token=envelope.Token or "",
                subscribe_url=envelope.SubscribeURL or "",
                message_id=envelope.MessageId or "",
                timestamp=envelope.Timestamp or "",
            )
        ]
    if envelope.Type == "UnsubscribeConfirmation":
        return [Control("unsubscribe_confirmation")]
    if envelope.Message is None:
        raise Refusal("missing_field", "An SNS envelope without Message.")
    return [layer.inner(envelope.Message.encode(), path="sns")]


class _EventBridge(Struct):
    detail_type: str | None = field(default=None, name="detail-type")
    source: str | None = None
    region: str | None = None
    detail: Raw = Raw(b"null")


def _eventbridge(layer: Layer, _: Keys) -> Opened:
    event = decode(layer.data, type=_EventBridge)
    detail = bytes(event.detail)
    kind, source = event.detail_type or "", event.source or ""
    if source == "aws.s3":
        return [_s3_eventbridge(event)]
    if kind.startswith("Email ") or b'"eventType"' in detail:
        return [layer.inner(detail, path="eventbridge")]
    if source == "aws.ses":
        return [Control("eventbridge_other")]
    raise Refusal("not_an_ses_event", f"An EventBridge event {kind!r:.60} of {source!r:.60}, not of SES.")


class _Bucket(Struct):
    name: str


class _Object(Struct):
    key: str
    size: int | None = None
    version_id: str | None = field(default=None, name="versionId")
    version_dash_id: str | None = field(default=None, name="version-id")


class _S3(Struct):
    bucket: _Bucket
    object: _Object


class _S3Record(Struct):
    s3: _S3
    event_name: str = field(default="", name="eventName")
    region: str | None = field(default=None, name="awsRegion")


_SETUP: Final = "AMAZON_SES_SETUP_NOTIFICATION"


def _reference(s3: _S3, key: str, region: str, event_name: str) -> Outcome:
    if key.endswith(_SETUP):
        return Control("setup_notification")
    size = s3.object.size if s3.object.size is not None else -1
    version = s3.object.version_id or s3.object.version_dash_id or ""
    return ObjectRef(s3.bucket.name, key, version, size, region, event_name)


def _s3_eventbridge(event: _EventBridge) -> Outcome:
    if event.detail_type != "Object Created":
        return Control("s3_delete" if event.detail_type == "Object Deleted" else "s3_other")
    s3 = decode(event.detail, type=_S3)
    return _reference(s3, s3.object.key, event.region or "", event.detail_type)


def _s3_record(layer: Layer, _: Keys) -> Opened:
    record = decode(layer.data, type=_S3Record)
    name = record.event_name.removeprefix("s3:")
    if not name.startswith("ObjectCreated"):
        deleted = name.startswith(("ObjectRemoved", "LifecycleExpiration"))
        return [Control("s3_delete" if deleted else "s3_other")]
    # S3 form-encodes keys in its own notifications, and only there.
    key = unquote_plus(record.s3.object.key, errors="replace")
    return [_reference(record.s3, key, record.region or "", name)]


def _list(layer: Layer, keys: Keys, name: str) -> Opened:
    records = decode(keys[name], type=list[Raw])
    if not records:
        raise Refusal("empty_object", f"An envelope without {name}.")
    return [layer.inner(bytes(record), number=number) for number, record in enumerate(records)]


def _text(keys: Keys, name: str, layer: Layer, number: int = -1) -> Layer:
    return layer.inner(decode(keys[name], type=str).encode(), number=number)


def _data(layer: Layer, encoded: Raw) -> Opened:
    """Base64 of a Firehose or Kinesis record: documents, perhaps compressed."""
    try:
        data = binascii.a2b_base64(decode(encoded, type=str), strict_mode=True)
    except ValueError as error:
        raise Refusal("invalid_base64", f"The record's data is not base64: {error}.") from None
    if data.startswith(b"\x1f\x8b"):
        data = _inflate(data)
    return [layer.inner(data, path="firehose")]


def _inflate(data: bytes) -> bytes:
    """The members of a gzip file."""
    parts: list[bytes] = []
    room = MAX_DOCUMENT
    while data:
        inflater = zlib.decompressobj(wbits=31)
        try:
            part = inflater.decompress(data, room + 1)
        except zlib.error as error:
            raise Refusal("corrupt_gzip", f"The record's gzip does not inflate: {error}.") from None
        room -= len(part)
        if room < 0:
            raise Refusal("record_too_large", f"The record inflates to more than {MAX_DOCUMENT} bytes.")
        if not inflater.eof:
            raise Refusal("truncated_gzip", "The record's gzip ends early.")
        parts.append(part)
        data = inflater.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _kinesis(layer: Layer, keys: Keys) -> Opened:
    inner = decode(keys["kinesis"], type=dict[str, Raw])
    if "data" not in inner:
        raise Refusal("missing_field", "A Kinesis record without data.")
    return _data(layer, inner["data"])


def _is_text(value: Raw | None) -> bool:
    return value is not None and bytes(value)[:1] == b'"'


def _is_list(value: Raw | None) -> bool:
    return value is not None and bytes(value)[:1] == b"["


def _is_object(value: Raw | None) -> bool:
    return value is not None and bytes(value)[:1] == b"{"


_RECORD_KEYS: Final = {
    "data",
    "recordId",
    "result",
    "metadata",
    "approximateArrivalTimestamp",
    "kinesisRecordMetadata",
}
"""Of a record in a Firehose HTTP request or transform event."""

KNOWN: Final[tuple[tuple[Callable[[Keys], bool], Callable[[Layer, Keys], Opened]], ...]] = (
    (lambda keys: "TopicArn" in keys and ("Message" in keys or "Type" in keys), _sns),
    (lambda keys: "Message" in keys and bytes(keys.get("Type", b"")) == b'"Notification"', _sns),
    (lambda keys: "detail-type" in keys and "detail" in keys, _eventbridge),
    (lambda keys: _is_object(keys.get("s3")), _s3_record),
    (lambda keys: _is_list(keys.get("Records")), lambda layer, keys: _list(layer, keys, "Records")),
    (lambda keys: _is_object(keys.get("Sns")), lambda layer, keys: [layer.inner(bytes(keys["Sns"]))]),
    (lambda keys: _is_list(keys.get("Messages")), lambda layer, keys: _list(layer, keys, "Messages")),
    (
        lambda keys: _is_text(keys.get("Body")) and ("MessageId" in keys or "ReceiptHandle" in keys),
        lambda layer, keys: [_text(keys, "Body", layer)],
    ),
    (
        lambda keys: _is_text(keys.get("body")) and ("messageId" in keys or "receiptHandle" in keys),
        lambda layer, keys: [_text(keys, "body", layer)],
    ),
    (lambda keys: _is_list(keys.get("records")), lambda layer, keys: _list(layer, keys, "records")),
    (lambda keys: _is_object(keys.get("kinesis")), _kinesis),
    (
        lambda keys: _is_text(keys.get("rawData")) and ("attemptsMade" in keys or "errorCode" in keys),
        lambda layer, keys: _data(layer, keys["rawData"]),
    ),
    (
        lambda keys: _is_text(keys.get("data")) and keys.keys() <= _RECORD_KEYS,
        lambda layer, keys: _data(layer, keys["data"]),
    ),
    (
        lambda keys: keys.get("Event") is not None and bytes(keys["Event"]) == b'"s3:TestEvent"',
        lambda _layer, _keys: [Control("s3_test_event")],
    ),
)
"""Every envelope: how its keys are recognised, and what opens it. The first that fits is it."""
