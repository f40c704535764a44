"""What becomes of a received mail: `MailRead`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.mail.parsed import ParsedMail
    from schemas.dead_letters import DeadLetter
    from schemas.mail import DmarcRecord, InboundMail, TlsResult


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes to be kept under their hash."""

    sha256: str
    """Hex."""
    name: str
    content_type: str
    content: bytes


@dataclass(slots=True)
class MailRead:
    """Rows of one mail. A mail that cannot be parsed still has a row with what is known, and a dead letter."""

    mail: InboundMail
    parsed: ParsedMail | None
    """None: it could not be."""
    contents: list[Content] = field(default_factory=list)
    """Those of its attachments, each once; their rows in `mail` get their `key` once they are stored."""
    dmarc: list[DmarcRecord] = field(default_factory=list)
    tls: list[TlsResult] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
