"""The row of a mail: `InboundMail` from what was parsed, what SES says, and the settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from pipelines.intake.identity import arrival_id
from pipelines.mail import addresses, ids, trust
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

_SUBJECT: Final = 998
_RESULTS: Final = 8192
"""Characters of an Authentication-Results that are kept."""
_NAMES_WHOLE: Final = 100
_SHORT_NAME: Final = 48
"""With more attachments than `_NAMES_WHOLE` names are cut to this: a row has to fit into a Kafka record."""
_RECEIVERS: Final = ("To", "Cc")


@dataclass(frozen=True, slots=True)
class Received:
    """A mail as it came."""

    raw: bytes | mmap.mmap
    notice: Notice
    provenance: Provenance
    object_uri: str
    path: str

    def enveloped(self, envelope_from: str, recipients: tuple[str, ...]) -> Received:
        """With the envelope that a journal report tells, where it does: its own is that of the journal."""
        notice = replace(
            self.notice,
            envelope_from=envelope_from or self.notice.envelope_from,
            recipients=recipients or self.notice.recipients,
        )
        return replace(self, notice=notice)


def row_of(
    came: Received, outer: Headers, shown: Headers, policy: MailPolicy, pseudonyms: Pseudonyms
) -> InboundMail:
    """All that header fields and the notice say; of kind `other`, without attachments.

    Args: the mail as it came; its own headers, which say how; those of the mail it is about (its own, unless it is a
    journal report); settings.
    """
    notice = came.notice
    stamp = trust.stamp_of(outer)
    ses_id = notice.ses_id or stamp.ses_id
    envelope_from = (notice.envelope_from or stamp.envelope_from or "")[:ADDRESS_CHARACTERS]
    senders = addresses.listed(shown, "From") or addresses.listed(shown, "Sender")
    sender = pseudonyms.recipient(senders[0] if senders else "")
    receivers = addresses.listed(shown, *_RECEIVERS)
    enveloped = list(notice.recipients) or ([stamp.recipient] if stamp.recipient else [])
    others = addresses.listed(shown, "Reply-To")
    everybody = [*enveloped, *receivers, *senders, *others]
    lowered = {pseudonyms.recipient(address).lower for address in everybody}
    envelope = pseudonyms.recipient(envelope_from)
    relay, organisation = trust.relay_of(outer, policy.expected_originators)
    subject = shown.get("Subject")[:_SUBJECT]
    return InboundMail(
        mail_id=mail_id(ses_id, came.raw),
        received_time=notice.time or stamp.time or came.provenance.time,
        kind="other",
        kind_reason="",
        message_id=ids.own(shown.get("Message-ID")),
        ses_id=ses_id,
        account=notice.account,
        region=notice.region or stamp.region,
        tenant=tenant_of(policy.tenants, enveloped or receivers, outer),
        from_address=sender.address,
        from_domain=sender.domain,
        envelope_from=envelope.address,
        envelope_domain=envelope.domain,
        recipients=_recipients(enveloped or receivers, pseudonyms),
        subject=subject,
        base_subject=base_subject(subject),
        date=millis_of(shown.get("Date")),
        in_reply_to=ids.of_values(shown.all("In-Reply-To"), lowered),
        references=ids.of_values(shown.all("References"), lowered),
        conversations=conversations_of(policy.conversations, everybody, pseudonyms),
        verdicts=trust.filled(notice.verdicts, stamp.verdicts),
        authentication_results=[
            pseudonyms.redact(value[:_RESULTS]) for value in stamp.authentication_results
        ],
        relay=relay,
        originator_org=organisation,
        attachments=[],
        feedback=[],
        unsubscribes=[],
        automatic=False,
        size=len(came.raw),
        parts=0,
        object=came.object_uri,
        defects=[],
        path=came.path,
        arrival_id=arrival_id(came.path, came.provenance.uri, 0, ""),
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
