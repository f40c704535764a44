"""What a document can turn out to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from schemas.dead_letters import DeadLetter

if TYPE_CHECKING:
    from pipelines.mail.notice import Notice
    from schemas.ses import Payload


class SesPayload(Struct, frozen=True, gc=False):
    """An SES event or legacy notification, decoded."""

    payload: Payload
    raw: bytes
    """Its JSON, as found."""
    path: str
    """`sns`, `eventbridge`, `firehose` or `file`."""
    position: str
    """Where in the envelopes of its document it was: `0.2` is the third record of the first; empty if
    bare."""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An S3 object that an S3 notification or an EventBridge S3 event announces."""

    bucket: str
    key: str
    """Decoded: ready for GetObject."""
    version_id: str
    """Empty where the bucket is not versioned."""
    size: int
    """Bytes; -1 where the notification does not say."""
    region: str
    event_name: str
    """`ObjectCreated:Put`, `Object Created`, …"""


@dataclass(frozen=True, slots=True)
class MailContent:
    """A received mail, whole."""

    raw: bytes
    notice: Notice
    path: str
    """As of events: `sns`, `file`, …"""


@dataclass(frozen=True, slots=True)
class MailObject:
    """A received mail that a receipt notification says is in S3."""

    ref: ObjectRef
    notice: Notice


@dataclass(frozen=True, slots=True)
class MailElsewhere:
    """A received mail of which a notification says neither what it holds nor where it is."""

    notice: Notice
    action: str
    """Type of the receipt rule's action, as SES writes it; `lambda_event`: an event for a Lambda function."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """An SNS SubscriptionConfirmation. Whether to visit `subscribe_url` is the endpoint's decision."""

    type: Literal["SubscriptionConfirmation"]
    topic_arn: str
    token: str
    subscribe_url: str
    message_id: str
    timestamp: str


@dataclass(frozen=True, slots=True)
class Control:
    """A message about the plumbing, not about mail: acknowledged and counted, nothing more."""

    kind: str
    """`s3_test_event`, `s3_delete`, `setup_notification`, `topic_validated`, `subscription_succeeded`,
    `unsubscribe_confirmation`, `s3_other`, `eventbridge_other`, `empty_record`, `receipt_bounce`, `receipt_lambda`,
    `receipt_stop`, `receipt_workmail`."""


Outcome = (
    SesPayload | ObjectRef | MailContent | MailObject | MailElsewhere | Confirmation | Control | DeadLetter
)
