"""`FairQueue`: whose mail is read next, and whose is to come again later. Pure: times are given, in seconds.

What is in hand (waiting or being read) has a limit. Of that each tenant may have an equal share, and one share more is
kept for whoever comes next: so however much one tenant sends, the first mail of another finds a place and is read
after at most one mail of each of the others. What a tenant sends beyond its share is put off. Each that is put off
gets a time of its own, one after the other at the pace at which that tenant's mails are read: so it comes again when
its turn is near, and a flood is received about twice, not again and again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

LEAST_S: Final = 1.0
"""A delay at the least: what comes back at once is received for nothing, what comes late leaves readers idle."""
MOST_S: Final = 900.0
"""A delay at the most: how quickly mails are read may change, and there may be other bridges."""
PATIENCE: Final = 50
"""Receipts after which a mail is taken beyond its tenant's share: queues give up a message that comes too often."""
_PACE_S: Final = 0.02
"""What reading a mail takes, before it was measured."""
_NEWEST: Final = 0.05
"""Weight of the last one in that measure."""
_IDLE: Final = 1024
"""Tenants without anything in hand that are remembered for the sake of what is put off."""


@dataclass(slots=True)
class _Tenant(Generic[Item]):
    waiting: deque[tuple[Item, int]] = field(default_factory=deque)
    """With the bytes of each."""
    reading: int = 0
    promised: float = 0.0
    """When the next that is put off may come: what was put off before it has the time until then."""

    @property
    def in_hand(self) -> int:
        return len(self.waiting) + self.reading


class FairQueue(Generic[Item]):
    """Of one source. Not thread-safe."""

    def __init__(self, room: int, room_bytes: int) -> None:
        """Args: how many, and how many bytes of them, may be in hand and wait."""
        self._room = room
        self._room_bytes = room_bytes
        self._bytes = 0
        self._tenants: dict[str, _Tenant[Item]] = {}
        self._turns: deque[str] = deque()
        """Tenants with something waiting; the first is next."""
        self._in_hand = 0
        self._pace = _PACE_S
        self._since: float | None = None
        """When the last was done, or reading began, if there has been something to read ever since."""

    def __len__(self) -> int:
        """What is in hand."""
        return self._in_hand

    @property
    def waiting(self) -> dict[str, int]:
        """What waits, by tenant."""
        return {name: len(tenant.waiting) for name, tenant in list(self._tenants.items()) if tenant.waiting}

    def offer(self, name: str, item: Item, now: float, receipts: int = 1, size: int = 0) -> float:
        """Take an item in hand: 0. Or not: after how many seconds it should come again.

        Args:
            name: of the tenant.
            item: what is to be read.
            now: the time.
            receipts: how often it has come, this time included.
            size: bytes that it takes while it waits.
        """
        tenant = self._tenants.get(name)
        if tenant is None:
            self._forget(now)
            tenant = self._tenants[name] = _Tenant()
        active = self._active() + (not tenant.in_hand)
        within = tenant.in_hand < max(1, self._room // (active + 1)) or receipts >= PATIENCE
        full = self._in_hand >= self._room or (self._bytes and self._bytes + size > self._room_bytes)
        if full or not within:
            return self._put_off(tenant, active, now)
        if not tenant.waiting:
            self._turns.append(name)
        tenant.waiting.append((item, size))
        self._bytes += size
        self._in_hand += 1
        if self._since is None:
            self._since = now
        return 0.0

    def take(self) -> tuple[str, Item] | None:
        """The next to be read and its tenant; to be told `done` afterwards. None: nothing waits."""
        if not self._turns:
            return None
        name = self._turns.popleft()
        tenant = self._tenants[name]
        item, size = tenant.waiting.popleft()
        self._bytes -= size
        tenant.reading += 1
        if tenant.waiting:
            self._turns.append(name)
        return name, item

    def done(self, name: str, now: float) -> None:
        """One of a tenant has been read, or given up."""
        self._tenants[name].reading -= 1
        self._in_hand -= 1
        if self._since is not None:
            self._pace += _NEWEST * (now - self._since - self._pace)
        self._since = now if self._in_hand else None

    def empty(self) -> list[tuple[str, Item]]:
        """Give all that waits; it is not in hand any more."""
        left = [(name, item) for name, tenant in self._tenants.items() for item, _ in tenant.waiting]
        for tenant in self._tenants.values():
            tenant.waiting.clear()
        self._turns.clear()
        self._in_hand -= len(left)
        self._bytes = 0
        return left

    def _active(self) -> int:
        return sum(1 for tenant in self._tenants.values() if tenant.in_hand)

    def _put_off(self, tenant: _Tenant[Item], active: int, now: float) -> float:
        # Half of what the tenant has in hand goes by first: then there is room again before there is nothing to read.
        each = self._pace * active
        begin = max(tenant.promised, now + each * tenant.in_hand / 2)
        delay = min(max(begin - now, LEAST_S), MOST_S)
        tenant.promised = min(begin, now + MOST_S) + each
        return delay

    def _forget(self, now: float) -> None:
        """Tenants that are no more than a promise that is over."""
        if len(self._tenants) >= _IDLE:
            self._tenants = {
                name: tenant
                for name, tenant in self._tenants.items()
                if tenant.in_hand or tenant.promised > now
            }
