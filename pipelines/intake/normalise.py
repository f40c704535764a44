"""From an SES payload to a `SesEvent`: one shape for every type, path and age of the format.

What counting relies on is taken from `mail` first, which is the same by every path, and from an envelope
only where `mail` is silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import DecodeError, Struct

from pipelines.intake import addresses, feedback_id
from pipelines.intake.details import READERS, About, unknown
from pipelines.intake.envelopes import Rejection
from pipelines.intake.identity import arrival_id, event_id
from pipelines.intake.machine_opens import is_machine_open
from pipelines.intake.smtp_signals import is_reputation_signal
from pipelines.intake.timestamps import END, TimestampParser
from schemas.events import BLANK, OTHER, Recipient, SesEvent
from schemas.rows import Constant
from schemas.ses import COMMON_HEADERS, HEADERS, TAGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.intake.outcomes import SesPayload
    from pipelines.intake.policy import NormalisePolicy
    from pipelines.intake.provenance import Provenance
    from pipelines.intake.providers import Provider
    from schemas.ses import Mail

_CACHED: Final = 20_000
"""Recipients and senders remembered: a message's events arrive near each other."""
_CACHED_LENGTH: Final = 4096
"""Characters: what is longer is nothing SES wrote, and a cache of it would have no bound."""
_CACHED_ALIKE: Final = 4000
"""Sets of tags remembered; a campaign's messages share theirs, unless they are tagged one by one."""
_FEEDBACK_ID: Final = b'"feedback-id"'
"""Told from the undecoded headers: hardly a message has this one."""
_NOWHERE: Final = ("", "")
_ABSENT: Final = (b"", b"null")


class _Known(Struct, gc=False):
    """What an address comes to."""

    lower: str
    address: str
    domain: str
    provider: str
    reports: bool


_Alike = tuple[bytes, str | None, str | int | None]
"""What messages have in common that come to the same account, region and tags."""


