"""DMARC failure reports (RFC 6591, RFC 9991): one message that failed, as feedback of type `auth-failure` (RFC 5965).

They tell of single messages that aggregate reports count too, so they make no rows of their own and no complaints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipelines.mail.parsed import ParsedMail, Part

AUTH_FAILURE: Final = "auth-failure"
_FIELD: Final = re.compile(
    r"^([\w-]{1,64}):[ \t]*([^\r\n]{0,2000}(?:\r?\n[ \t]+[^\r\n]{1,2000}){0,50})", re.MULTILINE
)
_MOST: Final = 64 * 1024
_SHORT: Final = 255


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failure report says; empty where it does not."""

    reported_domain: str
    """Of the From field of the message that failed."""
    source_ip: str
    auth_failure: str
    """`dmarc`, `dkim`, `spf`, `adsp`, `bodyhash`, `revoked`, `signature` (RFC 6591, section 3.3)."""
    delivery_result: str
    """`delivered`, `spam`, `policy`, `reject`, `other`."""
    identity_alignment: str
    """`none`, or `dkim` and `spf` with commas: which identities failed to align (RFC 9991)."""
    authentication_results: str
    mail_from: str
    rcpt_to: str
    dkim_domain: str
    dkim_selector: str
    message_id: str
    """Of the message that failed, without angle brackets."""
    user_agent: str
    arrival_time: int
    """ms; 0: not known."""
    incidents: int


def is_failure(mail: ParsedMail) -> bool:
    """Whether a mail is a failure report."""
    return any(_type_of(part) == AUTH_FAILURE for part in _feedback_parts(mail))


def failure_of(mail: ParsedMail) -> Failure | None:
    """The failure that a mail reports; None: it is no such report. Never raises."""
    for part in _feedback_parts(mail):
        fields = _fields(part)
        if fields.get("feedback-type", "").lower() != AUTH_FAILURE:
            continue
        sample = _sample(mail)
        return Failure(
            reported_domain=(fields.get("reported-domain") or _from_domain(sample))
            .lower()
            .rstrip(".")[:_SHORT],
            source_ip=fields.get("source-ip", "").strip("[]")[:_SHORT],
            auth_failure=fields.get("auth-failure", "").lower()[:_SHORT],
            delivery_result=fields.get("delivery-result", "").lower()[:_SHORT],
            identity_alignment=fields.get("identity-alignment", "").lower()[:_SHORT],
            authentication_results=fields.get("authentication-results", ""),
            mail_from=fields.get("original-mail-from", "").strip("<>")[:_SHORT],
            rcpt_to=fields.get("original-rcpt-to", "").strip("<>")[:_SHORT],
            dkim_domain=fields.get("dkim-domain", "").lower()[:_SHORT],
            dkim_selector=fields.get("dkim-selector", "")[:_SHORT],
            message_id=(sample.headers.get("Message-ID") if sample else "").strip("<> \t\r\n")
            or fields.get("message-id", "").strip("<>"),
            user_agent=fields.get("user-agent", "")[:_SHORT],
            arrival_time=_ms(fields.get("arrival-date") or fields.get("received-date") or ""),
            incidents=_incidents(fields.get("incidents", "")),
        )
    return None


def _feedback_parts(mail: ParsedMail) -> list[Part]:
    return [part for part in mail.parts if part.content_type == "message/feedback-report"]


def _type_of(part: Part) -> str:
    return _fields(part).get("feedback-type", "").lower()


def _fields(part: Part) -> dict[str, str]:
    """Fields of a report, by name in lower case; of several the first."""
    text = part.text or part.content[:_MOST].decode("utf-8", "replace")
    found: dict[str, str] = {}
    for name, value in _FIELD.findall(text[:_MOST]):
        found.setdefault(name.lower(), " ".join(value.split()))
    return found


def _sample(mail: ParsedMail) -> ParsedMail | None:
    return next((part.message for part in mail.parts if part.message is not None), None)


def _from_domain(sample: ParsedMail | None) -> str:
    said = re.search(r"@([\w.-]+)>?\s*$", sample.headers.get("From")[-_SHORT:]) if sample else None
    return said[1] if said else ""


def _ms(text: str) -> int:
    try:
        return max(int(parsedate_to_datetime(text).timestamp() * 1000), 0)
    except (ValueError, OverflowError, TypeError, IndexError):
        return 0


def _incidents(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1  # noqa: PLR2004 - a billion is none
