"""Running one consumer in a thread beside another: if either fails, both end, and the process with its error."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_JOIN_S: Final = 15.0
"""A consumer that was told to stop does so within that; then the process ends without it."""


class Runs(Protocol):
    """Something that works until it is told to stop."""

    def run(self, stop: threading.Event) -> None:
        """Work; raises what it cannot cure."""


@contextmanager
def beside(other: Runs, stop: threading.Event, name: str) -> Iterator[None]:
    """Run `other` in a thread for as long as the body runs; whichever ends sets `stop` for both.

    Raises:
        BaseException: what ended the other, unless the body failed itself.
    """
    errors: list[BaseException] = []

    def run() -> None:
        try:
            other.run(stop)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_JOIN_S)
    if errors:
        raise errors[0]
