"""Alertmanager, PagerDuty, Slack and webhooks: what they are sent is what their APIs take."""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from connectors.notify.channels import KINDS, channel_of
from connectors.notify.channels.alertmanager import LASTS, Alertmanager
from connectors.notify.channels.slack import Slack
from connectors.notify.channels.webhook import Webhook
from connectors.notify.page import NotDelivered

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.sockets
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
LONG = "x" * 300


@pytest.fixture
def to_alertmanager(alertmanager: Any, receiver: Any, make_place: Any) -> Callable[[], Alertmanager]:
    place = make_place("alertmanager", url=receiver.url + "/", link="https://ses.example/?k={alarm_key}")
    return lambda: Alertmanager(place, lambda: alertmanager.now)


def severities(alertmanager: Any, at: datetime | None = None) -> list[str]:
    return sorted(labels["severity"] for labels in alertmanager.active(at))


def test_an_alert_says_what_it_is_about(
    to_alertmanager: Any, alertmanager: Any, make_page: Any, now: Any
) -> None:
    to_alertmanager().send(make_page(value="50 % off: {now}", severity="critical"))
    [alert] = alertmanager.alerts.values()
    assert alert["labels"] == {
        "alertname": "complaint_rate",
        "service": "ses-streams",
        "signal": "complaint_rate",
        "severity": "critical",
        "dimension": "campaign",
        "value": "50 % off: {now}",
        "alarm_key": "complaint_rate:campaign:50 % off: {now}",
    }
    assert datetime.fromisoformat(alert["startsAt"]) == now - timedelta(minutes=9)
    assert alert["annotations"]["rate"] == "0.009"
    assert alert["annotations"]["sql"] == "SELECT 1 WHERE a < 2"
    assert alert["generatorURL"] == (
        "https://ses.example/?k=complaint_rate%3Acampaign%3A50%20%25%20off%3A%20%7Bnow%7D"
    )


def test_an_alert_ends_unless_it_is_posted_again(
    to_alertmanager: Any, alertmanager: Any, make_page: Any, now: Any
) -> None:
    channel = to_alertmanager()
    channel.send(make_page())
    assert timedelta(seconds=4 * channel.repeats_every_s) < LASTS
    alertmanager.now = now + timedelta(seconds=channel.repeats_every_s)
    channel.refresh([make_page()])
    assert severities(alertmanager, now + LASTS + timedelta(seconds=30)) == ["warning"]
    assert severities(alertmanager, now + LASTS + timedelta(minutes=2)) == []
    assert len(alertmanager.alerts) == 1


def test_a_worse_severity_takes_the_place_of_the_one_before(
    to_alertmanager: Any, alertmanager: Any, make_page: Any
) -> None:
    channel = to_alertmanager()
    channel.send(make_page(severity="warning"))
    channel.send(make_page("update", severity="critical", seq=2))
    assert severities(alertmanager) == ["critical"]
    channel.send(make_page("update", severity="critical", seq=2, revision=1))
    channel.send(make_page("resolve", severity="critical", state="resolved", seq=3))
    assert severities(alertmanager) == []
    assert len(alertmanager.alerts) == 2


def test_a_restart_between_two_severities_leaves_nothing_for_ever(
    to_alertmanager: Any, alertmanager: Any, make_page: Any, now: Any
) -> None:
    to_alertmanager().send(make_page(severity="warning"))
    again = to_alertmanager()
    again.send(make_page("update", severity="critical", seq=2))
    again.send(make_page("resolve", severity="critical", seq=3))
    assert severities(alertmanager, now + LASTS) == []


def test_an_alert_whose_post_nobody_saw_can_be_posted_again(
    to_alertmanager: Any, alertmanager: Any, receiver: Any, make_page: Any
) -> None:
    channel = to_alertmanager()
    channel.send(make_page(severity="warning"))
    receiver.fails(503)
    with pytest.raises(NotDelivered):
        channel.send(make_page("update", severity="critical", seq=2))
    channel.send(make_page("update", severity="critical", seq=2))
    assert severities(alertmanager) == ["critical"]


