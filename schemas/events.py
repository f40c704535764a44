"""`SesEvent`: one sending event, normalised. The rows of `ses.events`, typed as fastavro takes them.

Absent strings are empty, absent lists are empty. Times are milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from typing import Final, TypedDict

OTHER: Final = "other"
"""`event_type` of an event of a type we do not know; `original_type` then has SES's word."""

EVENT_TYPES: Final = (
    "Send",
    "Delivery",
    "Bounce",
    "Complaint",
    "Reject",
    "Open",
    "Click",
    "Rendering Failure",
    "DeliveryDelay",
    "Subscription",
)

SUPPRESSED_SUBTYPES: Final = ("OnAccountSuppressionList", "OnTenantSuppressionList")
"""Bounce and complaint subtypes of mail that SES accepted and did not send; never counted against a sender."""

EVENT: Final = "event"
NOTIFICATION: Final = "notification"
DSN: Final = "dsn"
ARF: Final = "arf"
REPORTS: Final = (DSN, ARF)
"""Values of `origin` of what received mail says (RFC 3464, RFC 5965), not SES. It counts only where SES is silent."""

FUTURE_MS: Final = 5 * 60 * 1000
"""Clocks of senders and of ours may differ by so much."""


class Recipient(TypedDict):
    """A recipient the event is about (for Open, Click, …: every recipient of the message)."""

    address: str
    """Keyed hash, or plain address when `pii = "plain"`."""
    domain: str
    """Lower case; IDNA as received."""
    provider: str
    """From the provider table; `other` when not in it."""
    reports_complaints: bool
    """Whether deliveries there are eligible for complaints (Gmail's are not)."""
    blocked: bool
    """Whether the SMTP reply for it is a reputation signal."""
    smtp_reply: str


class Tag(TypedDict):
    """A message tag; SES gives every tag a list of values."""

    name: str
    values: list[str]


class SesEvent(TypedDict):
    """One event."""

    event_id: bytes
    """16 bytes; the same for one event by whichever path and however often it comes."""
    event_type: str
    """One of `EVENT_TYPES`, or `OTHER`."""
    original_type: str
    """SES's word for an event of type `OTHER`, else empty."""
    event_time: int
    """When it happened: the payload's own timestamp, else `sent_time`."""
    sent_time: int
    """`mail.timestamp`: when SES accepted the message. Its hour is the event's cohort."""
    message_id: str
    account: str
    region: str
    configuration_set: str
    tenant: str
    from_domain: str
    feedback_a: str
    feedback_b: str
    feedback_c: str
    campaign: str
    recipients: list[Recipient]
    bounce_type: str
    bounce_subtype: str
    complaint_type: str
    """`complaintFeedbackType`: abuse, not-spam, …"""
    complaint_subtype: str
    delay_type: str
    feedback_id: str
    smtp_reply: str
    """The first SMTP reply of the event."""
    reporting_mta: str
    remote_mta_ip: str
    outgoing_ip: str
    processing_millis: int
    ip_address: str
    user_agent: str
    link: str
    reason: str
    """Of a Reject, or the error message of a Rendering Failure."""
    template: str
    contact_list: str
    machine_open: bool
    """An Open fetched by a proxy or a scanner, not by a reader."""
    out_of_office: bool
    """A Transient bounce that is an out-of-office reply."""
    unsubscribed: bool
    """A Subscription event that turned something off."""
    tags: list[Tag]
    tagged: bool
    """Whether the event came with `mail.tags`. Legacy notifications have none: an event first seen without tags
    counts only toward `UNTAGGED_DIMENSIONS`, and toward the others when its tagged twin arrives."""
    origin: str
    """`event` (event publishing), `notification` (legacy identity notification), or of a received report `dsn` or
    `arf`."""
    path: str
    """`sns`, `eventbridge`, `firehose` or `file`; empty: received mail told of it."""
    arrival_id: int
    """64-bit signed hash of where exactly this copy was read; the same when the same copy is read again."""
    future: bool
    """Its `sent_time` or `event_time` was ahead of the clock by more than `FUTURE_MS` when it was taken."""


BLANK: Final = SesEvent(
    event_id=b"",
    event_type="",
    original_type="",
    event_time=0,
    sent_time=0,
    message_id="",
    account="",
    region="",
    configuration_set="",
    tenant="",
    from_domain="",
    feedback_a="",
    feedback_b="",
    feedback_c="",
    campaign="",
    recipients=[],
    bounce_type="",
    bounce_subtype="",
    complaint_type="",
    complaint_subtype="",
    delay_type="",
    feedback_id="",
    smtp_reply="",
    reporting_mta="",
    remote_mta_ip="",
    outgoing_ip="",
    processing_millis=0,
    ip_address="",
    user_agent="",
    link="",
    reason="",
    template="",
    contact_list="",
    machine_open=False,
    out_of_office=False,
    unsubscribed=False,
    tags=[],
    tagged=False,
    origin="event",
    path="",
    arrival_id=0,
    future=False,
)
"""An event of which nothing is known: to be copied, and filled."""

UNTAGGED_DIMENSIONS: Final = ("account", "region", "from_domain", "provider")
"""Dimensions that do not depend on `mail.tags`."""
