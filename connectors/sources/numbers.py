"""`Numbers`: what a source has taken."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Numbers:
    """Counts since the start. Several threads of a source write it; anyone may read."""

    taken: int = 0
    """Messages received."""
    returned: int = 0
    """Messages that could not be used now."""
    in_work: int = 0
    """Messages received and not yet acknowledged, now."""
    lag_s: float = 0.0
    """Seconds between sending and receipt of the message received last."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, messages: int, lag_s: float) -> None:
        """Messages have been received, the oldest of them so long after it was sent."""
        with self._lock:
            self.taken += messages
            self.lag_s = max(0.0, lag_s)

    def give_back(self) -> None:
        """One message could not be used now."""
        with self._lock:
            self.returned += 1