def test_a_clock_behind_the_incident_ends_it_no_earlier_than_it_began(
    to_alertmanager: Any, alertmanager: Any, make_page: Any, now: Any
) -> None:
    alertmanager.now = now - timedelta(hours=1)
    to_alertmanager().send(make_page())
    to_alertmanager().send(make_page("resolve"))
    [alert] = alertmanager.alerts.values()
    assert alert["endsAt"] == alert["startsAt"]


def test_many_alerts_are_refreshed_in_several_requests(
    to_alertmanager: Any, alertmanager: Any, receiver: Any, make_page: Any
) -> None:
    to_alertmanager().refresh([make_page(value=str(number)) for number in range(450)])
    assert len(alertmanager.active()) == 450
    assert len(receiver.requests) == 3


@pytest.mark.parametrize(
    ("key", "header"), [("", None), ("token", "Bearer token"), ("me:you", "Basic bWU6eW91")]
)
def test_alertmanager_behind_a_proxy_gets_its_credentials(
    receiver: Any, make_place: Any, make_page: Any, key: str, header: str | None
) -> None:
    channel_of(make_place("alertmanager", url=receiver.url + "/api/v2/alerts", key=key)).send(make_page())
    [request] = receiver.requests
    assert request.headers.get("authorization") == header
    assert request.path == "/api/v2/alerts"


@pytest.fixture
def to_pagerduty(receiver: Any, make_place: Any) -> Any:
    place = make_place("pagerduty", url=receiver.url, key=ROUTING_KEY, link="https://ses.example/")
    return channel_of(place)


def test_an_incident_is_triggered_acknowledged_and_resolved_by_one_key(
    to_pagerduty: Any, pagerduty: Any, make_page: Any
) -> None:
    to_pagerduty.send(make_page(severity="notice"))
    to_pagerduty.send(make_page("update", severity="critical", seq=2, cause="escalated"))
    to_pagerduty.send(make_page("update", severity="critical", seq=3, cause="acknowledged"))
    to_pagerduty.send(make_page("resolve", severity="critical", seq=4, cause="clean"))
    [(key, events)] = pagerduty.incidents.items()
    assert key == "ses-streams/complaint_rate:campaign:black-friday/1"
    assert [each["event_action"] for each in events] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert [each["payload"]["severity"] for each in events[:2]] == ["info", "critical"]
    details = events[0]["payload"]["custom_details"]
    assert details["evidence"]["trials"] == 1000
    assert "machine" not in details


def test_what_is_too_long_for_pagerduty_is_cut(to_pagerduty: Any, pagerduty: Any, make_page: Any) -> None:
    shown = make_page(title="t" * 3000, text="\x01ä" * 300_000, value=LONG)
    shown.evidence["sample_message_ids"].extend(["m" * 60] * 10_000)
    to_pagerduty.send(shown)
    to_pagerduty.send(make_page(value=LONG + "y"))
    first, second = pagerduty.incidents
    assert first != second
    assert len(first) == len(second) == 255
    payload = pagerduty.incidents[first][0]["payload"]
    assert payload["custom_details"]["text"].endswith("…")
    assert len(payload["summary"]) == 1024


@pytest.fixture
def to_slack(slack: Any, receiver: Any, make_place: Any) -> Slack:
    return Slack(make_place("slack", url=receiver.url + slack.HOOK))


def body_of(message: dict[str, Any]) -> str:
    """What a person reads in the code blocks of a message."""
    texts = [block["text"]["text"] for block in message["blocks"] if block["type"] == "section"]
    assert all(
        text.startswith("```\n") and text.endswith("\n```") and text.count("```") == 2 for text in texts
    )
    return "".join(html.unescape(text[4:-4]) for text in texts)


def test_slack_formats_and_mentions_nothing(to_slack: Slack, slack: Any, make_page: Any) -> None:
    text = "<!channel> *bold* _x_ & ```code``` <http://evil.example|bank>"
    to_slack.send(make_page(text=text, title="<!here> & co"))
    [message] = slack.messages
    assert body_of(message) == text.replace("```", "'''")
    assert message["text"] == "&lt;!here&gt; &amp; co"
    assert message["mrkdwn"] is False
    assert all("<" not in block["text"]["text"] for block in message["blocks"][1:])


