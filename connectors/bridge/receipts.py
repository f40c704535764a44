"""`Receipt`: what a source acknowledges by, once everything it stands for is safe."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Receipt:
    """Counts the blocks that carry events of one unit of a source (a message, a request, a file).

    The source makes it, submits with it any number of times, and closes it. The bridge holds it for each
    block that carries any row submitted with it. When it is closed and no block holds it, `on_safe` runs,
    exactly once: in `close` if everything was safe by then (or nothing was submitted), else in a thread of
    the bridge, where it must be brief and must not call the bridge. A receipt of a bridge that broke is never
    released.
    """

    __slots__ = ("_holds", "_lock", "_on_safe", "closed")

    def __init__(self, on_safe: Callable[[], None]) -> None:
        self._on_safe = on_safe
        self._lock = threading.Lock()
        self._holds = 1
        self.closed = False

    def hold(self) -> None:
        """One more block carries rows of it. The bridge calls this, while the source has not closed it.

        Raises:
            ValueError: when it is closed already.
        """
        with self._lock:
            if self.closed:
                raise ValueError("a closed receipt takes no more rows")
            self._holds += 1

    def release(self) -> None:
        """One block that held it is safe. The bridge calls this."""
        with self._lock:
            self._holds -= 1
            safe = self._holds == 0
        if safe:
            self._on_safe()

    def close(self) -> None:
        """The source has submitted all of it. Closing again changes nothing."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        self.release()
