"""E-mail through Amazon SES v2.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html

These mails are SES events like any other. Give them a configuration set of their own, without event destinations or
left out of the rules, and never one that the response may pause: an alarm must not stop the mail that tells of it.
Each says `Auto-Submitted: auto-generated` (RFC 3834), so that nobody's holiday answers, and refers to a message id
made of the incident's key (RFC 5322, section 3.6.4), so that mail programs show an incident as one conversation.
"""

from __future__ import annotations

import hashlib
import html
import re
from typing import TYPE_CHECKING, Any, Final

from connectors.notify.channels.aws import caller_of
from connectors.notify.channels.place import link_of, needs, refuse
from connectors.notify.channels.texts import cut, cut_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.notify.channels.place import Place
    from connectors.notify.page import Page

_SUBJECT: Final = 200
_TEXT: Final = 1_000_000
_RECIPIENTS: Final = 50
"""Of one message, as SES has it."""
_ADDRESS: Final = re.compile(r"[^@\s<>]+@[^@\s<>]+|[^<>\r\n]*<[^@\s<>]+@[^@\s<>]+>")
_COLOURS: Final = {"notice": "#2563eb", "warning": "#b45309", "critical": "#b91c1c"}
_ENDED: Final = "#15803d"


class Email:
    """Sends mails."""

    repeats_every_s: Final = 0.0

    def __init__(self, place: Place) -> None:
        """Check the settings.

        Raises:
            SettingsError: what is wrong with them.
        """
        needs(place, "sender", "to")
        if len(place.to) > _RECIPIENTS:
            refuse(
                place,
                "to",
                f"has more than {_RECIPIENTS} recipients, which SES does not take: make two routes",
            )
        for field, addresses in (("sender", (place.sender,)), ("to", place.to)):
            for address in addresses:
                if not _ADDRESS.fullmatch(address):
                    refuse(place, field, f"has something that is no address: {address!r}")
        self._place = place
        self._caller = caller_of(place, "sesv2")

    def send(self, page: Page) -> str:
        """Send it.

        Raises:
            NotDelivered: it was not taken, or nobody knows.
        """
        return f"message {self._caller.call('send_email', 'SES', **_request(self._place, page))}"

    def refresh(self, pages: Sequence[Page]) -> str:
        """Not needed: what was said was said."""
        return f"{len(pages)} stand"

    def close(self) -> None:
        """Let go of connections."""
        self._caller.close()


def _request(place: Place, page: Page) -> dict[str, Any]:
    link = link_of(place, page.alarm)
    text = cut_bytes(page.text, _TEXT) + (f"\n\n{link}\n" if link else "")
    thread = f"<{hashlib.sha256(page.dedup_key.encode()).hexdigest()[:32]}@ses-streams.invalid>"
    headers = {"Auto-Submitted": "auto-generated", "References": thread, "X-SES-Streams-Kind": page.kind}
    simple = {
        "Subject": {"Data": _line(page.title), "Charset": "UTF-8"},
        "Body": {
            "Text": {"Data": text, "Charset": "UTF-8"},
            "Html": {"Data": _html(page, text, link), "Charset": "UTF-8"},
        },
        "Headers": [{"Name": name, "Value": value} for name, value in headers.items()],
    }
    request: dict[str, Any] = {
        "FromEmailAddress": place.sender,
        "Destination": {"ToAddresses": list(place.to)},
        "Content": {"Simple": simple},
        "EmailTags": [{"Name": "ses-streams", "Value": "alarm"}],
    }
    if place.configuration_set:
        request["ConfigurationSetName"] = place.configuration_set
    return request


def _line(title: str) -> str:
    return cut(" ".join(title.split()), _SUBJECT)


def _html(page: Page, text: str, link: str) -> str:
    colour = _ENDED if page.kind == "resolve" else _COLOURS.get(page.alarm["severity"], "#000")
    more = f'<p><a href="{html.escape(link)}">More of it</a></p>' if link else ""
    return (
        f'<!doctype html><html><body style="font-family:sans-serif"><h2 style="color:{colour}">'
        f"{html.escape(_line(page.title))}</h2>"
        f'<pre style="white-space:pre-wrap">{html.escape(text)}</pre>{more}</body></html>'
    )
