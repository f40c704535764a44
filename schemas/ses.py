"""The wire format of SES events and legacy notifications, filled by `msgspec.json`.

Sources: SES developer guide, "Contents of event data that Amazon SES publishes to Amazon SNS" and "Amazon SNS
notification contents for Amazon SES". Only what is used is declared: unknown keys are skipped, and so are
fields whose type varies in reality and that nobody needs (`headersTruncated`, `linkTags`,
`commonHeaders.sender`). Every string may be missing or null; enumerations are plain strings, because AWS
adds values. A declared field of another JSON type is `msgspec.ValidationError`, whose message has its path.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw, Struct, field
from msgspec.json import Decoder


class _Wire(Struct, rename="camel", gc=False, omit_defaults=True):
    """Decoded JSON is a tree, so the cycle collector need not track it."""


class CommonHeaders(_Wire):
    """`mail.commonHeaders`."""

    to: list[str] | str | None = None
    """May hold one element that is a comma-joined list."""


class SentHeaders(_Wire):
    """`mail.commonHeaders`, of what threads want to know of a message sent."""

    from_: list[str] | str | None = field(default=None, name="from")
    reply_to: list[str] | str | None = None
    message_id: str | None = None
    """The caller's Message-ID in its brackets, else SES's id without."""
    subject: str | None = None
    """Of a template not yet in Send, but in later events."""


class Header(_Wire):
    """`mail.headers[]`: as the caller submitted it, in the caller's spelling."""

    name: str | None = None
    value: str | None = None


class Mail(_Wire):
    """`mail`: the message an event is about."""

    timestamp: str | None = None
    """When SES accepted it; ISO 8601, rarely with an offset."""
    message_id: str | None = None
    """SES's id, not an RFC 5322 Message-ID."""
    source: str | None = None
    """Sender; may be `Name <a@b>` or RFC 2047."""
    source_arn: str | None = None
    """Absent in Open and Click."""
    sending_account_id: str | int | None = None
    destination: list[str] | None = None
    """Every recipient of the message."""
    headers: Raw = field(default_factory=Raw)
    """For `HEADERS`; rarely needed. Absent from legacy notifications unless they are set to include it, and from
    DeliveryDelay and Rendering Failure."""
    common_headers: Raw = field(default_factory=Raw)
    """For `COMMON_HEADERS`; rarely needed, so not decoded beforehand."""
    tags: Raw = field(default_factory=Raw)
    """For `TAGS`; undecoded, because a campaign's messages share theirs. Never in legacy notifications."""


class BouncedRecipient(_Wire):
    """`bounce.bouncedRecipients[]` and `deliveryDelay.delayedRecipients[]`."""

    email_address: str | None = None
    action: str | None = None
    status: str | None = None
    diagnostic_code: str | None = None


class Bounce(_Wire):
    """`bounce`."""

    bounce_type: str | None = None
    bounce_sub_type: str | None = None
    bounced_recipients: list[BouncedRecipient] | None = None
    timestamp: str | None = None
    feedback_id: str | None = None
    reporting_mta: str | None = field(default=None, name="reportingMTA")
    remote_mta_ip: str | None = None


class ComplainedRecipient(_Wire):
    """`complaint.complainedRecipients[]`: candidates, when the provider redacts."""

    email_address: str | None = None


class Complaint(_Wire):
    """`complaint`."""

    complained_recipients: list[ComplainedRecipient] | None = None
    timestamp: str | None = None
    feedback_id: str | None = None
    complaint_sub_type: str | None = None
    complaint_feedback_type: str | None = None
    user_agent: str | None = None


class Delivery(_Wire):
    """`delivery`."""

    timestamp: str | None = None
    processing_time_millis: int | float | str | None = None
    recipients: list[str] | None = None
    smtp_response: str | None = None
    reporting_mta: str | None = field(default=None, name="reportingMTA")
    remote_mta_ip: str | None = None


class Reject(_Wire):
    """`reject`; has no timestamp."""

    reason: str | None = None


class Open(_Wire):
    """`open`."""

    timestamp: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None


class Click(_Wire):
    """`click`."""

    timestamp: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    link: str | None = None


class Failure(_Wire):
    """`failure`, of a Rendering Failure; has no timestamp."""

    template_name: str | None = None
    error_message: str | None = None


class DeliveryDelay(_Wire):
    """`deliveryDelay`."""

    timestamp: str | None = None
    delay_type: str | None = None
    delayed_recipients: list[BouncedRecipient] | None = None
    reporting_mta: str | None = field(default=None, name="reportingMTA")


class TopicPreference(_Wire):
    """Whether a contact wants a topic: `OptIn` or `OptOut`."""

    topic_name: str | None = None
    subscription_status: str | None = None


class TopicPreferences(_Wire):
    """`subscription.newTopicPreferences` and `oldTopicPreferences`."""

    unsubscribe_all: bool | None = None
    topic_subscription_status: list[TopicPreference] | None = None
    topic_default_subscription_status: list[TopicPreference] | None = None


class Subscription(_Wire):
    """`subscription`."""

    contact_list: str | None = None
    timestamp: str | None = None
    source: str | None = None
    new_topic_preferences: TopicPreferences | None = None
    old_topic_preferences: TopicPreferences | None = None


class Payload(_Wire):
    """An event (`eventType`) or a legacy notification (`notificationType`) with the object its type names."""

    event_type: str | None = None
    notification_type: str | None = None
    mail: Mail | None = None
    bounce: Bounce | None = None
    complaint: Complaint | None = None
    delivery: Delivery | None = None
    reject: Reject | None = None
    open: Open | None = None
    click: Click | None = None
    failure: Failure | None = None
    delivery_delay: DeliveryDelay | None = None
    subscription: Subscription | None = None


LEGACY_TYPES: Final = ("Bounce", "Complaint", "Delivery")
"""`notificationType`s of sending notifications (SES developer guide, "Top-level JSON object")."""

PAYLOAD: Final[Decoder[Payload]] = Decoder(Payload)
TAGS: Final[Decoder[dict[str, list[str]] | None]] = Decoder(dict[str, list[str]] | None)
HEADERS: Final[Decoder[list[Header] | None]] = Decoder(list[Header] | None)
COMMON_HEADERS: Final[Decoder[CommonHeaders | None]] = Decoder(CommonHeaders | None)
SENT_HEADERS: Final[Decoder[SentHeaders | None]] = Decoder(SentHeaders | None)
ANY: Final[Decoder[Any]] = Decoder()
