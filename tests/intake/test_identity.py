"""One thing is one event, by whichever path, in whichever dress; two things are two."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from pipelines.intake.policy import NormalisePolicy
from schemas.events import EVENT_TYPES


def shuffled(node: Any, random: Random) -> Any:
    if isinstance(node, dict):
        items = list(node.items())
        random.shuffle(items)
        return {key: shuffled(value, random) for key, value in items}
    return node


@pytest.mark.parametrize("kind", ["Bounce", "Complaint", "Delivery"])
def test_the_notification_and_the_event_of_one_thing_have_one_id(
    kind: str, make: Any, make_legacy: Any, event: Any
) -> None:
    assert event(make_legacy(kind))["event_id"] == event(make(kind))["event_id"]


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_neither_settings_nor_tags_nor_key_order_nor_spelling_change_an_id(
    kind: str, make: Any, event: Any
) -> None:
    identity = event(make(kind))["event_id"]
    assert event(shuffled(make(kind), Random(3)))["event_id"] == identity
    assert event(make(kind, {"tags": {"x": ["y"]}}))["event_id"] == identity
    assert event(make(kind), policy=NormalisePolicy(pii_key=b"k"))["event_id"] == identity
    assert event(json.dumps(make(kind), indent=3).encode() + b"\n")["event_id"] == identity
    upside = make(kind, {"destination": ["BOB@yahoo.com", "Ann <ann@Gmail.com>"]})
    assert event(upside)["event_id"] == identity


def test_events_of_unknown_types_are_told_apart_by_their_own_object(make: Any, event: Any) -> None:
    def unknown(**own: Any) -> bytes:
        identity: bytes = event({"eventType": "Snooze", "mail": make("Send")["mail"], "snooze": own})[
            "event_id"
        ]
        return identity

    assert unknown(a=1, b=2) == unknown(b=2, a=1) != unknown(a=1, b=3)


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("Bounce", {"feedbackId": "another"}),
        ("Delivery", {"recipients": ["bob@yahoo.com"]}),
        ("Delivery", {"timestamp": "2026-01-02T03:09:05.679Z"}),
        ("Open", {"ipAddress": "192.0.2.2"}),
        ("Open", {"userAgent": "Outlook"}),
        ("Click", {"link": "https://example.com/b"}),
        ("DeliveryDelay", {"delayType": "General"}),
        ("Subscription", {"contactList": "others"}),
        ("Subscription", {"newTopicPreferences": {"unsubscribeAll": False}}),
    ],
)
def test_what_differs_is_another_event(kind: str, details: dict[str, Any], make: Any, event: Any) -> None:
    assert event(make(kind, **details))["event_id"] != event(make(kind))["event_id"]


def test_the_type_and_the_message_are_part_of_an_id(make: Any, event: Any) -> None:
    ids = {event(make(kind))["event_id"] for kind in EVENT_TYPES}
    ids.add(event(make("Send", {"messageId": "another"}))["event_id"])
    assert len(ids) == len(EVENT_TYPES) + 1


def test_a_bounce_without_a_feedback_id_is_known_by_its_recipients_and_time(make: Any, event: Any) -> None:
    one, same = (event(make("Bounce", feedbackId=missing))["event_id"] for missing in (None, ...))
    other = event(make("Bounce", feedbackId=None, timestamp="2026-01-02T03:09:06.000Z"))["event_id"]
    assert one == same != other


def test_a_copy_read_again_is_the_same_arrival_and_any_other_is_not(make: Any, take: Any) -> None:
    two = [make("Send"), make("Send")]
    once, again = ([one["arrival_id"] for one in take(two).events] for _ in range(2))
    assert once == again
    elsewhere = [one["arrival_id"] for one in take(two, uri="file:///y").events]
    assert len({*once, *elsewhere}) == 4
