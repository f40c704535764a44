"""`Sweeper`: has a directory of attachments forget what is too old, beside the delivery of alarms."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import threading

    from connectors.attachments.directory import DirectoryStore

LOG: Final = logging.getLogger(__name__)
_EVERY_S: Final = 3600.0


class Sweeper:
    """See `connectors.notify.companions.Companion`. Two that run at once do no harm."""

    name: Final = "attachments"

    def __init__(self, store: DirectoryStore, every_s: float = _EVERY_S) -> None:
        self._store = store
        self._every_s = every_s
        self.removed = 0
        """Contents, since the start."""

    def run(self, stop: threading.Event) -> None:
        """Sweep now and then until told to stop.

        Raises:
            StoreError: the directory cannot be read or written to.
        """
        while not stop.is_set():
            removed = self._store.sweep()
            self.removed += removed
            if removed:
                LOG.info(
                    "removed %d attachments from %s: older than the retention", removed, self._store.path
                )
            stop.wait(self._every_s)
