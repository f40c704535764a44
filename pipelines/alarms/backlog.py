"""Backlogs that can only be counted: how long at least so much was waiting, and how old its oldest is at the least."""

from __future__ import annotations

from collections import deque


class Standing:
    """Looks at a number that waits; the least of it over the last so many seconds."""

    def __init__(self, span_s: float) -> None:
        self._span_ms = int(span_s * 1000)
        self._looks: deque[tuple[int, int]] = deque()

    def look(self, time: int, waiting: int) -> int | None:
        """So many wait at `time` (ms): the least at any look of the span; None until there were looks for that long."""
        looks = self._looks
        looks.append((time, waiting))
        # One look from before the span stays: it says what was there when the span began.
        while len(looks) > 1 and looks[1][0] <= time - self._span_ms:
            looks.popleft()
        if looks[0][0] > time - self._span_ms:
            return None
        return min(number for _, number in looks)


class Progress:
    """How far a group of consumers has read, look by look: whether it moves."""

    def __init__(self) -> None:
        self._moved = 0
        self._last: dict[object, int] = {}
        self._behind = 0

    def stuck_s(self, time: int, positions: dict[object, int], behind: int) -> float:
        """Seconds for which no position has moved though there is something to read; 0 when one has, or all is read.

        Args:
            time: of the look, ms.
            positions: next offset of each partition.
            behind: records that are not read.
        """
        # What came since the last look has not waited for longer than since then.
        if not behind or not self._behind or positions != self._last:
            self._moved = time
        self._last, self._behind = dict(positions), behind
        return (time - self._moved) / 1000
