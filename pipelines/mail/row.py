"""The row of a mail: `InboundMail` from what was parsed, what SES says, and the settings."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from pipelines.intake.identity import arrival_id
from pipelines.mail import addresses, ids, trust
from pipelines.mail.authentication import NO_VERDICTS
from pipelines.mail.body import is_attachment
from pipelines.mail.conversations import conversations_of
from pipelines.mail.dates import millis_of
from pipelines.mail.identity import mail_id
from pipelines.mail.limits import ADDRESS_CHARACTERS
from pipelines.mail.outcome import Content
from pipelines.mail.subject import base_subject
from pipelines.mail.tenants import tenant_of
from schemas.mail import Attachment, InboundMail, MailRecipient

if TYPE_CHECKING:
    import mmap

    from pipelines.intake.provenance import Provenance
    from pipelines.mail.addresses import Pseudonyms
    from pipelines.mail.notice import Notice
    from pipelines.mail.parsed import Headers, ParsedMail, Part
    from pipelines.mail.policy import MailPolicy
    from pipelines.mail.trust import Stamp

_SUBJECT: Final = 998
_RESULTS: Final = 8192
"""Characters of an Authentication-Results that are kept."""
_NAMES_WHOLE: Final = 100
_SHORT_NAME: Final = 48
"""With more attachments than `_NAMES_WHOLE` names are cut to this: a row has to fit into a Kafka record."""
_RECEIVERS: Final = ("To", "Cc")
_FILE: Final = "file"
"""Path of mails that are replayed."""


@dataclass(frozen=True, slots=True)
class Received:
    """A mail as it came."""

    raw: bytes | mmap.mmap
    notice: Notice
    provenance: Provenance
    object_uri: str
    path: str


@dataclass(frozen=True, slots=True)
class Shown:
    """The mail that a row is of: what came, or what a journal report says of the mail that it wraps."""

    headers: Headers
    envelope_from: str = ""
    recipients: tuple[str, ...] = ()
    """Claims of a journal report, which anybody may write; empty: those of what came."""


def row_of(
    came: Received, outer: Headers, shown: Shown, policy: MailPolicy, pseudonyms: Pseudonyms
) -> InboundMail:
    """All that header fields and the notice say; of kind `other`, without attachments.

    Args: the mail as it came; its own header fields, which say how; the mail it is about; settings.
    """
    stamp = trust.stamp_of(outer)
    row = _blank()
    _say_how(row, came, stamp)
    row["received_time"] = came.notice.time or stamp.time or _archived(came, outer)
    told = list(came.notice.recipients) or ([stamp.recipient] if stamp.recipient else [])
    # Not by what a journal report claims: whoever writes one does not choose whose mail it is.
    row["tenant"] = tenant_of(policy.tenants, told or addresses.listed(outer, *_RECEIVERS), outer)
    row["verdicts"] = trust.filled(came.notice.verdicts, stamp.verdicts)
    row["authentication_results"] = [
        pseudonyms.redact(each[:_RESULTS]) for each in stamp.authentication_results
    ]
    row["relay"], row["originator_org"] = trust.relay_of(outer, policy.expected_originators)
    _say_what(row, shown.headers)
    people = _say_who(row, shown, told, pseudonyms)
    sender = shown.envelope_from or came.notice.envelope_from or stamp.envelope_from or ""
    envelope = pseudonyms.recipient(sender[:ADDRESS_CHARACTERS])
    row["envelope_from"], row["envelope_domain"] = envelope.address, envelope.domain
    row["conversations"] = conversations_of(policy.conversations, people, pseudonyms)
    known = {pseudonyms.recipient(address).lower for address in people}
    row["in_reply_to"] = ids.of_values(shown.headers.all("In-Reply-To"), known)
    row["references"] = ids.of_values(shown.headers.all("References"), known)
    return row


def _say_how(row: InboundMail, came: Received, stamp: Stamp) -> None:
    """Which mail it is, and where it came from."""
    notice = came.notice
    row["ses_id"] = notice.ses_id or stamp.ses_id
    row["mail_id"] = mail_id(row["ses_id"], came.raw)
    row["account"] = notice.account
    row["region"] = notice.region or stamp.region
    row["size"] = len(came.raw)
    row["object"] = came.object_uri
    row["path"] = came.path
    row["arrival_id"] = arrival_id(came.path, came.provenance.uri, 0, "")


def _archived(came: Received, outer: Headers) -> int:
    """When mail came that SES did not receive. A file only tells when it was changed, an mbox of its last mail."""
    latest = came.provenance.time
    if came.path != _FILE:
        return latest
    hop = trust.hop_time_of(outer)
    return hop if 0 < hop < latest else latest


def _say_what(row: InboundMail, headers: Headers) -> None:
    subject = headers.get("Subject")[:_SUBJECT]
    row["subject"], row["base_subject"] = subject, base_subject(subject)
    row["message_id"] = ids.own(headers.get("Message-ID"))
    row["date"] = millis_of(headers.get("Date"))


def _say_who(row: InboundMail, shown: Shown, told: list[str], pseudonyms: Pseudonyms) -> list[str]:
    """Sender and recipients; returns every address there is."""
    headers = shown.headers
    senders = addresses.listed(headers, "From") or addresses.listed(headers, "Sender")
    sender = pseudonyms.recipient(senders[0] if senders else "")
    row["from_address"], row["from_domain"] = sender.address, sender.domain
    receivers = addresses.listed(headers, *_RECEIVERS)
    row["recipients"] = _recipients(list(shown.recipients) or told or receivers, pseudonyms)
    return [*told, *receivers, *senders, *addresses.listed(headers, "Reply-To")]


def _blank() -> InboundMail:
    return InboundMail(
        mail_id=b"",
        received_time=0,
        kind="other",
        kind_reason="",
        message_id="",
        ses_id="",
        account="",
        region="",
        tenant="",
        from_address="",
        from_domain="",
        envelope_from="",
        envelope_domain="",
        recipients=[],
        subject="",
        base_subject="",
        date=0,
        in_reply_to=[],
        references=[],
        conversations=[],
        verdicts=NO_VERDICTS.copy(),
        authentication_results=[],
        relay="",
        originator_org="",
        attachments=[],
        feedback=[],
        unsubscribes=[],
        automatic=False,
        size=0,
        parts=0,
        object="",
        defects=[],
        path="",
        arrival_id=0,
    )


def _recipients(texts: list[str], pseudonyms: Pseudonyms) -> list[MailRecipient]:
    found: dict[str, MailRecipient] = {}
    for text in texts:
        known = pseudonyms.recipient(text)
        found.setdefault(known.lower, {"address": known.address, "domain": known.domain})
    return list(found.values())


def attachments_of(mail: ParsedMail) -> tuple[list[Attachment], list[Content]]:
    """Rows of its files, and their bytes, each once. Parts of a report that machines read are none."""
    report = mail.content_type == "multipart/report"
    parts = [part for part in mail.parts if is_attachment(part) and not (report and _of_report(part))]
    longest = None if len(parts) <= _NAMES_WHOLE else _SHORT_NAME
    rows: list[Attachment] = []
    contents: dict[str, Content] = {}
    for part in parts:
        digest = sha256(part.content).hexdigest()
        name = part.filename if longest is None else part.filename[-longest:]
        contents.setdefault(digest, Content(digest, name, part.content_type, part.content))
        rows.append(
            Attachment(
                name=name,
                content_type=part.content_type,
                size=len(part.content),
                sha256=digest,
                key="",
                inline=part.disposition == "inline"
                or bool(part.content_id and part.disposition != "attachment"),
            )
        )
    return rows, list(contents.values())


def _of_report(part: Part) -> bool:
    """RFC 6522: its text, what machines read of it, the message it is about."""
    return part.disposition != "attachment" and part.content_type.startswith(
        ("message/", "text/rfc822-headers")
    )
