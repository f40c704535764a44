"""The envelopes in which one event may arrive."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from connectors.simulator import world
from connectors.simulator.payloads import Event, iso, legacy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from connectors.simulator.replies import Mail

TOPIC: Final = f"arn:aws:sns:{world.REGION}:{world.ACCOUNT}:ses-events"
_DETAIL_TYPES: Final = {
    "Send": "Email Sent",
    "Delivery": "Email Delivered",
    "Bounce": "Email Bounced",
    "Complaint": "Email Complaint Received",
    "Reject": "Email Rejected",
    "Open": "Email Opened",
    "Click": "Email Clicked",
    "Rendering Failure": "Email Rendering Failed",
    "DeliveryDelay": "Email Delivery Delayed",
    "Subscription": "Email Subscribed",
}


def bare(event: Event) -> bytes:
    """As raw SNS delivery gives it and as Firehose keeps it: JSON and a line feed."""
    return msgspec.json.encode(event.payload) + b"\n"


def sns(event: Event, rng: Random) -> bytes:
    """An SNS envelope, as it lies in a queue."""
    return envelope(bare(event).decode(), event.arrival_ms, rng)


def envelope(message: str, time_ms: int, rng: Random) -> bytes:
    """An SNS notification around any text."""
    document = {
        "Type": "Notification",
        "MessageId": _uuid(rng),
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": message,
        "Timestamp": iso(time_ms),
        "SignatureVersion": "1",
        "Signature": "bm90LWEtc2lnbmF0dXJl",
        "SigningCertURL": f"https://sns.{world.REGION}.amazonaws.com/SimpleNotificationService-0000.pem",
        "UnsubscribeURL": f"https://sns.{world.REGION}.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={TOPIC}:1",
    }
    return msgspec.json.encode(document)


def eventbridge(event: Event, rng: Random) -> bytes:
    """An EventBridge event, as a rule puts it on a queue: times to the second."""
    name = event.payload["mail"]["tags"]["ses:configuration-set"][0]
    document = {
        "version": "0",
        "id": _uuid(rng),
        "detail-type": _DETAIL_TYPES[event.type],
        "source": "aws.ses",
        "account": world.ACCOUNT,
        "time": iso(event.arrival_ms)[:-5] + "Z",
        "region": event.region,
        "resources": [f"arn:aws:ses:{event.region}:{world.ACCOUNT}:configuration-set/{name}"],
        "detail": event.payload,
    }
    return msgspec.json.encode(document)


def notification(event: Event, rng: Random) -> bytes | None:
    """The legacy identity notification of the event in its SNS envelope; None for types that have none."""
    document = legacy(event)
    if document is None:
        return None
    return envelope(msgspec.json.encode(document).decode(), event.arrival_ms, rng)


def received(mail: Mail, bucket: str, key: str) -> str:
    """What SES tells of a received mail, as JSON: of an S3 action, or without a bucket of an SNS action."""
    arn = f"{TOPIC}-inbound"
    stored = {"type": "S3", "topicArn": arn, "bucketName": bucket, "objectKeyPrefix": "", "objectKey": key}
    action = stored if bucket else {"type": "SNS", "topicArn": arn, "encoding": "BASE64"}
    passed = {"status": "PASS"}
    document: dict[str, Any] = {
        "notificationType": "Received",
        "mail": {
            "timestamp": iso(mail.time_ms),
            "source": mail.envelope_from,
            "messageId": mail.ses_id,
            "destination": list(mail.recipients),
            "headersTruncated": False,
            "headers": [],
            "commonHeaders": {"to": list(mail.recipients)},
        },
        "receipt": {
            "timestamp": iso(mail.time_ms),
            "processingTimeMillis": 41,
            "recipients": list(mail.recipients),
            "spamVerdict": passed,
            "virusVerdict": passed,
            "spfVerdict": passed,
            "dkimVerdict": {"status": "GRAY"},
            "dmarcVerdict": {"status": "GRAY"},
            "action": action,
        },
    }
    if not bucket:
        document["content"] = b64encode(mail.raw).decode()
    return msgspec.json.encode(document).decode()


def firehose_request(records: Sequence[bytes], time_ms: int, rng: Random) -> bytes:
    """The body Firehose posts to an HTTP endpoint."""
    body: dict[str, Any] = {
        "requestId": _uuid(rng),
        "timestamp": time_ms,
        "records": [{"data": b64encode(record).decode()} for record in records],
    }
    return msgspec.json.encode(body)


def object_key(prefix: str, stream: str, time_ms: int, rng: Random) -> str:
    """As Firehose names its objects."""
    stamp = iso(time_ms)
    name = stamp[:19].replace("T", "-").replace(":", "-")
    return f"{prefix}{stamp[:13].replace('-', '/').replace('T', '/')}/{stream}-1-{name}-{_uuid(rng)}"


def _uuid(rng: Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))
