"""`aside`: work in a thread of its own, beside one that polls Kafka and must go on polling."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_TICK_S: Final = 0.01


def aside(name: str, work: Callable[[], T]) -> Future[T]:
    """Begin work; what it returns or raises is in the future, to be looked at by who began it.

    The thread is not of a pool: the interpreter would wait at its end for a query that nobody wants any more.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def ends_within(future: Future[T], seconds: float) -> bool:
    """Wait for it a while; whether it has ended."""
    deadline = time.monotonic() + seconds
    while not future.done() and time.monotonic() < deadline:
        time.sleep(_TICK_S)
    return future.done()
