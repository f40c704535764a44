"""The ids a source partition has counted, by bucket of cohort hours, and which changelog records hold them.

A bucket's ids are spread over many small records, one a batch. They are merged by tiers: so many of one tier, or so
many keys, make one of the next, so a key is written three or four times and a bucket's ids are in some dozens of
records, whatever the traffic. A merged record is safe before those it replaces are deleted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.counting.dedup import Keys, Mask, Seen
from pipelines.counting.hours import NEVER, all_closed, first_open

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FULL_KEYS: Final = 1 << 16
"""A record of so many keys (512 KiB) is not merged again."""
FAN_IN: Final = 32
"""Records of a tier that make one of the next."""


@dataclass(frozen=True, slots=True)
class Merge:
    """Records that are to become one."""

    bucket: int
    tier: int
    """Of the record to be."""
    keys: Keys
    replaced: list[bytes]
    """Names of the records whose keys these are."""


@dataclass(slots=True)
class _Bucket:
    seen: Seen = field(default_factory=Seen)
    names: dict[bytes, None] = field(default_factory=dict)
    """Of all records that hold its ids."""
    small: dict[int, list[tuple[bytes, Keys]]] = field(default_factory=dict)
    """Tier → records that are to be merged, (name, keys)."""
    unread: dict[bytes, tuple[int, Keys]] = field(default_factory=dict)
    """Restored records, not yet in `seen`: they may still be deleted. Name → (tier, keys)."""

    def note(self, name: bytes, tier: int, keys: Keys) -> None:
        self.names[name] = None
        if keys.size < FULL_KEYS:
            self.small.setdefault(tier, []).append((name, keys))

    def settle(self, *, mergeable: bool) -> None:
        if self.unread:
            self.seen.restore(keys for _, keys in self.unread.values())
            for name, (tier, keys) in self.unread.items():
                if mergeable:
                    self.note(name, tier, keys)
                else:
                    self.names[name] = None
            self.unread = {}

    def forget(self, names: list[bytes]) -> None:
        for name in names:
            self.names.pop(name, None)


class Remembered:
    """What is remembered of one source partition.

    Ids of a bucket numbered `None` come from a release that did not note hours: they are looked through for every
    hour, and dropped once the watermark has left behind all hours that could have been counted then.
    """

    def __init__(self) -> None:
        self.watermark = NEVER
        self.undated_until: int | None = None
        """The undated ids are dropped once this hour is closed."""
        self._buckets: dict[int | None, _Bucket] = {}
        self._unsettled = False

    def __len__(self) -> int:
        """Number of ids."""
        return sum(len(bucket.seen) for bucket in self._buckets.values())

    @property
    def nbytes(self) -> int:
        """Bytes held for ids at rest, those of records to be merged included."""
        return sum(
            bucket.seen.nbytes + sum(keys.nbytes for part in bucket.small.values() for _, keys in part)
            for bucket in self._buckets.values()
        )

    @property
    def has_undated(self) -> bool:
        """Whether there are ids of a release that did not note hours."""
        return None in self._buckets

    def restore(self, bucket: int | None, name: bytes, tier: int, keys: Keys) -> None:
        """Take a record of the changelog; one that is known already changes nothing."""
        known = self._buckets.setdefault(bucket, _Bucket())
        if name not in known.names:
            known.unread[name] = (tier, keys)
            self._unsettled = True

    def delete(self, bucket: int | None, name: bytes) -> None:
        """Take a tombstone of the changelog."""
        known = self._buckets.get(bucket)
        if known is not None:
            known.unread.pop(name, None)
            known.forget([name])
            known.small = {
                tier: [entry for entry in part if entry[0] != name] for tier, part in known.small.items()
            }
            if not known.names and not known.unread:
                del self._buckets[bucket]

    def settle(self) -> None:
        """All records are restored: make their ids ready to be looked up."""
        if self._unsettled:
            for number, bucket in self._buckets.items():
                bucket.settle(mergeable=number is not None)
            self._unsettled = False

    def look(self, bucket: int, ids: Keys) -> tuple[Mask, Mask]:
        """Which of the (even) ids of a bucket's hours were seen untagged, and which tagged."""
        self.settle()
        found = self._buckets.get(bucket)
        undated = self._buckets.get(None)
        if found is None:
            found, undated = undated, None
        if found is None:
            nothing = np.zeros(ids.size, dtype=np.bool_)
            return nothing, nothing.copy()
        untagged, tagged = found.seen.look(ids)
        if undated is not None:
            more, more_tagged = undated.seen.look(ids)
            untagged |= more
            tagged |= more_tagged
        return untagged, tagged

    def add(self, bucket: int, name: bytes, keys: Keys) -> None:
        """Remember ids; the record of that name holds them."""
        self.settle()
        known = self._buckets.setdefault(bucket, _Bucket())
        known.seen.add(keys)
        known.note(name, 0, keys)

    def hold(self, bucket: int, arrays: Iterable[Keys]) -> None:
        """Remember ids that no record holds."""
        self._buckets.setdefault(bucket, _Bucket()).seen.restore(arrays)

    def merges(self, bucket: int) -> Iterator[Merge]:
        """Records of a bucket that are to be merged, tier by tier; `merged` tells that it was done."""
        known = self._buckets.get(bucket)
        tier = 0
        while known is not None and tier in known.small:
            part = known.small[tier]
            if len(part) >= FAN_IN or sum(keys.size for _, keys in part) >= FULL_KEYS:
                yield from _grouped(bucket, tier + 1, part)
            tier += 1

    def merged(self, merge: Merge, name: bytes) -> None:
        """A merge is safe under that name."""
        known = self._buckets[merge.bucket]
        gone = set(merge.replaced)
        known.forget(merge.replaced)
        known.small[merge.tier - 1] = [entry for entry in known.small[merge.tier - 1] if entry[0] not in gone]
        known.note(name, merge.tier, merge.keys)

    def expire(self, open_hours: int) -> list[bytes]:
        """Drop the buckets whose hours are all closed: the names of their records, to be deleted.

        The watermark has to be safe before.
        """
        self.settle()
        gone: list[bytes] = []
        for bucket in list(self._buckets):
            if bucket is None:
                until = self.undated_until
                closed = until is not None and until < first_open(self.watermark, open_hours)
            else:
                closed = all_closed(bucket, self.watermark, open_hours)
            if closed:
                gone += self._buckets.pop(bucket).names
        return gone


def _grouped(bucket: int, tier: int, part: list[tuple[bytes, Keys]]) -> Iterator[Merge]:
    """Records in groups that make full ones; the last may be smaller."""
    names: list[bytes] = []
    arrays: list[Keys] = []
    size = 0
    for index, (name, keys) in enumerate(part):
        names.append(name)
        arrays.append(keys)
        size += keys.size
        if size >= FULL_KEYS or index == len(part) - 1:
            yield Merge(bucket, tier, np.concatenate(arrays), names)
            names, arrays, size = [], [], 0
