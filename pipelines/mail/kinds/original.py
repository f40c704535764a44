"""`Original`: which message a report is about, as far as it says.

SES gives what it sends a Message-ID `<ID@email.amazonses.com>` (us-east-1) or `<ID@REGION.amazonses.com>`, and an
envelope sender with the same local part at amazonses.com or at the custom MAIL FROM domain (SES developer guide,
"Amazon SES header fields").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipelines.mail.kinds.facts import VALUE, Facts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.mail.parsed import Headers, ParsedMail

_SES_ID: Final = re.compile(
    r"(?<![0-9A-Za-z-])[0-9A-Za-z]{16}-[0-9A-Za-z]{8}-[0-9A-Za-z]{4}-[0-9A-Za-z]{4}-[0-9A-Za-z]{4}-[0-9A-Za-z]{12}-[0-9]{6}(?![0-9A-Za-z-])"
)
"""`0100…-8-4-4-4-12-000000`. Only its shape: documentation has ids that are not hexadecimal."""
_IN_BRACKETS: Final = re.compile(r"<([^<>\s]{1,998})>")
_LONGEST: Final = 128
"""Characters of an id at amazonses.com, whose shape is SES's own business."""
_WRAPPED: Final = 512
_DIGITS: Final = re.compile(r"[0-9]{3}")


@dataclass(slots=True)
class Original:
    """The message that a report is about."""

    ses_id: str = ""
    message_id: str = ""
    """Its Message-ID, without brackets."""
    to: str = ""
    """Its only recipient, where its To names one."""


def ses_id_of(address: str) -> str:
    """SES's id in an address or Message-ID that SES made; empty: it made none."""
    local, at, domain = address.strip().strip("<>").rpartition("@")
    if not at:
        local, domain = domain, ""
    if not local:
        return ""
    host = domain.lower().rstrip(".")
    if host == "amazonses.com" or host.endswith(".amazonses.com"):
        return local if "-" in local and len(local) <= _LONGEST and _DIGITS.search(local) else ""
    # Forwarders wrap it: `SRS0=…=eu-west-1.amazonses.com=ID@forwarder.example`.
    found = _SES_ID.search(local[:_WRAPPED])
    return found[0] if found else ""


def ids_in(value: str) -> list[str]:
    """What stands in angle brackets."""
    return _IN_BRACKETS.findall(value[: VALUE * 10])


def returned(mail: ParsedMail) -> Headers | None:
    """Header fields of the message that a report gives back."""
    return next((part.message.headers for part in mail.parts if part.message is not None), None)


def original_of(facts: Facts, headers: Headers | None, named: Iterable[str] = ()) -> Original:
    """Args: what the report gives back of it, and ids that its own fields name (best first)."""
    found = Original()
    candidates: list[str] = []
    if headers is not None:
        message_id = headers.get("message-id")[:VALUE].strip()
        found.message_id = next(iter(ids_in(message_id)), message_id.strip("<>").partition(" ")[0])
        candidates += [found.message_id, headers.get("return-path")[:VALUE]]
        to = headers.get("to")[:VALUE]
        found.to = to if to.count("@") == 1 else ""
    candidates += named
    candidates += _of_envelope(facts)
    for name in ("in-reply-to", "references"):
        candidates += reversed(ids_in(facts.first(name)))
    found.ses_id = next(filter(None, map(ses_id_of, candidates)), "")
    return found


def _of_envelope(facts: Facts) -> list[str]:
    """Whom the report was sent to: the sender address of the original, when SES or a custom MAIL FROM made it."""
    known = list(facts.notice.recipients) if facts.notice else []
    return known + [value for name in ("x-original-to", "delivered-to", "to") for value in facts.every(name)]
