"""A webhook of one's own, after Standard Webhooks 1.0.0: signed, and with an id by which repetitions are known.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

    webhook-id: msg_…          the same for the same message, however often it is sent
    webhook-timestamp: …       seconds, of this try
    webhook-signature: v1,…    base64 of HMAC-SHA256 over `id.timestamp.body`; one for each secret, by spaces

The body is `{"type": "alarm.page" | "alarm.update" | "alarm.resolve", "timestamp": …, "data": {…}}`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.notify.channels.http import post, taken
from connectors.notify.channels.place import http_url, link_of, needs, refuse, secrets_of
from connectors.notify.channels.texts import facts, instant, message_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connectors.notify.channels.place import Place
    from connectors.notify.page import Page

_PREFIX: Final = "whsec_"
_SHORTEST: Final = 24
_LONGEST: Final = 64
"""Bytes of a secret, as the standard has them."""


class Webhook:
    """Posts JSON."""

    repeats_every_s: Final = 0.0

    def __init__(self, place: Place, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Check the settings.

        Raises:
            SettingsError: what is wrong with them.
        """
        needs(place, "url", "key")
        self._place = place
        self._url = http_url(place, place.url, secret=False)
        self._secrets = [_secret(place, each) for each in place.key.split()]
        self._to = f"the webhook of the route {place.name}"
        self._clock = clock

    def send(self, page: Page) -> str:
        """Post it.

        Raises:
            NotDelivered: it was not taken, or nobody knows.
        """
        now = self._clock()
        body = msgspec.json.encode(_body(self._place, page))
        name = f"msg_{message_id(page)}"
        stamp = str(int(now.timestamp()))
        headers = {
            "webhook-id": name,
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(signature(each, name, stamp, body) for each in self._secrets),
        }
        answer = post(self._url, body, headers, to=self._to, timeout_s=self._place.timeout_s)
        taken(answer, self._to, now, secrets_of(self._place))
        return f"HTTP {answer.status}"

    def refresh(self, pages: Sequence[Page]) -> str:
        """Not needed: the receiver keeps what it was told."""
        return f"{len(pages)} stand"

    def close(self) -> None:
        """Nothing is kept open."""


def signature(secret: bytes, name: str, stamp: str, body: bytes) -> str:
    """`v1,…` of a message."""
    digest = hmac.digest(secret, b".".join((name.encode(), stamp.encode(), body)), hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def _body(place: Place, page: Page) -> dict[str, Any]:
    data = facts(page) | {"title": page.title, "text": page.text}
    if link := link_of(place, page.alarm):
        data["link"] = link
    return {"type": f"alarm.{page.kind}", "timestamp": instant(page.alarm["time"]), "data": data}


def _secret(place: Place, text: str) -> bytes:
    """The bytes of a secret: base64 behind `whsec_`, else the text itself."""
    try:
        secret = (
            base64.b64decode(text.removeprefix(_PREFIX), validate=True)
            if text.startswith(_PREFIX)
            else text.encode()
        )
    except binascii.Error:
        refuse(place, "key", f"is not base64 behind {_PREFIX}")
    if not _SHORTEST <= len(secret) <= _LONGEST:
        refuse(
            place, "key", f"must be of {_SHORTEST} to {_LONGEST} bytes (`openssl rand -base64 32` makes one)"
        )
    return secret
