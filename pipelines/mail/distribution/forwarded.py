"""`forwarded`: the mail that is sent on. Its text is the original's; nothing else of the original is in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from pipelines.mail.addresses import listed
from pipelines.mail.distribution.guards import LOOP_HEADER
from pipelines.mail.distribution.policy import valid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.mail.parsed import Headers

_SUBJECT: Final = 250
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Without tab and line feed. Marks that turn the direction of writing are among them: they disguise names of files."""
_KB: Final = 1000


@dataclass(frozen=True, slots=True)
class Link:
    """By which an attachment can be downloaded."""

    name: str
    content_type: str
    size: int
    sha256: str
    url: str


def forwarded(
    mail_id: bytes,
    headers: Headers,
    text: str,
    links: Sequence[Link],
    *,
    sender: str,
    recipients: Sequence[str],
    now_ms: int,
    until_ms: int,
) -> bytes:
    """The raw mail.

    Args:
        mail_id: of the original.
        headers: of the original: its subject, and where answers go.
        text: what its sender wrote, without the recipients.
        links: to its attachments.
        sender: From.
        recipients: To; valid ones.
        now_ms: Date.
        until_ms: when the links end.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    if replies := reply_to(headers):
        message["Reply-To"] = replies
    message["Subject"] = one_line(headers.get("Subject"), _SUBJECT) or "(no subject)"
    message["Date"] = format_datetime(_moment(now_ms))
    message["Auto-Submitted"] = "auto-generated"
    message[LOOP_HEADER] = mail_id.hex()
    message.set_content(_body(text, links, until_ms), charset="utf-8", cte="quoted-printable")
    return message.as_bytes()


def reply_to(headers: Headers) -> str:
    """Where the original wants answers: one plain address, or nothing; its names are not trusted with a header."""
    for name in ("Reply-To", "From"):
        if found := [good for each in listed(headers, name) if (good := valid(each))]:
            return found[0]
    return ""


def one_line(text: str, longest: int) -> str:
    """Text that cannot end a header field: without control characters, spaces run together, cut."""
    return " ".join(_plain(text).split())[:longest]


def _body(text: str, links: Sequence[Link], until_ms: int) -> str:
    lines = [_plain(text).strip()]
    if links:
        lines += ["", f"Attachments, until {_moment(until_ms):%Y-%m-%d %H:%M} UTC:"]
        for link in links:
            lines += ["", f"{one_line(link.name, 200) or 'without a name'} ({_size(link.size)})", link.url]
    return "\n".join(lines).strip() + "\n"


def _plain(text: str) -> str:
    lined = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(" ", lined).encode("utf-8", "replace").decode("utf-8")


def _size(size: int) -> str:
    if size < _KB:
        return f"{size} bytes"
    return f"{size / _KB:.0f} kB" if size < _KB * _KB else f"{size / _KB / _KB:.1f} MB"


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
