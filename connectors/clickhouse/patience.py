"""`Patience`: asks ClickHouse or Kafka again, with backoff, until it answers or the process is told to stop."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeVar

import urllib3
from clickhouse_connect.driver import exceptions

from connectors.clickhouse.client import sentence
from connectors.clickhouse.landing import Retry, Stopped
from connectors.errors import BrokerError, ClickHouseError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

LOG: Final = logging.getLogger(__name__)
_AWAY: Final = (exceptions.Error, urllib3.exceptions.HTTPError, OSError, ClickHouseError, BrokerError)
"""What passes, or a person cures it while we wait; any other error is a surprise, and the caller's."""
T = TypeVar("T")


class Patience:
    """For one thread at a time; `trouble` may be read by any."""

    def __init__(self, stop: threading.Event, retry: Retry, what: str = "a recount") -> None:
        self._stop = stop
        self._retry = retry
        self._what = what
        self.trouble = ""
        """What was said last, while there is no answer; else empty."""

    def __call__(self, ask: Callable[[], T]) -> T:
        """Call until it returns.

        Raises:
            Stopped: told to stop meanwhile.
        """
        attempt = 0
        while True:
            try:
                answer = ask()
            except _AWAY as error:
                self.trouble = sentence(error)
                pause = self._retry.pause(attempt)
                LOG.warning("%s has to wait, again in %.1f s: %s", self._what, pause, self.trouble)
                if self._stop.wait(pause):
                    raise Stopped from error
                attempt += 1
            else:
                self.trouble = ""
                return answer
