"""Dates of header fields (RFC 5322, section 3.3).

By mail-parser, which knows obsolete forms and refuses impossible ones; by the standard library where that refuses what
mail has all the same, such as a date without a zone, or a month before its day.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_tz
from typing import Final

from mailparser.dates import parse_mail_date

_CHARACTERS: Final = 200
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_END: Final = 7_258_118_400_000
"""2200-01-01, ms."""


def millis_of(value: str) -> int:
    """Ms since the epoch; 0 where it is none, or outside 1970 to 2199."""
    value = value.strip()
    if not value or len(value) > _CHARACTERS:
        return 0
    moment = parse_mail_date(value).value or _lenient(value)
    if moment is None:
        return 0
    millis = (moment - _EPOCH) // timedelta(milliseconds=1)
    return int(millis) if 0 < millis < _END else 0


def _lenient(value: str) -> datetime | None:
    try:
        found = parsedate_tz(value)
        if found is None:
            return None
        return datetime(*found[:6], tzinfo=UTC) - timedelta(seconds=found[9] or 0)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
