"""PagerDuty, Events API v2: trigger, acknowledge and resolve of one dedup key.

https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ : 202 when an event was taken, 400 when it is not
valid, 429 when too many come; a `dedup_key` has at most 255 characters, a summary 1,024, an event 512 KB.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.notify.channels.http import post, taken
from connectors.notify.channels.place import http_url, link_of, needs, refuse, secrets_of
from connectors.notify.channels.texts import cut, cut_bytes, facts, instant, short_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connectors.notify.channels.place import Place
    from connectors.notify.page import Page

USUAL: Final = "https://events.pagerduty.com"
"""Of service regions other than the US another, such as https://events.eu.pagerduty.com."""
_PATH: Final = "/v2/enqueue"
_TO: Final = "PagerDuty"
_KEY: Final = 32
_DEDUP_KEY: Final = 255
_SUMMARY: Final = 1024
_EVENT: Final = 512 * 1000
_TEXT: Final = 64 * 1000
"""Bytes; as JSON they can be six times as many."""
_SEVERITIES: Final = {"notice": "info", "warning": "warning", "critical": "critical"}


class PagerDuty:
    """Enqueues events."""

    repeats_every_s: Final = 0.0

    def __init__(self, place: Place, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Check the settings.

        Raises:
            SettingsError: what is wrong with them.
        """
        needs(place, "key")
        if len(place.key) != _KEY:
            refuse(place, "key", f"must be the {_KEY} characters of an integration key of Events API v2")
        self._place = place
        self._url = http_url(place, place.url or USUAL, secret=True).rstrip("/").removesuffix(_PATH) + _PATH
        self._clock = clock

    def send(self, page: Page) -> str:
        """Enqueue an event.

        Raises:
            NotDelivered: it was not taken, or nobody knows.
        """
        key = str(self._place.key)
        body = _encoded(_event(self._place, page, key))
        answer = post(self._url, body, {}, to=_TO, timeout_s=self._place.timeout_s)
        taken(answer, _TO, self._clock(), secrets_of(self._place))
        return "enqueued"

    def refresh(self, pages: Sequence[Page]) -> str:
        """Not needed: what is open stays open."""
        return f"{len(pages)} stand"

    def close(self) -> None:
        """Nothing is kept open."""


def _event(place: Place, page: Page, key: str) -> dict[str, Any]:
    alarm = page.alarm
    event: dict[str, Any] = {"routing_key": key, "dedup_key": short_key(page.dedup_key, _DEDUP_KEY)}
    if page.kind == "resolve":
        return event | {"event_action": "resolve"}
    if alarm["cause"] == "acknowledged":
        return event | {"event_action": "acknowledge"}
    event |= {
        "event_action": "trigger",
        "client": "SES Streams",
        "payload": {
            "summary": cut(page.title, _SUMMARY),
            "source": cut(f"{alarm['dimension']}:{alarm['value']}", _SUMMARY),
            "severity": _SEVERITIES.get(alarm["severity"], "error"),
            "timestamp": instant(alarm["opened_time"] or alarm["time"]),
            "component": "ses",
            "group": alarm["dimension"],
            "class": alarm["signal"],
            "custom_details": {"text": cut_bytes(page.text, _TEXT), **facts(page)},
        },
    }
    if link := link_of(place, alarm):
        event |= {"client_url": link, "links": [{"href": link, "text": "More of it"}]}
    return event


def _encoded(event: dict[str, Any]) -> bytes:
    """JSON of at most 512 KB: facts are left out first, since what a person reads is in the text."""
    body = msgspec.json.encode(event)
    if len(body) > _EVENT:
        payload = event["payload"]
        details = {"text": payload["custom_details"]["text"]}
        body = msgspec.json.encode(event | {"payload": payload | {"custom_details": details}})
    return body
