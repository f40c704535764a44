"""Journal reports: an envelope in text, and the mail that it is about attached.

Exchange and Exchange Online (learn.microsoft.com/exchange/security-and-compliance/journaling/journaling) put
`X-MS-Journal-Report` on them, and lines `Sender:`, `Subject:`, `Message-Id:`, `To:`, `Cc:`, `Bcc:`, `Recipient:` into
them, each of one address that may be followed by `, Expanded: list` or `, Forwarded: by`. Other journals, those that a
rule of Mail Manager passes on among them, are told by the same layout where a machine wrote it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipelines.mail.addresses import of_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.mail.kinds.facts import Facts
    from pipelines.mail.parsed import ParsedMail

MARK: Final = "x-ms-journal-report"
MAX_RECIPIENTS: Final = 5_000
_LINE: Final = re.compile(
    r"\s*(Sender|On-Behalf-Of|Subject|Message-Id|To|Cc|Bcc|Recipient|Label)\s*:\s*(.*)", re.IGNORECASE
)
_RECIPIENT: Final = ("to", "cc", "bcc", "recipient")
_NOTE: Final = re.compile(r",\s*(?:Expanded|Forwarded)\s*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Journal:
    """What a journal report says."""

    reason: str
    inner: ParsedMail
    """The mail that was journaled."""
    sender: str
    recipients: tuple[str, ...]
    """All of the envelope, those of Bcc too; each once."""


def journal_of(facts: Facts) -> Journal | None:
    """The journal report that a mail is; None: it is none."""
    inner = next((part.message for part in facts.mail.parts if part.message is not None), None)
    if inner is None:
        return None
    marked = facts.has(MARK)
    if not marked and not (facts.submitted == "auto-generated" or facts.null_sender or facts.daemon):
        return None
    fields = _fields(facts.lines)
    sender = next((value for name, value in fields if name == "sender"), "")
    recipients = _addresses(value for name, value in fields if name in _RECIPIENT)
    if not marked and not (fields[:1] and fields[0][0] == "sender" and recipients):
        return None
    reason = "X-MS-Journal-Report" if marked else "layout of a journal report"
    return Journal(reason, inner, next(iter(of_value(sender)), ""), recipients)


def _fields(lines: list[str]) -> list[tuple[str, str]]:
    """Lines of the envelope, down to the first that is none."""
    fields: list[tuple[str, str]] = []
    for line in lines:
        found = _LINE.fullmatch(line)
        if found:
            fields.append((found[1].lower(), found[2]))
        elif line.strip() and fields:
            break
        elif line.strip():
            return []
    return fields


def _addresses(values: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in values:
        address = next(iter(of_value(_NOTE.split(value, maxsplit=1)[0])), "")
        if address and len(found) < MAX_RECIPIENTS:
            found.setdefault(address)
    return tuple(found)
