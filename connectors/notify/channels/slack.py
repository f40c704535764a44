"""Slack: an incoming webhook, or `chat.postMessage` of a bot.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/ ,
https://docs.slack.dev/reference/methods/chat.postMessage/ ,
https://docs.slack.dev/reference/block-kit/blocks/section-block/ : a section has at most 3,000 characters, a header 150,
a message 50 blocks; `&`, `<` and `>` are written as entities.

Slack knows no dedup keys: what is sent again, because nobody knows whether it was taken, stands there twice.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.notify.channels.http import Answer, excerpt, post, taken
from connectors.notify.channels.place import http_url, link_of, needs, refuse, secrets_of
from connectors.notify.channels.texts import cut, pieces
from connectors.notify.page import NotDelivered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connectors.notify.channels.place import Place
    from connectors.notify.page import Page

USUAL: Final = "https://slack.com/api/chat.postMessage"
_TO: Final = "Slack"
_HEADER: Final = 150
_SECTION: Final = 3000
_FENCE: Final = "```"
_BLOCKS: Final = 40
_LINK: Final = 2000
_SIGNS: Final = {"notice": ":information_source:", "warning": ":warning:", "critical": ":rotating_light:"}
_ENDED: Final = ":white_check_mark:"
_PASSING: Final = frozenset(
    {"fatal_error", "internal_error", "ratelimited", "rate_limited", "request_timeout", "service_unavailable"}
)
"""Errors that `chat.postMessage` tells with status 200 and that are not for good."""


class Slack:
    """Posts messages."""

    repeats_every_s: Final = 0.0

    def __init__(self, place: Place, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Check the settings.

        Raises:
            SettingsError: what is wrong with them.
        """
        if not place.key:
            needs(place, "url")
            if place.to:
                refuse(
                    place, "to", "does nothing for an incoming webhook, which has one channel: leave it out"
                )
        elif len(place.to) != 1:
            refuse(place, "to", "must name one channel: make a route for each")
        self._place = place
        self._url = http_url(place, place.url or USUAL, secret=True)
        self._headers = {"Authorization": f"Bearer {place.key}"} if place.key else {}
        self._clock = clock

    def send(self, page: Page) -> str:
        """Post a message.

        Raises:
            NotDelivered: it was not taken, or nobody knows.
        """
        message = _message(self._place, page)
        if self._place.key:
            message["channel"] = self._place.to[0]
        answer = post(
            self._url, msgspec.json.encode(message), self._headers, to=_TO, timeout_s=self._place.timeout_s
        )
        taken(answer, _TO, self._clock(), secrets_of(self._place))
        if self._place.key:
            self._understood(answer)
        return "posted"

    def refresh(self, pages: Sequence[Page]) -> str:
        """Not needed: what was said was said."""
        return f"{len(pages)} stand"

    def close(self) -> None:
        """Nothing is kept open."""

    def _understood(self, answer: Answer) -> None:
        """The Web API tells most errors with status 200."""
        try:
            told = msgspec.json.decode(answer.data)
        except msgspec.DecodeError:
            told = None
        if not isinstance(told, dict):
            raise NotDelivered(f"{_TO} gave an answer that is not its own", unknown=True)
        if told.get("ok") is not True:
            error = str(told.get("error", ""))
            reason = f"{_TO} refuses: {excerpt(error.encode(), secrets_of(self._place))}"
            raise NotDelivered(reason, for_good=error not in _PASSING)


def _message(place: Place, page: Page) -> dict[str, Any]:
    sign = _ENDED if page.kind == "resolve" else _SIGNS.get(page.alarm["severity"], "")
    blocks: list[dict[str, Any]] = [
        {
            "type": "header",
            "text": {
                "type": "plain_text",
                "text": cut(f"{sign} {page.title}".strip(), _HEADER),
                "emoji": True,
            },
        }
    ]
    # As code, nothing of it is formatted, whatever campaigns are called.
    inside = _escaped(page.text.replace(_FENCE, "'''"))
    room = _SECTION - 2 * len(_FENCE) - 2
    for piece in itertools.islice(_whole_entities(inside, room), _BLOCKS):
        text = f"{_FENCE}\n{piece}\n{_FENCE}"
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": text}})
    if link := link_of(place, page.alarm):
        text = f"<{_escaped(link)[:_LINK].replace('|', '%7C')}|More of it>"
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": text}})
    return {
        "text": _escaped(cut(page.title, _SECTION // 6)),
        "mrkdwn": False,
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _whole_entities(text: str, longest: int) -> list[str]:
    """Pieces of an escaped text, none of which ends within an entity."""
    rest, found = "", []
    for piece in pieces(text, longest - len("&amp;")):
        whole = rest + piece
        start = whole.rfind("&", max(0, len(whole) - len("&amp;") + 1))
        rest = whole[start:] if start >= 0 and ";" not in whole[start:] else ""
        found.append(whole.removesuffix(rest) if rest else whole)
    return [*found, rest] if rest else found
