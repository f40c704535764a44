"""Dates of reports: RFC 5322, obsolete forms and two-digit years included."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

_EARLIEST: Final = 631_152_000_000
"""1990-01-01, ms: nothing was sent by SES before."""
_LATEST: Final = 7_258_118_400_000
"""2200-01-01, ms."""
_LONGEST: Final = 100


def milliseconds(text: str) -> int:
    """Ms since the epoch; 0 where it is no date between 1990 and 2199. No zone means UTC."""
    if not text or len(text) > _LONGEST:
        return 0
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        value = int(date.timestamp() * 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0
    return value if _EARLIEST <= value < _LATEST else 0
