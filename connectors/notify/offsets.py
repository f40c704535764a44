"""`Unsettled`: which records were read whose alarm keys are not settled, and so how far may be committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kafka import TopicPartition


class Unsettled:
    """Offsets of each partition, in order; for the consumer's thread."""

    def __init__(self) -> None:
        self._read: dict[TopicPartition, dict[int, tuple[str, ...]]] = {}

    def read(self, where: TopicPartition, offset: int, keys: Iterable[str]) -> None:
        """A record was read, of these alarm keys."""
        self._read.setdefault(where, {})[offset] = tuple(keys)

    def settled(self, is_settled: Callable[[str], bool]) -> dict[TopicPartition, int]:
        """The next offsets of those partitions that have gone on: everything before them is settled."""
        found: dict[TopicPartition, int] = {}
        for where, offsets in self._read.items():
            done = []
            for offset, keys in offsets.items():
                if not all(map(is_settled, keys)):
                    break
                done.append(offset)
            for offset in done:
                del offsets[offset]
            if done:
                found[where] = done[-1] + 1
        return found

    def forget(self) -> None:
        """The partitions are somebody else's."""
        self._read.clear()
