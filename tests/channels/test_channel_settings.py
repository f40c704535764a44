"""Routes whose settings cannot work are refused in a sentence that never shows a secret."""

from __future__ import annotations

import re
from typing import Any

import pytest

from connectors.errors import SettingsError
from connectors.notify.channels import channel_of

SECRET = "very-secret-but-wrong"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:alarms"


@pytest.mark.parametrize(
    ("kind", "fields", "sentence"),
    [
        ("carrier pigeon", {}, "kind .* must be one of alertmanager, pagerduty"),
        ("alertmanager", {}, "url .* is not set: kind alertmanager needs it"),
        ("alertmanager", {"url": "alertmanager:9093"}, "url .* http:// or https://"),
        ("alertmanager", {"url": "http://u:p@am:9093"}, "has credentials in it: put them into key"),
        ("alertmanager", {"url": "http://[::1"}, "is no URL"),
        ("alertmanager", {"url": "http://am:99999"}, "is no URL"),
        ("pagerduty", {}, "key .* is not set"),
        ("pagerduty", {"key": SECRET}, "32 characters of an integration key"),
        ("pagerduty", {"key": "k" * 32, "url": "http://pagerduty.example"}, "must be https://"),
        ("slack", {}, "url .* is not set"),
        ("slack", {"url": f"http://hooks.slack.com/{SECRET}"}, "must be https://"),
        ("slack", {"url": f"https://hooks.slack.com/{SECRET}", "to": ("#ops",)}, "leave it out"),
        ("slack", {"key": SECRET}, "must name one channel"),
        ("slack", {"key": SECRET, "to": ("C1", "C2")}, "must name one channel: make a route for each"),
        ("webhook", {"url": "https://example.com"}, "key .* is not set"),
        ("webhook", {"url": "https://example.com", "key": SECRET}, "24 to 64 bytes"),
        ("webhook", {"url": "https://example.com", "key": "whsec_" + SECRET}, "is not base64"),
        ("webhook", {"url": "https://exam ple.com", "key": "k" * 30}, "a space or a line break"),
        ("sns", {}, "topic_arn .* is not set"),
        ("sns", {"topic_arn": "alarms"}, "must be the ARN of an SNS topic"),
        ("sns", {"topic_arn": TOPIC.replace("sns", "sqs")}, "must be the ARN of an SNS topic"),
        ("email", {"to": ("a@example.com",)}, "sender .* is not set"),
        ("email", {"sender": "a@example.com"}, "to .* is not set"),
        ("email", {"sender": "nobody", "to": ("a@example.com",)}, "is no address: 'nobody'"),
        ("email", {"sender": "a@b.example", "to": ("x@y.example\nBcc: z@y.example",)}, "is no address"),
        ("email", {"sender": "a@b.example", "to": ("x@y.example",) * 51}, "more than 50 recipients"),
    ],
)
def test_a_route_that_cannot_work_is_refused(
    make_place: Any, kind: str, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        channel_of(make_place(kind, **fields))
    text = str(caught.value)
    assert re.search(sentence, text)
    assert text.startswith("notify.routes: ")
    assert "of the route test" in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("alertmanager", {"url": "http://alertmanager.monitoring.svc:9093"}),
        ("pagerduty", {"key": "k" * 32}),
        ("slack", {"url": "https://hooks.slack.com/services/T0/B0/x"}),
        ("slack", {"key": "xoxb-1", "to": ("C1",)}),
        ("webhook", {"url": "https://example.com/hook", "key": "k" * 30}),
        ("sns", {"topic_arn": TOPIC}),
        ("sns", {"topic_arn": "arn:aws-us-gov:sns:us-gov-west-1:111122223333:alarms.fifo"}),
        ("email", {"sender": "Alarms <a@b.example>", "to": ("x@y.example", "Y <y@y.example>")}),
    ],
)
def test_making_a_channel_connects_to_nothing(make_place: Any, kind: str, fields: dict[str, Any]) -> None:
    # Unmarked: a socket would fail this test.
    channel_of(make_place(kind, **fields)).close()
