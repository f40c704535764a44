"""`OutboundMessage`: what threads want to know of a message sent, from the events about it.

A Send event says it all, and every message has one where the configuration set publishes Send. Where it does not,
or where Send has no subject yet (of a template SES knows it only later), a Delivery says the same. So a Delivery is
taken unless a Send of the same account, configuration set and hour was seen here that had a subject: bulk mail pays
for one row a message, and a process that sees both never loses a message for it. Rows of one message are the same,
but for a subject that is not known yet.

Events without `mail.tags` (legacy notifications) make none: they cannot say to which campaign a reply leads back.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgspec import DecodeError

from pipelines.intake import addresses
from pipelines.intake.identity import marks
from pipelines.mail import ids
from pipelines.mail.addresses import Pseudonyms
from pipelines.mail.conversations import conversations_of
from pipelines.mail.fields import decoded
from pipelines.mail.subject import base_subject
from schemas.rows import Constant
from schemas.ses import HEADERS, SENT_HEADERS, Mail, SentHeaders

if TYPE_CHECKING:
    from pipelines.mail.policy import MailPolicy
    from schemas.events import SesEvent
    from schemas.mail import OutboundMessage
    from schemas.ses import Payload

_HOUR_MS: Final = 3_600_000
_HOURS: Final = 10_000
"""(account, configuration set, hour)s of which it is remembered what Send says; full, it starts afresh."""
_LONGEST: Final = 998
"""Characters of a subject or an id that are kept: those of a line (RFC 5322, 2.1.1)."""
_WANTED: Final = ("message-id", "subject", "in-reply-to", "references", "from", "reply-to")
_SPELLINGS: Final = 1024
"""Of names that are remembered; full, it starts afresh."""
_OWN_DOMAIN: Final = ".amazonses.com"
_PLAIN_ID: Final = re.compile(r"<([^<>\s]{1,998})>")
_MARKED: Final = re.compile("[:\uff1a[(]")
"""What the shortest sign of a reply, a forward or a list has in it."""
_NONE: Final[Constant[str]] = Constant()
"""Of nearly every row; nobody changes it."""

Hour = tuple[str, str, int]


class Outbound:
    """Takes what of events makes rows of `mail.outbound`. Not thread-safe.

    What it remembers of events decides whether a row is made once more, never what is in it.
    """

    def __init__(self, policy: MailPolicy) -> None:
        self._rules = policy.conversations
        self._pseudonyms = Pseudonyms(policy)
        self._told: dict[Hour, bool] = {}
        """Whether every Send of an hour that was seen had a subject."""

    def of(self, event: SesEvent, payload: Payload) -> OutboundMessage | None:
        """The row of a message, of an event and the payload that it was made from; None: this event makes none."""
        kind = event["event_type"]
        if kind not in ("Send", "Delivery") or not event["tagged"]:
            return None
        hour = (event["account"], event["configuration_set"], event["sent_time"] // _HOUR_MS)
        told = self._told.get(hour)
        if kind == "Delivery":
            return None if told else self._row(event, payload)
        row = self._row(event, payload)
        if told is None and len(self._told) >= _HOURS:
            self._told.clear()
        if told is not False:
            self._told[hour] = row["subject"] != ""
        return row

    def _row(self, event: SesEvent, payload: Payload) -> OutboundMessage:
        said = _Said(payload.mail or Mail())
        in_reply_to, references = said.fields.get("in-reply-to"), said.fields.get("references")
        ours = {each.lower() for each in said.addresses()} if in_reply_to or references or self._rules else ()
        subject = said.subject()
        return {
            "message_id": event["message_id"],
            "header_message_id": said.own_id(event["message_id"]),
            "sent_time": event["sent_time"],
            "tenant": event["tenant"],
            "account": event["account"],
            "region": event["region"],
            "configuration_set": event["configuration_set"],
            "from_domain": event["from_domain"],
            "feedback_a": event["feedback_a"],
            "feedback_b": event["feedback_b"],
            "feedback_c": event["feedback_c"],
            "campaign": event["campaign"],
            "subject": subject,
            "base_subject": _base(subject),
            # What is an address of the message is no id, though some mailers write it so.
            "in_reply_to": ids.of_values([in_reply_to], ours) if in_reply_to else _NONE,
            "references": ids.of_values([references], ours) if references else _NONE,
            "conversations": conversations_of(self._rules, ours, self._pseudonyms) if self._rules else _NONE,
            "recipients": self._recipients(event, payload),
        }

    def _recipients(self, event: SesEvent, payload: Payload) -> list[int]:
        """Of the message: a Send names all of them, a Delivery those that it is about; mostly all of them, too."""
        delivery = payload.delivery
        everybody = payload.mail.destination or [] if payload.mail else []
        rows = event["recipients"]
        if event["event_type"] == "Send" or (
            delivery and delivery.recipients == everybody and all(row["domain"] for row in rows)
        ):
            return marks([row["address"] for row in rows])
        return marks([self._pseudonyms.recipient(each).address for each in everybody])


@lru_cache(maxsize=4096)
def _base(subject: str) -> str:
    """`base_subject`, but quick for what is no reply: the messages of a campaign share theirs, or have each its own."""
    return base_subject(subject) if _MARKED.search(subject) else " ".join(subject.lower().split())


class _Said:
    """What the headers of a message say, decoded as far as anybody asks; of each wanted field the first.

    Headers that are missing, cut off (SES keeps 10 KB) or malformed leave empty what they would say.
    """

    __slots__ = ("_common", "_mail", "fields")

    def __init__(self, mail: Mail) -> None:
        self._mail = mail
        self._common: SentHeaders | None = None
        try:
            rows = HEADERS.decode(mail.headers) or ()
        except (DecodeError, UnicodeDecodeError):
            rows = ()
        self.fields = {_NAMES[row.name]: row.value for row in reversed(rows) if row.value}
        """Of `headers`, those that are wanted, by their names in lower case."""
        self.fields.pop("", None)

    def subject(self) -> str:
        """The caller's, else the one that SES made of a template."""
        found = self.fields.get("subject") or self._commons().subject or ""
        return (decoded(found) if "=?" in found else found)[:_LONGEST].strip()

    def own_id(self, ses_id: str) -> str:
        """The caller's Message-ID; empty where it is SES's, in any form."""
        # commonHeaders has it too, but that of SES where the caller gave none.
        value = self.fields.get("message-id") if self.fields else self._commons().message_id
        if not value:
            return ""
        plain = _PLAIN_ID.fullmatch(value)
        found = plain[1] if plain else ids.own(value)[:_LONGEST]
        local, _, domain = found.rpartition("@")
        ours = found == ses_id or (local == ses_id and f".{domain.lower()}".endswith(_OWN_DOMAIN))
        return "" if ours else found

    def addresses(self) -> list[str]:
        """Bare addresses of recipients, From and Reply-To."""
        common = self._commons()
        senders = [
            self.fields.get("from"),
            self.fields.get("reply-to"),
            *_listed(common.from_),
            *_listed(common.reply_to),
        ]
        return [
            *map(addresses.bare, self._mail.destination or ()),
            *addresses.listed([each for each in senders if each]),
        ]

    def _commons(self) -> SentHeaders:
        if self._common is None:
            try:
                self._common = SENT_HEADERS.decode(self._mail.common_headers) or SentHeaders()
            except (DecodeError, UnicodeDecodeError):
                self._common = SentHeaders()
        return self._common


class _Names(dict[str | None, str]):
    """Names of fields as they are spelled, in lower case; empty: it is not wanted."""

    def __missing__(self, name: str | None) -> str:
        lower = name.strip().lower() if name else ""
        if len(self) >= _SPELLINGS:
            self.clear()
        self[name] = wanted = lower if lower in _WANTED else ""
        return wanted


_NAMES: Final = _Names()


def _listed(value: list[str] | str | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []
