"""SMTP replies and reasons, grouped: what differs from message to message is taken out of them."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST: Final = 5
_LONGEST: Final = 300
_ADDRESS: Final = re.compile(r"<?[^\s<>\",;:()@=]{1,64}@[^\s<>\",;:()@]{1,255}>?")
_IP: Final = re.compile(
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\b(?:[0-9a-f]{1,4}:){3,7}:?[0-9a-f]{0,4}\b", re.IGNORECASE
)
_ID: Final = re.compile(
    # Queue ids, time stamps, hashes: words of six letters and digits or more that have digits among them …
    r"(?<![\w.])(?=[\w\-.=+/]{0,200}\d)(?=[\w\-.=+/]*[A-Za-z\-_=+/])[\w\-.=+/]{8,200}(?![\w])"
    # … and long numbers. A basic code (550), an enhanced one (5.7.26) and names such as TSS04 stay.
    r"|\b\d{5,}\b"
)
_CODES: Final = re.compile(r"^[245]\d\d(?:[ -][245]\.\d{1,3}\.\d{1,3})?")


def grouped(replies: Iterable[str], most: int = MOST) -> list[tuple[str, int]]:
    """Normalised replies and how often each came, the most frequent first; empty ones are left out."""
    counts = Counter(normalised(reply) for reply in replies if reply.strip())
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:most]


def normalised(reply: str) -> str:
    """A reply without addresses, IPs, queue ids and long numbers; at most 300 characters, on one line."""
    line = " ".join(reply[: 4 * _LONGEST].split())
    codes = _CODES.match(line)
    start = codes.end() if codes else 0
    rest = _ADDRESS.sub("<address>", line[start:])
    rest = _IP.sub("<ip>", rest)
    rest = _ID.sub("<id>", rest)
    return (line[:start] + rest)[:_LONGEST]
