"""What each type of event says, besides `mail`: one reader a type.

A reader fills the event's own fields and returns whom and when it is about, or None when the object that
its type promises is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import DecodeError, Struct
from msgspec.json import encode

from pipelines.intake.smtp_signals import is_reputation_delay, reply_of
from schemas.ses import ANY, BouncedRecipient, Payload, TopicPreference, TopicPreferences

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.events import SesEvent

_MAX_MILLIS: Final = 2**53


class About(Struct, gc=False):
    """Whom and when an event is about."""

    addresses: list[str] | None
    """None: every recipient of the message."""
    replies: list[str] | None = None
    """SMTP reply for each of `addresses`."""
    time: str | None = None
    """The event's own timestamp."""
    signals: bool = False
    """Whether its replies can be signals of reputation."""
    held: bool = False
    """Whether the event as a whole is one."""
    details: tuple[str, ...] = ()
    """What else tells it from another event of its type, recipients and time."""


def _send(_payload: Payload, _event: SesEvent) -> About | None:
    # `send` is always {}: nothing is lost without it.
    return About(None)


def _delivery(payload: Payload, event: SesEvent) -> About | None:
    delivery = payload.delivery
    if delivery is None:
        return None
    event["processing_millis"] = _millis(delivery.processing_time_millis)
    event["smtp_reply"] = reply = delivery.smtp_response or ""
    event["reporting_mta"] = delivery.reporting_mta or ""
    event["remote_mta_ip"] = delivery.remote_mta_ip or ""
    addresses = delivery.recipients or []
    return About(addresses, [reply] * len(addresses), delivery.timestamp)


def _millis(value: float | str | None) -> int:
    try:
        millis = int(value or 0)
    except (ValueError, OverflowError):
        return 0
    return millis if 0 <= millis < _MAX_MILLIS else 0


def _bounce(payload: Payload, event: SesEvent) -> About | None:
    bounce = payload.bounce
    if bounce is None:
        return None
    event["bounce_type"] = bounce.bounce_type or ""
    event["bounce_subtype"] = bounce.bounce_sub_type or ""
    event["feedback_id"] = bounce.feedback_id or ""
    event["reporting_mta"] = bounce.reporting_mta or ""
    event["remote_mta_ip"] = bounce.remote_mta_ip or ""
    recipients = bounce.bounced_recipients or []
    # SES gives out-of-office replies as Transient/General bounces; nothing but the missing DSN tells them
    # apart.
    event["out_of_office"] = (
        bounce.bounce_type == "Transient"
        and bounce.bounce_sub_type == "General"
        and not bounce.reporting_mta
        and not any(one.action or one.status or one.diagnostic_code for one in recipients)
    )
    return About(*_replies(recipients), time=bounce.timestamp, signals=True)


def _replies(recipients: list[BouncedRecipient]) -> tuple[list[str], list[str]]:
    addresses = [one.email_address or "" for one in recipients]
    return addresses, [reply_of(one.diagnostic_code) if one.diagnostic_code else "" for one in recipients]


def _complaint(payload: Payload, event: SesEvent) -> About | None:
    complaint = payload.complaint
    if complaint is None:
        return None
    event["complaint_type"] = complaint.complaint_feedback_type or ""
    event["complaint_subtype"] = complaint.complaint_sub_type or ""
    event["feedback_id"] = complaint.feedback_id or ""
    event["user_agent"] = complaint.user_agent or ""
    addresses = [one.email_address or "" for one in complaint.complained_recipients or []]
    return About(addresses, time=complaint.timestamp)


def _reject(payload: Payload, event: SesEvent) -> About | None:
    if payload.reject is None:
        return None
    event["reason"] = payload.reject.reason or ""
    return About(None)


def _open(payload: Payload, event: SesEvent) -> About | None:
    opened = payload.open
    if opened is None:
        return None
    event["ip_address"] = address = opened.ip_address or ""
    event["user_agent"] = agent = opened.user_agent or ""
    return About(None, time=opened.timestamp, details=(address, agent))


def _click(payload: Payload, event: SesEvent) -> About | None:
    click = payload.click
    if click is None:
        return None
    event["ip_address"] = address = click.ip_address or ""
    event["user_agent"] = agent = click.user_agent or ""
    event["link"] = link = click.link or ""
    return About(None, time=click.timestamp, details=(link, address, agent))


def _failure(payload: Payload, event: SesEvent) -> About | None:
    if payload.failure is None:
        return None
    event["template"] = payload.failure.template_name or ""
    event["reason"] = payload.failure.error_message or ""
    return About(None)


def _delay(payload: Payload, event: SesEvent) -> About | None:
    delay = payload.delivery_delay
    if delay is None:
        return None
    event["delay_type"] = kind = delay.delay_type or ""
    event["reporting_mta"] = delay.reporting_mta or ""
    addresses, replies = _replies(delay.delayed_recipients or [])
    held = is_reputation_delay(kind)
    return About(addresses, replies, delay.timestamp, signals=True, held=held, details=(kind,))


def _subscription(payload: Payload, event: SesEvent) -> About | None:
    subscription = payload.subscription
    if subscription is None:
        return None
    event["contact_list"] = name = subscription.contact_list or ""
    old, new = subscription.old_topic_preferences, subscription.new_topic_preferences
    event["unsubscribed"] = _turned_off(old, new)
    return About(None, time=subscription.timestamp, details=(name, _canonical(old), _canonical(new)))


def _turned_off(old: TopicPreferences | None, new: TopicPreferences | None) -> bool:
    """Whether everything, or a topic, is off that was not."""
    if new is None:
        return False
    if new.unsubscribe_all and not (old and old.unsubscribe_all):
        return True
    before, after = _statuses(old), _statuses(new)
    return any(status == "OptOut" and before.get(topic) != "OptOut" for topic, status in after.items())


def _statuses(preferences: TopicPreferences | None) -> dict[str, str]:
    if preferences is None:
        return {}
    rows: list[TopicPreference] = [
        *(preferences.topic_default_subscription_status or []),
        *(preferences.topic_subscription_status or []),
    ]
    return {row.topic_name or "": row.subscription_status or "" for row in rows}


def _canonical(preferences: TopicPreferences | None) -> str:
    if preferences is None:
        return ""
    return encode([bool(preferences.unsubscribe_all), sorted(_statuses(preferences).items())]).decode()


READERS: Final[dict[str, Callable[[Payload, SesEvent], About | None]]] = {
    "Send": _send,
    "Delivery": _delivery,
    "Bounce": _bounce,
    "Complaint": _complaint,
    "Reject": _reject,
    "Open": _open,
    "Click": _click,
    "Rendering Failure": _failure,
    "DeliveryDelay": _delay,
    "Subscription": _subscription,
}
"""By `eventType`, in SES's spelling."""


def unknown(raw: bytes) -> About:
    """Of an event of a type that SES invented after this was written: its own object tells it apart."""
    try:
        document: Any = ANY.decode(raw)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return About(None)
    own = {key: value for key, value in document.items() if key != "mail"}
    times = (value.get("timestamp") for value in own.values() if isinstance(value, dict))
    time = next((value for value in times if isinstance(value, str)), None)
    return About(None, time=time, details=(encode(own, order="sorted").decode(),))
