"""`Draft`: what becomes of a mail before anything is sent; made from its raw bytes, anew at each try."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from connectors.attachments.store import StoreError
from connectors.distribution.ports import Later
from connectors.distribution.settings import policy_of, sender_of
from pipelines.mail.body import reading_text
from pipelines.mail.distribution.forwarded import Link, forwarded
from pipelines.mail.distribution.guards import check_loop, check_trust
from pipelines.mail.distribution.named import Named, named_in
from pipelines.mail.distribution.policy import Unsuitable
from pipelines.mail.limits import MailRefused
from pipelines.mail.parse import parse
from pipelines.mail.row import attachments_of

if TYPE_CHECKING:
    from connectors.attachments.store import AttachmentStore
    from connectors.distribution.ports import Mails
    from connectors.distribution.settings import Distribution
    from pipelines.mail.parsed import ParsedMail
    from pipelines.mail.policy import Limits
    from schemas.mail import InboundMail

_MOST_LINKS: Final = 100
_HOUR_MS: Final = 3_600_000


@dataclass(slots=True)
class Draft:
    """As far as it has come: what refuses a mail leaves the rest empty."""

    raw: bytes = b""
    """The mail to be sent."""
    named: Named = field(default_factory=lambda: Named((), (), ""))
    links: list[Link] = field(default_factory=list)
    until_ms: int = 0
    """When the links end."""


class Drafter:
    """Makes drafts. Reads mails and the store, sends nothing; for one thread."""

    def __init__(self, settings: Distribution, limits: Limits, mails: Mails, store: AttachmentStore) -> None:
        """Nothing is read yet.

        Args:
            settings: whom what may be sent.
            limits: of parsing.
            mails: the raw ones.
            store: of the attachments.
        """
        self._settings = settings
        self._limits = limits
        self._mails = mails
        self._store = store
        self._policy = policy_of(settings)
        self._sender = sender_of(settings)

    def make(self, draft: Draft, mail: InboundMail, now_ms: int) -> None:
        """Fill a draft, as far as it goes.

        Raises:
            Unsuitable: the mail is not to be sent, or names nobody it may be sent to.
            Later: it cannot be read, or the attachments not be stored, now.
        """
        if now_ms - mail["received_time"] > self._settings.max_age_h * _HOUR_MS:
            raise Unsuitable("too_old", "it was received longer ago than inbound.distribution.max_age_h")
        if mail["path"] == "file":
            raise Unsuitable("replayed", "it was read from a file")
        parsed = self._parsed(mail["object"])
        check_loop(mail, parsed.headers, self._sender)
        check_trust(mail, parsed.headers, self._policy)
        self._link(draft, parsed, now_ms)
        plain = [part for part in parsed.parts if part.content_type == "text/plain"]
        draft.named = named_in(reading_text(plain), self._policy)
        if not draft.named.recipients:
            raise Unsuitable("no_recipients", "it names nobody that it may be sent to")
        draft.raw = forwarded(
            mail["mail_id"],
            parsed.headers,
            draft.named.rest,
            draft.links,
            sender=self._settings.sender,
            recipients=draft.named.recipients,
            now_ms=now_ms,
            until_ms=draft.until_ms,
        )

    def _parsed(self, uri: str) -> ParsedMail:
        if not uri:
            raise Unsuitable("no_object", "its raw bytes are nowhere: have SES store mails in S3")
        try:
            return parse(self._mails.read(uri), self._limits)
        except MailRefused as refused:
            raise Unsuitable("unreadable", f"it cannot be read: {refused.cause}, {refused.detail}") from None

    def _link(self, draft: Draft, parsed: ParsedMail, now_ms: int) -> None:
        rows, contents = attachments_of(parsed)
        if len(rows) > _MOST_LINKS:
            raise Unsuitable(
                "too_many_attachments", f"it has {len(rows)} attachments, more than {_MOST_LINKS}"
            )
        try:
            seconds = self._store.link_holds_s(round(self._settings.link_h * 3600)) if rows else 0
            for content in contents:
                self._store.put(content)
            if rows and seconds < 1:
                raise Later("the AWS credentials that links are signed with have expired")
            found = [
                Link(
                    row["name"],
                    row["content_type"],
                    row["size"],
                    row["sha256"],
                    self._store.link(row["sha256"], seconds, row["name"]),
                )
                for row in rows
            ]
        except StoreError as error:
            raise Later(str(error)) from error
        draft.links, draft.until_ms = found, now_ms + seconds * 1000 if found else 0
