"""`Kind`: what a received mail is, and what it says as that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.mail.parsed import ParsedMail
    from schemas.mail import Feedback


@dataclass(slots=True)
class Kind:
    """One of `schemas.mail.KINDS`, and why."""

    kind: str
    reason: str
    """What told it, in a few words."""
    automatic: bool = False
    """Written by a machine, for whatever purpose; `auto_reply` is only what answers a message. Of a `journal`: whether
    the mail in it was."""
    feedback: list[Feedback] = field(default_factory=list)
    """Of a `bounce` a row a recipient, of a `complaint` one."""
    unsubscribes: list[str] = field(default_factory=list)
    """Of an `unsubscribe`: what from."""
    inner: ParsedMail | None = None
    """Of a `journal`: the mail that was journaled, whose header fields are the row's."""
    envelope_from: str = ""
    """Of a `journal`: the sender that its report names."""
    recipients: tuple[str, ...] = ()
    """Of a `journal`: the recipients that its report names, Bcc among them."""
    defects: list[str] = field(default_factory=list)
    """What could not be kept, in a word each: `too_many_recipients`."""
