"""Payloads as SES writes them, built from the documented fields, and an intake to take them."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.intake.intake import Intake, Taken
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Callable

SENT = "2026-01-02T03:04:05.678Z"
LATER = "2026-01-02T03:09:05.678Z"
MAIL: dict[str, Any] = {
    "timestamp": SENT,
    "source": "News <news@Example.com>",
    "sourceArn": "arn:aws:ses:eu-west-1:012345678901:identity/example.com",
    "sendingAccountId": "012345678901",
    "messageId": "0102019b7d5a2b3e-6a1f0c1e-3a51-4a5e-9b7c-9f0b1e2d3c4d-000000",
    "destination": ["ann@gmail.com", "bob@yahoo.com"],
    "headersTruncated": False,
    "headers": [{"name": "Subject", "value": "Grüße {"}],
    "commonHeaders": {"from": ["News <news@example.com>"], "to": ["ann@gmail.com, bob@yahoo.com"]},
    "tags": {
        "ses:configuration-set": ["marketing"],
        "ses:from-domain": ["example.com"],
        "ses:feedback-id-a": ["spring-sale"],
        "ses:feedback-id-b": ["shop"],
        "ses:tenant-name": ["acme"],
        "ses:outgoing-ip": ["192.0.2.9"],
        "journey": ["welcome"],
    },
}
DETAILS: dict[str, tuple[str, dict[str, Any]]] = {
    "Send": ("send", {}),
    "Delivery": (
        "delivery",
        {
            "timestamp": LATER,
            "processingTimeMillis": 870,
            "recipients": ["ann@gmail.com"],
            "smtpResponse": "250 2.0.0 OK",
            "reportingMTA": "a8-70.smtp-out.amazonses.com",
            "remoteMtaIp": "123.456.789.012",
        },
    ),
    "Bounce": (
        "bounce",
        {
            "bounceType": "Permanent",
            "bounceSubType": "General",
            "bouncedRecipients": [
                {
                    "emailAddress": "bob@yahoo.com",
                    "action": "failed",
                    "status": "5.1.1",
                    "diagnosticCode": "smtp; 554 delivery error: <bob@yahoo.com> no such user",
                }
            ],
            "timestamp": LATER,
            "feedbackId": "feedback-1",
            "reportingMTA": "dsn; mta.example.com",
        },
    ),
    "Complaint": (
        "complaint",
        {
            "complainedRecipients": [{"emailAddress": "bob@yahoo.com"}],
            "timestamp": LATER,
            "feedbackId": "feedback-2",
            "complaintSubType": None,
            "complaintFeedbackType": "abuse",
            "userAgent": "Yahoo!-Mail-Feedback/2.0",
        },
    ),
    "Reject": ("reject", {"reason": "Bad content"}),
    "Open": ("open", {"timestamp": LATER, "ipAddress": "192.0.2.1", "userAgent": "Thunderbird"}),
    "Click": (
        "click",
        {
            "timestamp": LATER,
            "ipAddress": "192.0.2.1",
            "userAgent": "Firefox",
            "link": "https://example.com/a?b=c",
            "linkTags": None,
        },
    ),
    "Rendering Failure": ("failure", {"templateName": "hello", "errorMessage": "Attribute 'x' is missing."}),
    "DeliveryDelay": (
        "deliveryDelay",
        {
            "timestamp": LATER,
            "delayType": "TransientCommunicationFailure",
            "expirationTime": "2026-01-03T03:04:05.678Z",
            "delayedRecipients": [
                {
                    "emailAddress": "ann@gmail.com",
                    "status": "4.4.1",
                    "diagnosticCode": "smtp; 421 4.4.1 later",
                }
            ],
        },
    ),
    "Subscription": (
        "subscription",
        {
            "contactList": "readers",
            "timestamp": LATER,
            "source": "UnsubscribeHeader",
            "newTopicPreferences": {
                "unsubscribeAll": True,
                "topicSubscriptionStatus": [{"topicName": "t", "subscriptionStatus": "OptOut"}],
            },
            "oldTopicPreferences": {
                "unsubscribeAll": False,
                "topicSubscriptionStatus": [{"topicName": "t", "subscriptionStatus": "OptOut"}],
            },
        },
    ),
}


def payload(kind: str, mail: dict[str, Any] | None = None, **details: Any) -> dict[str, Any]:
    """An event of a type; `mail` and `details` lie over the usual fields, None of `...` removes one."""
    key, usual = DETAILS[kind]
    event = {"eventType": kind, "mail": {**MAIL, **(mail or {})}, key: {**usual, **details}}
    for part in (event["mail"], event[key]):
        for name in [name for name, value in part.items() if value is ...]:  # type: ignore[union-attr]
            del part[name]  # type: ignore[union-attr]
    return copy.deepcopy(event)


def legacy(kind: str, **mail: Any) -> dict[str, Any]:
    """The identity notification of the same thing: no tags, and another discriminator."""
    event = payload(kind, {"tags": ..., "sourceIp": "192.0.2.3", "callerIdentity": "mailer", **mail})
    return {"notificationType": event.pop("eventType"), **event}


def taken(
    document: Any, path: str = "file", policy: NormalisePolicy | None = None, uri: str = "file:///x"
) -> Taken:
    """What an intake takes of a document, given as bytes or as what JSON says."""
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Intake(policy or NormalisePolicy(pii="plain")).take(data, Provenance(uri, 1_767_323_045_000, path))


@pytest.fixture(scope="session")
def make() -> Callable[..., dict[str, Any]]:
    return payload


@pytest.fixture(scope="session")
def make_legacy() -> Callable[..., dict[str, Any]]:
    return legacy


@pytest.fixture(scope="session")
def take() -> Callable[..., Taken]:
    return taken


@pytest.fixture(scope="session")
def event() -> Callable[..., Any]:
    """The one event in a document."""

    def only(document: Any, **options: Any) -> Any:
        found = taken(document, **options)
        assert (found.dead_letters, len(found.events)) == ([], 1)
        return found.events[0]

    return only


@pytest.fixture(scope="session")
def cause() -> Callable[..., str]:
    """The cause of the one dead letter in a document."""

    def only(document: Any, **options: Any) -> str:
        found = taken(document, **options)
        assert (found.events, len(found.dead_letters)) == ([], 1)
        return found.dead_letters[0]["cause"]

    return only
