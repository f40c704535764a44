"""The JSON of SES events, shaped as SES shapes it (developer guide, "Examples of event data")."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from connectors.simulator import world

if TYPE_CHECKING:
    from random import Random

    from connectors.simulator.world import Campaign

_SES_HOST: Final = "a8-70.smtp-out.amazonses.com"
_LEGACY: Final = frozenset({"Bounce", "Complaint", "Delivery"})


@dataclass(frozen=True, slots=True)
class Message:
    """One accepted message."""

    message_id: str
    sent_ms: int
    campaign: Campaign
    recipients: tuple[str, ...]
    region: str
    delay_ms: int
    """How much later than usual all its events arrive."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event as SES would publish it."""

    type: str
    time_ms: int
    """When it happened."""
    arrival_ms: int
    """When it is delivered; hours later for some."""
    region: str
    payload: dict[str, Any]


def iso(time_ms: int) -> str:
    """As SES writes times."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def time_of(text: str) -> int:
    """What `iso` wrote, in ms."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def message_id(rng: Random, sent_ms: int, prefix: str) -> str:
    """Digits of the region, time of acceptance and a random part, as real ones have them."""
    tail = f"{rng.getrandbits(128):032x}"
    parts = (tail[:8], tail[8:12], tail[12:16], tail[16:20], tail[20:])
    return f"{prefix}{sent_ms:012x}-{'-'.join(parts)}-000000"


def mail(message: Message, extra_tags: dict[str, list[str]]) -> dict[str, Any]:
    """The `mail` object."""
    campaign = message.campaign
    sender = f"hello@{campaign.from_domain}"
    subject = f"{campaign.name.replace('-', ' ').capitalize()} ✉"
    return {
        "timestamp": iso(message.sent_ms),
        "source": f"Hello <{sender}>",
        "sourceArn": f"arn:aws:ses:{message.region}:{world.ACCOUNT}:identity/{campaign.from_domain}",
        "sendingAccountId": world.ACCOUNT,
        "messageId": message.message_id,
        "destination": list(message.recipients),
        "headersTruncated": False,
        "headers": [
            {"name": "From", "value": f"Hello <{sender}>"},
            {"name": "To", "value": ", ".join(message.recipients)},
            {"name": "Subject", "value": subject},
            {"name": "MIME-Version", "value": "1.0"},
            {"name": "Content-Type", "value": 'multipart/alternative; boundary="----=_Part_1"'},
            {"name": "X-SES-CONFIGURATION-SET", "value": campaign.configuration_set},
        ],
        "commonHeaders": {
            "from": [f"Hello <{sender}>"],
            "to": [", ".join(message.recipients)],
            "messageId": message.message_id,
            "subject": subject,
        },
        "tags": {
            "ses:operation": ["SendEmail"],
            "ses:configuration-set": [campaign.configuration_set],
            "ses:source-ip": ["198.51.100.7"],
            "ses:from-domain": [campaign.from_domain],
            "ses:caller-identity": ["mailer"],
            "ses:source-tls-version": ["TLSv1.3"],
            "ses:feedback-id-a": [campaign.name],
            "ses:feedback-id-b": [campaign.stream],
            "ses:tenant-name": [campaign.tenant],
            **extra_tags,
        },
    }


def event(
    message: Message,
    kind: str,
    time_ms: int,
    detail: dict[str, Any],
    *,
    tags: dict[str, list[str]] | None = None,
    delay_ms: int = 0,
) -> Event:
    """An event about a message."""
    key = {"Rendering Failure": "failure", "DeliveryDelay": "deliveryDelay"}.get(kind, kind.lower())
    document = mail(message, tags or {})
    if kind in {"Open", "Click"}:
        del document["sourceArn"]
    payload = {"eventType": kind, "mail": document, key: detail}
    return Event(kind, time_ms, time_ms + message.delay_ms + delay_ms, message.region, payload)


def delivery(message: Message, time_ms: int, recipients: list[str]) -> Event:
    """The provider has taken it."""
    detail = {
        "timestamp": iso(time_ms),
        "processingTimeMillis": time_ms - message.sent_ms,
        "recipients": recipients,
        "smtpResponse": "250 2.0.0 OK  1763800000 d75a77b69052e-4ed - gsmtp",
        "remoteMtaIp": "203.0.113.27",
        "reportingMTA": _SES_HOST,
    }
    return event(message, "Delivery", time_ms, detail, tags={"ses:outgoing-ip": ["192.0.2.70"]})


def bounce(
    message: Message, time_ms: int, feedback: str, kind: tuple[str, str], recipient: dict[str, str]
) -> Event:
    """One bounced recipient, by type and subtype; SES adds the reporting MTA where it got a reply."""
    detail: dict[str, Any] = {
        "feedbackId": feedback,
        "bounceType": kind[0],
        "bounceSubType": kind[1],
        "bouncedRecipients": [recipient],
        "timestamp": iso(time_ms),
    }
    if "diagnosticCode" in recipient:
        detail["reportingMTA"] = f"dns; {_SES_HOST}"
    return event(message, "Bounce", time_ms, detail)


def legacy(original: Event) -> dict[str, Any] | None:
    """The identity notification of the same event: no tags, another discriminator.

    None where there is none.
    """
    if original.type not in _LEGACY:
        return None
    document = {key: value for key, value in original.payload.items() if key not in {"eventType", "mail"}}
    document["mail"] = {
        key: value
        for key, value in original.payload["mail"].items()
        if key not in {"tags", "headers", "commonHeaders"}
    } | {"sourceIp": "198.51.100.7", "callerIdentity": "mailer"}
    return {"notificationType": original.type} | document
