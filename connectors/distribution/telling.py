"""`message_of`: what the fallback topic is told, as JSON; docs/distribution.md has the fields."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from connectors.distribution.drafts import Draft
    from schemas.mail import InboundMail

_MOST: Final = 50
"""Of links and of recipients: a message of SNS holds 256 KiB, and a link with a session token is 2 KB long."""


def message_of(mail: InboundMail, draft: Draft, *, outcome: str, cause: str, detail: str) -> dict[str, Any]:
    """The message.

    Args:
        mail: its row.
        draft: as far as it came.
        outcome: `intended`: it is sent to the other recipients; else as in `mail_forwards`.
        cause: a word.
        detail: a sentence.
    """
    return {
        "type": "ses-streams.distribution",
        "version": 1,
        "mail_id": mail["mail_id"].hex(),
        "outcome": outcome,
        "reason": cause,
        "detail": detail,
        "received_time": _iso(mail["received_time"]),
        "tenant": mail["tenant"],
        "ses_id": mail["ses_id"],
        "subject": mail["subject"][:250],
        "object": mail["object"],
        "recipients": list(draft.named.recipients),
        "refused": [{"text": text, "reason": why} for text, why in draft.named.refused[:_MOST]],
        "links": [
            {
                "name": link.name,
                "content_type": link.content_type,
                "size": link.size,
                "sha256": link.sha256,
                "url": link.url,
            }
            for link in draft.links[:_MOST]
        ],
        "links_until": _iso(draft.until_ms) if draft.until_ms else None,
        "links_left_out": max(0, len(draft.links) - _MOST),
    }


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
