"""Amazon SNS: a message to a topic, with attributes by which subscriptions filter.

https://docs.aws.amazon.com/sns/latest/api/API_Publish.html : a subject is ASCII, less than 100 characters, begins
with a letter, number or punctuation and has no control characters; a message is at most 262,144 bytes with its
attributes. A FIFO topic drops repetitions of five minutes by the deduplication id.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from connectors.notify.channels.aws import caller_of
from connectors.notify.channels.place import link_of, needs, refuse
from connectors.notify.channels.texts import cut_bytes, message_id, short_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.notify.channels.place import Place
    from connectors.notify.page import Page

_ARN: Final = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
_SUBJECT: Final = 99
_MESSAGE: Final = 250_000
"""Leaves room for the attributes."""
_VALUE: Final = 512
_GROUP: Final = 128


class Sns:
    """Publishes messages."""

    repeats_every_s: Final = 0.0

    def __init__(self, place: Place) -> None:
        """Check the settings.

        Raises:
            SettingsError: what is wrong with them.
        """
        needs(place, "topic_arn")
        arn = _ARN.fullmatch(place.topic_arn)
        if arn is None:
            refuse(place, "topic_arn", "must be the ARN of an SNS topic: arn:aws:sns:REGION:ACCOUNT:NAME")
        self._place = place
        self._fifo = arn[2] is not None
        self._caller = caller_of(place, "sns", arn[1])

    def send(self, page: Page) -> str:
        """Publish it.

        Raises:
            NotDelivered: it was not taken, or nobody knows.
        """
        link = link_of(self._place, page.alarm)
        fields: dict[str, Any] = {
            "TopicArn": self._place.topic_arn,
            "Subject": subject(page.title),
            "Message": cut_bytes(f"{page.title}\n\n{page.text}", _MESSAGE) + (f"\n\n{link}" if link else ""),
            "MessageAttributes": _attributes(page),
        }
        if self._fifo:
            fields["MessageGroupId"] = _ascii(short_key(page.alarm["alarm_key"], _GROUP))
            fields["MessageDeduplicationId"] = message_id(page)
        return f"message {self._caller.call('publish', f'topic {self._place.topic_arn}', **fields)}"

    def refresh(self, pages: Sequence[Page]) -> str:
        """Not needed: what was said was said."""
        return f"{len(pages)} stand"

    def close(self) -> None:
        """Let go of connections."""
        self._caller.close()


def subject(title: str) -> str:
    """A title as SNS takes it."""
    plain = " ".join(title.encode("ascii", "replace").decode().split())
    plain = re.sub(r"[\x00-\x1f\x7f]", "", plain)
    return plain if len(plain) <= _SUBJECT else plain[: _SUBJECT - 3] + "..."


def _attributes(page: Page) -> dict[str, dict[str, str]]:
    """Ten at the most, or raw delivery to SQS drops the message."""
    alarm = page.alarm
    texts = {
        "kind": page.kind,
        "state": alarm["state"],
        "severity": alarm["severity"],
        "signal": alarm["signal"],
        "dimension": alarm["dimension"],
        "value": alarm["value"],
        "alarm_key": alarm["alarm_key"],
        "dedup_key": page.dedup_key,
    }
    found = {
        name: {"DataType": "String", "StringValue": cut_bytes(text, _VALUE)}
        for name, text in texts.items()
        if text
    }
    return found | {"seq": {"DataType": "Number", "StringValue": str(alarm["seq"])}}


def _ascii(text: str) -> str:
    """Letters, digits and punctuation, which is all that a group id may have; `?` for the rest."""
    return re.sub(r"[^!-~]", "?", text)
