"""`MailForward`: a row of `mail.forwards`, and what its outcomes mean.

Whether a mail was sent on is decided by the rows of its partition, in their order. An attempt is *live* from its
`intended` to any other row of it. A mail may be sent by an attempt whose `intended` found no other live attempt and no
final row before it; so of any number of processes one sends it, and none after a crash that left it open whether it
was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

if TYPE_CHECKING:
    from schemas.mail import MailRecipient

INTENDED: Final = "intended"
"""Written before SES is asked: from then on it may have been sent."""
DEFERRED: Final = "deferred"
"""It was not sent by this attempt; another may follow."""
SENT: Final = "sent"
"""SES took it."""
UNKNOWN: Final = "unknown"
"""Nobody knows whether SES took it: it is not sent again, and the fallback topic is told."""
FALLBACK: Final = "fallback"
"""It was not sent, and the fallback topic was told why."""
UNTOLD: Final = "untold"
"""It was not sent, and there is no fallback topic, or none that takes anything."""
SKIPPED: Final = "skipped"
"""It is none to be sent on: it is too old, came from us, or is an answer of a machine."""

FINAL: Final = frozenset({SENT, UNKNOWN, FALLBACK, UNTOLD, SKIPPED})
"""After which nothing more is done about a mail."""


class MailForward(TypedDict):
    """A step of sending a mail on. Its identity is (`mail_id`, `attempt`), and of one the latest `time` counts."""

    mail_id: bytes
    """16 bytes, as in `mail.inbound`."""
    attempt: str
    """Chosen by whoever made it, and never used twice."""
    time: int
    """Of this row; each of an attempt has a later one."""
    outcome: str
    reason: str
    """A word for why, such as `markers_missing`; docs/distribution.md lists them."""
    detail: str
    """The same as a sentence; SES's own words where it refused."""
    received_time: int
    tenant: str
    object: str
    """URI of the raw mail."""
    recipients: list[MailRecipient]
    """To whom it goes: keyed hash, or plain address when `pii = "plain"`, as in events."""
    refused: int
    """Recipients that it names and that it does not go to."""
    links: int
    """Attachments that links stand for. The links themselves are in no row: whoever has one can read the attachment."""
    links_until: int
    """When the links end."""
    ses_message_id: str
    """SES's id of the mail that was sent: that of its events."""
    fallback_id: str
    """SNS's id of what the fallback topic was told last."""
    tries: int
    """Tries so far, this one included."""
