"""`Lobby`: where what is to be read waits for one of several readers, fairly by tenant; and what it did, in numbers."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from connectors.inbound.fair import FairQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")

LABELS: Final = 100
"""Tenants that are told apart in numbers; what further ones do is counted as that of others."""
OTHERS: Final = "(other)"


@dataclass(slots=True)
class Numbers:
    """Of a lobby since the start, by tenant."""

    read: Counter[str] = field(default_factory=Counter)
    put_off: Counter[str] = field(default_factory=Counter)
    """Given back for a while, each time counted."""
    waiting: Callable[[], dict[str, int]] = dict
    _known: set[str] = field(default_factory=set)

    def label(self, tenant: str) -> str:
        """The tenant, or `OTHERS` once there are too many."""
        if tenant not in self._known:
            if len(self._known) >= LABELS:
                return OTHERS
            self._known.add(tenant)
        return tenant

    def now_waiting(self) -> dict[str, int]:
        """What waits, by label; 0 where something waited before."""
        found = Counter(dict.fromkeys(self._known, 0))
        for tenant, count in self.waiting().items():
            found[self.label(tenant)] += count
        return dict(found)


class Lobby(Generic[Item]):
    """Gives items to readers: threads that each have their own function for it.

    An item that raises is the function's business: nothing may come out of it.
    """

    def __init__(
        self,
        readers: Sequence[Callable[[Item], None]],
        room: int,
        room_bytes: int,
        *,
        name: str = "reader",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._queue: FairQueue[Item] = FairQueue(room, room_bytes)
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False
        self.numbers = Numbers(waiting=self._waiting)
        self._threads = [
            threading.Thread(target=self._run, args=(read,), name=f"{name} reader {number}", daemon=True)
            for number, read in enumerate(readers)
        ]
        for thread in self._threads:
            thread.start()

    def offer(self, tenant: str, item: Item, *, receipts: int = 1, size: int = 0) -> float:
        """Let an item wait to be read: 0. Or not: after how many seconds it should come again."""
        with self._changed:
            delay = self._queue.offer(tenant, item, self._clock(), receipts, size)
            if not delay:
                self._changed.notify()
            else:
                self.numbers.put_off[self.numbers.label(tenant)] += 1
        return delay

    @property
    def busy(self) -> bool:
        """Whether anything waits or is being read."""
        return bool(len(self._queue))

    def close(self) -> list[Item]:
        """Let readers end after what they have; give what none of them has begun."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return [item for _, item in self._queue.empty()]

    def _waiting(self) -> dict[str, int]:
        with self._changed:
            return self._queue.waiting

    def _run(self, read: Callable[[Item], None]) -> None:
        while (taken := self._take()) is not None:
            tenant, item = taken
            try:
                read(item)
            finally:
                with self._changed:
                    self._queue.done(tenant, self._clock())
                    self.numbers.read[self.numbers.label(tenant)] += 1

    def _take(self) -> tuple[str, Item] | None:
        with self._changed:
            while True:
                if self._closed:
                    return None
                if (taken := self._queue.take()) is not None:
                    return taken
                self._changed.wait()
