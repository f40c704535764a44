"""Open and closed hours: which events are counted as they come, and which have their hours recounted.

Hours are whole hours since the epoch. Each source partition has a watermark: the hour of the latest event seen in it,
never ahead of the clock. A cohort hour is open while it is less than `open_hours` behind the watermark and not more
than an hour ahead of the clock. The memory of ids reaches as far back as the open hours; what belongs to a closed hour
cannot be known to be new.

A block is judged by the watermark that includes its own events. So a block that is read again after a crash, with a
watermark that was restored or built up anew, is judged as before or more strictly: ids that were dropped on its
account are never looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOUR_MS: Final = 3_600_000
AHEAD: Final = 1
"""Hours ahead of the clock that are open: clocks of senders and of ours differ."""
BUCKET_HOURS: Final = 12
"""Ids are dropped by so many cohort hours at once: few buckets to search, and half a day more than needed to keep."""
NEVER: Final = -(1 << 62)
"""The watermark of a partition without events: everything in the past is open."""

Hours = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Opening:
    """What is open now."""

    open_hours: int
    """Hours behind the watermark that are open."""
    clock: int
    """The hour it is."""

    def advanced(self, watermark: int, latest: int) -> int:
        """The watermark after events the latest of which is of that hour."""
        return max(watermark, min(latest, self.clock))

    def is_open(self, hours: Hours, watermarks: Hours) -> NDArray[np.bool_]:
        """Which cohort hours are open, each by its own watermark."""
        return (hours > watermarks - self.open_hours) & (hours <= self.clock + AHEAD)


def advance(
    partitions: Sequence[int], latest: Sequence[int], known: Mapping[int, int], opening: Opening
) -> tuple[Hours, dict[int, int]]:
    """Of blocks in offset order by partition: the watermark each is judged by, and the last of each partition.

    `latest` has the hour of each block's latest event, `NEVER` of an empty block.
    """
    marks = dict.fromkeys(partitions, NEVER) | {p: known[p] for p in partitions if p in known}
    judged = np.empty(len(partitions), dtype=np.int64)
    for index, (partition, hour) in enumerate(zip(partitions, latest, strict=True)):
        judged[index] = marks[partition] = opening.advanced(marks[partition], hour)
    return judged, marks


def bucket_of(hours: Hours) -> Hours:
    """The bucket of ids each cohort hour belongs to."""
    return np.floor_divide(hours, BUCKET_HOURS)


def first_open(watermark: int, open_hours: int) -> int:
    """The oldest open hour."""
    return watermark - open_hours + 1


def all_closed(bucket: int, watermark: int, open_hours: int) -> bool:
    """Whether every hour of a bucket is closed for good."""
    return (bucket + 1) * BUCKET_HOURS <= first_open(watermark, open_hours)