@pytest.mark.parametrize(
    "text", ["&" * 9000, ("a" * 700 + "\n") * 20, "ab&" * 4000, "<&>\n" * 3000, "&" * 599 + "b"]
)
def test_a_long_text_goes_to_slack_in_pieces_that_read_as_one(
    to_slack: Slack, slack: Any, make_page: Any, text: str
) -> None:
    to_slack.send(make_page(text=text, title="t" * 400))
    [message] = slack.messages
    assert body_of(message) == text


def test_slack_of_an_endless_text_gets_the_beginning(to_slack: Slack, slack: Any, make_page: Any) -> None:
    to_slack.send(make_page(text="x" * 1_000_000))
    assert body_of(slack.messages[0]).startswith("x" * 100_000)


def test_a_bot_posts_to_its_channel(slack: Any, receiver: Any, make_place: Any, make_page: Any) -> None:
    url = receiver.url + "/api/chat.postMessage"
    channel_of(make_place("slack", url=url, key=slack.TOKEN, to=("C123",))).send(make_page("resolve"))
    assert [message["channel"] for message in slack.messages] == ["C123"]


@pytest.mark.parametrize(
    ("told", "for_good"),
    [
        ({"ok": False, "error": "channel_not_found"}, True),
        ({"ok": False, "error": "internal_error"}, False),
        ({"ok": False}, True),
        (["ok"], False),
        (None, False),
    ],
)
def test_a_bots_errors_come_with_status_200(
    receiver: Any, make_place: Any, make_page: Any, told: Any, for_good: Any
) -> None:
    receiver.fails(200, body=json.dumps(told).encode() if told else b"<html>")
    channel = channel_of(make_place("slack", url=receiver.url, key="xoxb-1", to=("C123",)))
    with pytest.raises(NotDelivered) as caught:
        channel.send(make_page())
    assert caught.value.for_good is for_good


@pytest.fixture
def to_webhook(receiver: Any, make_place: Any, now: Any) -> Webhook:
    secrets = [f"whsec_{base64.b64encode(b'n' * 32).decode()}", "the-old-one-" * 3]
    return Webhook(make_place("webhook", url=receiver.url + "/hook/?a=b", key=" ".join(secrets)), lambda: now)


def test_a_webhook_is_signed_with_each_secret(
    to_webhook: Webhook, receiver: Any, make_page: Any, now: Any
) -> None:
    to_webhook.send(make_page())
    [request] = receiver.requests
    stamp = request.headers["webhook-timestamp"]
    assert int(stamp) == int(now.timestamp())
    signed = f"{request.headers['webhook-id']}.{stamp}.".encode() + request.body
    expected = [
        "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        for secret in (b"n" * 32, b"the-old-one-" * 3)
    ]
    assert request.headers["webhook-signature"].split() == expected
    assert request.path == "/hook/?a=b"


def test_a_webhook_tells_everything_but_what_the_evaluator_remembers(
    to_webhook: Webhook, receiver: Any, make_page: Any
) -> None:
    to_webhook.send(make_page("update", seq=2, rate=None))
    told = receiver.requests[0].json()
    assert (told["type"], told["timestamp"]) == ("alarm.update", "2026-11-22T12:00:00.000Z")
    data = told["data"]
    assert (data["seq"], data["rate"], data["limit"], data["severity"]) == (2, None, 0.001, "warning")
    assert (data["opened_time"], data["silenced_until"]) == ("2026-11-22T11:51:00.000Z", None)
    assert data["evidence"]["hits"] == 9
    assert "machine" not in data


def test_a_repetition_has_the_same_id_and_nothing_else_has(
    to_webhook: Webhook, receiver: Any, make_page: Any
) -> None:
    shown = [
        make_page(),
        make_page(),
        make_page("resolve"),
        make_page(seq=2),
        make_page(revision=1),
        make_page(incident=7),
        make_page(value="other"),
    ]
    for each in shown:
        to_webhook.send(each)
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert ids[0] == ids[1]
    assert len(set(ids)) == len(shown) - 1
    assert not any("." in each for each in ids)


def test_there_are_six_kinds() -> None:
    assert KINDS == ("alertmanager", "pagerduty", "slack", "sns", "email", "webhook")
