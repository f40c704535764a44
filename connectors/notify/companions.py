"""Companions: what runs beside the delivery of alarms, once in the whole installation.

It runs in whoever holds partition 0 of `ses.alarms`, so it is started and stopped with that partition. For a moment
after a rebalance two may run: what they write must be harmless to write twice.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG: Final = logging.getLogger(__name__)
_FIRST_S: Final = 1.0
_LONGEST_S: Final = 60.0


class Companion(Protocol):
    """Works until it is told to stop, and then returns within seconds.

    `run` is called again, in another thread, after it has returned or failed. It may raise anything: that is logged,
    and it is run again a little later; alarms are delivered meanwhile.
    """

    @property
    def name(self) -> str:
        """For the log and the metrics."""

    def run(self, stop: threading.Event) -> None:
        """Work."""


class Company:
    """Runs companions; `start` and `stop` are called by one thread."""

    def __init__(self, companions: Sequence[Companion]) -> None:
        self.companions = tuple(companions)
        self._running: list[tuple[threading.Thread, threading.Event]] = []
        self._last: dict[str, threading.Thread] = {}
        """Of each companion, the thread that ran it last: it may still be stopping."""
        self.failures: dict[str, int] = {each.name: 0 for each in companions}
        """How often each has failed."""

    def start(self) -> None:
        """Start all that do not run."""
        if self._running:
            return
        for each in self.companions:
            stop = threading.Event()
            arguments = (each, stop, self._last.get(each.name))
            thread = threading.Thread(target=self._run, args=arguments, name=each.name, daemon=True)
            self._running.append((thread, stop))
            self._last[each.name] = thread
            thread.start()

    def stop(self, patience_s: float) -> None:
        """Tell them to stop, and wait for that a while."""
        for _, stop in self._running:
            stop.set()
        deadline = time.monotonic() + patience_s
        for thread, _ in self._running:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                LOG.warning("%s does not stop: it is left alone", thread.name)
        self._running = []

    def _run(self, companion: Companion, stop: threading.Event, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        pause = _FIRST_S
        while not stop.is_set():
            began = time.monotonic()
            try:
                companion.run(stop)
            except Exception:
                self.failures[companion.name] += 1
                LOG.exception("%s failed: it starts again in %.0f s", companion.name, pause)
            if stop.wait(pause):
                return
            pause = _FIRST_S if time.monotonic() - began > _LONGEST_S else min(_LONGEST_S, pause * 2)
