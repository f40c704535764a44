"""`EventClock`: the time that surveys of ClickHouse are made at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from connectors.watch.asking import Newest

LIVE_MS: Final = 2 * 3_600_000
"""Events that are no older than that when they land are live, and so is the clock while it is no further behind."""
_HOUR_MS: Final = 3_600_000


class EventClock:
    """Follows the data; and, when these are live, the wall clock, so that silence is noticed and incidents end.

    Nothing ticks in a replay of old data: there the clock rests an hour after the newest cohort hour.
    """

    def __init__(self, live_ms: int = LIVE_MS) -> None:
        """`live_ms`: how old data may be that are live."""
        self._live_ms = live_ms
        self.now = 0
        """Event time, ms; 0: there are no data yet."""
        self.live = False
        """Whether that is the wall clock."""

    def advance(self, newest: Newest, wall: int) -> None:
        """There are data up to some cohort hour, at `wall` (ms). The clock never goes back."""
        end = (newest.hour + 3600) * 1000
        # Data that were live when they landed stay so, however long ago that is: the traffic may have stopped.
        live_then = newest.landed * 1000 - end <= self._live_ms
        self.now = max(self.now, min(wall, end))
        self.live = live_then or wall - self.now <= self._live_ms
        if self.live:
            self.now = max(self.now, wall)
