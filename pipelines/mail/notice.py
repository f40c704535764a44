"""`Notice`: what is known of a received mail beside its own bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.mail import Verdicts


@dataclass(frozen=True, slots=True)
class Notice:
    """Of a receipt notification (SES developer guide, "Contents of notifications for Amazon SES email receiving")."""

    ses_id: str = ""
    """`mail.messageId` of the received mail: the end of its S3 key, and unrelated to ids of messages sent."""
    time: int = 0
    """`receipt.timestamp` or `mail.timestamp`, ms; 0: not known."""
    account: str = ""
    region: str = ""
    envelope_from: str = ""
    """`mail.source`; empty for `<>` or where it is not known."""
    recipients: tuple[str, ...] = ()
    """`receipt.recipients`: of the envelope, not those of `mail.destination`."""
    verdicts: Verdicts | None = None
    """None: the notification has none, so the mail's own headers say what there is."""
