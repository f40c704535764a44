"""`QuietHours`: when a route is left in peace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final, Self
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

_WINDOW: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_DAY: Final = 24 * 60
_LEAST_STEP: Final = timedelta(minutes=30)
"""By which a clock that is set back is passed: an hour that comes twice must not end before it began."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Windows of the local day."""

    windows: tuple[tuple[int, int], ...] = ()
    """Minutes since local midnight, from and until; one that ends before it begins goes over midnight."""
    zone: tzinfo = UTC

    @classmethod
    def of(cls, windows: Sequence[str], timezone: str) -> Self:
        """Read settings.

        Args:
            windows: each as `22:00-07:00`; `24:00` is the end of a day.
            timezone: of the IANA database.

        Raises:
            ValueError: with what is wrong.
        """
        try:
            zone = ZoneInfo(timezone)
        except (OSError, ValueError, KeyError):
            raise ValueError(f"timezone {timezone!r} is not known: write one such as Europe/Berlin") from None
        read = tuple(_window(each) for each in windows)
        if len({minute for each in read for minute in _minutes(each)}) == _DAY:
            raise ValueError("the quiet hours are the whole day: take the route out instead")
        return cls(read, zone)

    def until(self, time: float) -> float:
        """When what would be told at a time (seconds since the epoch) may be told: then, or when the quiet ends."""
        ends = time
        # A window may begin where another ends, or inside of it.
        for _ in range(len(self.windows) + 1):
            later = max((self._end(each, ends) for each in self.windows), default=ends)
            if later <= ends:
                break
            ends = later
        return ends

    def _end(self, window: tuple[int, int], time: float) -> float:
        """The end of a window that a time is in; else the time itself."""
        begin, end = window
        now = datetime.fromtimestamp(time, self.zone)
        minute = now.hour * 60 + now.minute
        inside = begin <= minute < end if begin < end else minute >= begin or minute < end
        if not inside:
            return time
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if minute >= end:
            midnight += timedelta(days=1)
        ends = (midnight + timedelta(minutes=end)).replace(fold=now.fold)
        moment = ends.timestamp()
        while moment <= time:
            moment += _LEAST_STEP.total_seconds()
        return moment


def _window(text: str) -> tuple[int, int]:
    found = _WINDOW.fullmatch(text.replace(" ", ""))
    if not found:
        raise ValueError(f"quiet has {text!r}: write hours such as 22:00-07:00")
    hours = [int(each) for each in found.groups()]
    begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if end > _DAY:
        raise ValueError(f"quiet has {text!r}: a day ends at 24:00")
    if begin == end:
        raise ValueError(f"quiet has {text!r}, which is no time at all: write hours such as 22:00-07:00")
    return begin, end


def _minutes(window: tuple[int, int]) -> range | list[int]:
    begin, end = window
    return range(begin, end) if begin < end else [*range(begin, _DAY), *range(end)]
