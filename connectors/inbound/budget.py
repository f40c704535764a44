"""`Budget`: how many bytes of mails are read at once."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Budget:
    """Lets threads wait until there is room for what they want to read; in the order in which they came."""

    def __init__(self, total: int) -> None:
        """Args: bytes."""
        self._total = total
        self._changed = threading.Condition()
        self._used = 0
        self._next = 0
        self._serving = 0

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Room for `size` bytes; more than there ever is takes all of it."""
        wanted = min(size, self._total)
        with self._changed:
            ticket, self._next = self._next, self._next + 1
            self._changed.wait_for(lambda: ticket == self._serving and self._used + wanted <= self._total)
            self._serving += 1
            self._used += wanted
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used -= wanted
                self._changed.notify_all()
