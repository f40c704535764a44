"""SES's timestamps, as lenient as they vary: milliseconds or none, `Z`, ` +0000` or `-05:00`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

FIRST: Final = 631_152_000_000
"""1990-01-01, ms: nothing was sent by SES before."""
END: Final = 7_258_118_400_000
"""2200-01-01, ms: ClickHouse's DateTime64(3) reaches to 2299, sanity not as far."""

_USUAL_LENGTH: Final = len("2017-08-05T00:40:02.012Z")
_FORM: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)?\s*"
    r"(?:([Zz]|UTC|GMT)|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)
_SECONDS: Final = {f"{second:02}.": second * 1000 for second in range(60)}
_MILLIS: Final = {f"{milli:03}Z": milli for milli in range(1000)}
_CACHED_MINUTES: Final = 50_000


class TimestampParser:
    """Parses to ms since the epoch; remembers minutes, because events come in bursts."""

    __slots__ = ("_minutes",)

    def __init__(self) -> None:
        self._minutes: dict[str, int] = {}

    def parse(self, text: str | None) -> int | None:
        """Milliseconds; None when it is missing, no timestamp, or outside 1990 to 2199. No zone means UTC."""
        if not text:
            return None
        if len(text) == _USUAL_LENGTH:
            try:
                return self._minutes[text[:17]] + _SECONDS[text[17:20]] + _MILLIS[text[20:]]
            except KeyError:
                pass  # the first of its minute, or of another form
        return self._parse(text)

    def _parse(self, text: str) -> int | None:
        match = _FORM.fullmatch(text.strip())
        if match is None:
            return None
        year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
        try:
            # A leap second is the next minute's first.
            moment = datetime(year, month, day, hour, minute, tzinfo=UTC)
        except ValueError:
            return None
        if second > 60:  # noqa: PLR2004 - seconds of a minute with a leap second
            return None
        start = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        if match[9]:
            offset = (int(match[10]) * 60 + int(match[11])) * 60_000
            start += offset if match[9] == "-" else -offset
        millis = start + second * 1000 + int((match[7] or "0")[:3].ljust(3, "0"))
        if not FIRST <= millis < END:
            return None
        if len(text) == _USUAL_LENGTH and text[23] == "Z" and text[19] == ".":
            if len(self._minutes) >= _CACHED_MINUTES:
                self._minutes.clear()
            self._minutes[text[:17]] = start
        return millis