class Normaliser:
    """Normalises under a policy.

    Holds caches, and `horizon`, which nothing but `future` depends on: what else it returns follows from its
    input alone, so every copy of an event comes to the same.
    """

    def __init__(self, policy: NormalisePolicy) -> None:
        self.horizon = END
        """Milliseconds since the epoch: times after it are of the future."""
        self._policy = policy
        self._plain = policy.pii == "plain"
        self._keyed = addresses.keyed_hash(policy.pii_key)
        self._directory = policy.directory()
        self._timestamps = TimestampParser()
        self._recipients: dict[str, _Known] = {}
        self._domains: dict[str, Provider] = {}
        self._senders: dict[str, str] = {}
        self._alike: dict[_Alike, SesEvent] = {}
        """By tags, `sourceArn` and account: an event of which no more is known."""

    def normalise(self, found: SesPayload, provenance: Provenance, offset: int) -> SesEvent | Rejection:
        """The event, or why there is none.

        Causes: `missing_field`, `missing_payload`, `invalid_timestamp`, `invalid_field`. Rows of tags are
        shared between events: they are not to be changed.
        """
        payload, mail = found.payload, found.payload.mail
        if mail is None or not mail.message_id:
            what = "mail.messageId" if mail else "mail"
            return Rejection("normalise", "missing_field", f"The event has no {what}.", found.raw)
        sent = self._timestamps.parse(mail.timestamp)
        if sent is None:
            detail = f"mail.timestamp is {mail.timestamp!r:.60}: not a time between 1990 and 2199."
            return Rejection("normalise", "invalid_timestamp", detail, found.raw)
        try:
            event, invalid = self._begun(mail), None
        except (DecodeError, UnicodeDecodeError) as error:
            event, invalid = BLANK.copy(), error
        word = payload.event_type or payload.notification_type or ""
        reader = READERS.get(word)
        about = reader(payload, event) if reader else unknown(found.raw)
        if about is None:
            detail = f"A {word} event without the object that describes it."
            return Rejection("normalise", "missing_payload", detail, found.raw)
        if invalid:
            detail = f"{invalid}.".replace("`$", "`$.mail.tags")
            return Rejection("parse", "invalid_field", detail, found.raw)
        if reader:
            event["event_type"] = word
        else:
            event["event_type"], event["original_type"] = OTHER, word
        event["sent_time"] = sent
        event["message_id"] = mail.message_id
        self._identify(event, about, mail, word)
        if not payload.event_type:
            event["origin"] = "notification"
        event["path"] = found.path
        event["arrival_id"] = arrival_id(found.path, provenance.uri, offset, found.position)
        return event

    def _identify(self, event: SesEvent, about: About, mail: Mail, word: str) -> None:
        """When it happened, to whom, and the id that follows from both."""
        sent = event["sent_time"]
        time = self._timestamps.parse(about.time) if about.time else None
        event["event_time"] = time = sent if time is None else time
        if time > self.horizon or sent > self.horizon:
            event["future"] = True
        lowered = self._about(event, about, mail)
        feedback_id, message_id = event["feedback_id"], event["message_id"]
        event["event_id"] = event_id(word, message_id, feedback_id, lowered, time, *about.details)
        if word == "Open":
            event["machine_open"] = is_machine_open(event["user_agent"], time - sent)

    def _begun(self, mail: Mail) -> SesEvent:
        """Account, region, tags, and what the tags name; from `mail` alone.

        An envelope knows account and region too, but only on some paths, and an event must count the same by
        whichever path it comes first. (Open and Click have no `sourceArn`, so no region.)
        """
        alike = (bytes(mail.tags), mail.source_arn, mail.sending_account_id)
        event = (self._alike.get(alike) or self._attributed(alike)).copy()
        if not event["from_domain"]:
            event["from_domain"] = self._sender(mail.source)
        # Where tags name a or b, SES writes the header with them. Where not, the caller's own header is what counts.
        if event["tagged"] and not event["feedback_a"] and not event["feedback_b"]:
            _read_header(event, mail)
        return event

    def _attributed(self, alike: _Alike) -> SesEvent:
        raw, arn, account_id = alike
        region, account = _region_account(arn) if arn else _NOWHERE
        event = BLANK.copy()
        event["account"] = account = str(account_id or "") or account
        event["region"] = region
        if raw not in _ABSENT:
            self._name(event, TAGS.decode(raw) or {})
            if region and account:
                event["feedback_c"] = f"{region}.{account}"
        if len(raw) + len(arn or "") + len(account) <= _CACHED_LENGTH:
            if len(self._alike) >= _CACHED_ALIKE:
                self._alike.clear()
            self._alike[alike] = event
        return event

    def _name(self, event: SesEvent, tags: dict[str, list[str]]) -> None:
        event["tagged"] = True
        event["tags"] = Constant([{"name": name, "values": tags[name]} for name in sorted(tags)])
        event["from_domain"] = _first(tags, "ses:from-domain").lower()
        event["configuration_set"] = _first(tags, "ses:configuration-set")
        event["tenant"] = _first(tags, "ses:tenant-name")
        event["outgoing_ip"] = _first(tags, "ses:outgoing-ip")
        event["feedback_a"] = _first(tags, "ses:feedback-id-a")
        event["feedback_b"] = _first(tags, "ses:feedback-id-b")
        campaign = _first(tags, self._policy.campaign_tag) if self._policy.campaign_tag else ""
        event["campaign"] = event["feedback_a"] or campaign or event["configuration_set"]

    def _about(self, event: SesEvent, about: About, mail: Mail) -> Iterable[str]:
        """Fill in the recipients; their plain addresses in lower case, for the identity."""
        raw, replies = about.addresses, about.replies
        if raw is None:
            raw = mail.destination
            if raw is None:
                raw = _header_recipients(mail)
        rows: list[Recipient] = []
        lowered: dict[str, None] = {}
        first = ""
        for index, text in enumerate(raw):
            known = self._recipients.get(text) or self._recipient(text)
            if known.lower in lowered:
                continue
            lowered[known.lower] = None
            reply = replies[index] if replies else ""
            blocked = about.held or (about.signals and reply != "" and is_reputation_signal(reply))
            shown = reply if self._plain or "@" not in reply else addresses.redact(reply)
            first = first or shown
            rows.append(
                {
                    "address": known.address,
                    "domain": known.domain,
                    "provider": known.provider,
                    "reports_complaints": known.reports,
                    "blocked": blocked,
                    "smtp_reply": shown,
                }
            )
        event["recipients"] = rows
        if replies:
            event["smtp_reply"] = first
        elif event["smtp_reply"] and not self._plain:
            event["smtp_reply"] = addresses.redact(event["smtp_reply"])
        return lowered

    def _recipient(self, text: str) -> _Known:
        address = addresses.bare(text)
        lower = address.lower()
        domain = addresses.domain_of_bare(lower)
        provider = self._domains.get(domain) or self._provider(domain)
        if not self._plain:
            address = addresses.pseudonym(self._keyed, lower)
        known = _Known(lower, address, domain, provider.name, provider.reports_complaints)
        if len(text) <= _CACHED_LENGTH:
            if len(self._recipients) >= _CACHED:
                self._recipients.clear()
            self._recipients[text] = known
        return known

    def _provider(self, domain: str) -> Provider:
        provider = self._directory.of(domain)
        if len(domain) <= _CACHED_LENGTH:
            if len(self._domains) >= _CACHED:
                self._domains.clear()
            self._domains[domain] = provider
        return provider

    def _sender(self, source: str | None) -> str:
        if not source:
            return ""
        domain = self._senders.get(source)
        if domain is None:
            domain = addresses.domain_of(source)
            if len(source) <= _CACHED_LENGTH:
                if len(self._senders) >= _CACHED:
                    self._senders.clear()
                self._senders[source] = domain
        return domain


def _first(tags: dict[str, list[str]], name: str) -> str:
    values = tags.get(name)
    return values[0] if values else ""


def _read_header(event: SesEvent, mail: Mail) -> None:
    """Take the Feedback-ID from the message's own header, where there is a sound one."""
    if _FEEDBACK_ID not in bytes(mail.headers).lower():
        return
    try:
        headers = HEADERS.decode(mail.headers) or []
    except (DecodeError, UnicodeDecodeError):
        return  # headers are a courtesy: they may be cut off, or of a shape that SES did not use before
    names = ((header.name or "").strip().lower() for header in headers)
    values = [
        header.value or "" for name, header in zip(names, headers, strict=True) if name == "feedback-id"
    ]
    if read := feedback_id.of_headers(values):
        event["feedback_a"], event["feedback_b"] = read.a, read.b
        event["feedback_c"] = read.c or event["feedback_c"]
        event["campaign"] = read.a or event["campaign"]


def _header_recipients(mail: Mail) -> list[str]:
    """Of a payload without `destination`: what the To header says, as far as it goes."""
    raw = bytes(mail.common_headers)
    try:
        headers = None if raw in _ABSENT else COMMON_HEADERS.decode(raw)
    except (DecodeError, UnicodeDecodeError):
        return []
    to = headers.to if headers else None
    return addresses.listed([to] if isinstance(to, str) else to) if to else []


def _region_account(arn: str) -> tuple[str, str]:
    """Region and account of `arn:partition:service:region:account:resource`; empty where it is none."""
    parts = arn.split(":", 5)
    return (parts[3], parts[4]) if len(parts) == 6 and parts[0] == "arn" else ("", "")  # noqa: PLR2004
