"""`Relay`: stands before the bridge of an embedded instance while the broker behind it is replaced."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from connectors.bridge import NO_MAIL, Bridge, MailRows, open_bridge
from connectors.cli import wiring
from connectors.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from connectors.bridge import Receipt
    from connectors.settings import Settings
    from schemas.dead_letters import DeadLetter
    from schemas.events import SesEvent

Drain: TypeAlias = "Callable[[Callable[[], bool], Callable[[int], None]], bool]"
"""`wiring.drain` of some Kafka: given when to give up and whom to tell how much is left, whether it came
to its end."""
_POLL_S: Final = 0.05
_CLOSED: Final = "the bridge is closed"


@dataclass(frozen=True, slots=True)
class Line:
    """A bridge, and how to wait until what it has sent has come all the way."""

    bridge: Bridge
    drain: Drain


def line_to(settings: Settings) -> Line:
    """A line to the Kafka that the settings name; whoever gets it closes its bridge.

    Raises:
        BrokerError: when no broker answers, or it refuses.
    """
    bridge = open_bridge(settings, wiring.framing_of(settings))
    return Line(bridge, partial(wiring.drain, settings))


class Relay:
    """What sources and a replay see of a bridge (`submit`, `check`, `flush`), whatever line is behind it.

    Any number of threads may call these; a turnstile lets them through, and while it is shut they wait. One
    thread replaces the line:

        settle      shut the turnstile, wait until all that was submitted has come all the way
        hang_up     close the bridge
        connect     go on by another line; the turnstile opens

    So no receipt is ever held by a bridge that is closed, and nobody sees that there was another.
    """

    def __init__(self, line: Line) -> None:
        """Open at once; the line's bridge is the relay's to close."""
        self._line: Line | None = line
        self._changed = threading.Condition()
        self._open = True
        self._inside = 0
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether there is a line."""
        return self._line is not None

    @property
    def bridge(self) -> Bridge | None:
        """Of the line, if there is one."""
        line = self._line
        return line.bridge if line else None

    def submit(
        self,
        events: Iterable[SesEvent],
        dead_letters: Iterable[DeadLetter],
        receipt: Receipt,
        mail: MailRows = NO_MAIL,
    ) -> None:
        """As `Bridge.submit`; waits while the line is replaced."""
        with self._inside_turnstile() as line:
            line.bridge.submit(events, dead_letters, receipt, mail)

    def check(self) -> None:
        """As `Bridge.check`; between two lines nothing is wrong."""
        with self._changed:
            if self._closed:
                raise BrokerError(_CLOSED)
            if self._line is not None:
                self._line.bridge.check()

    def flush(self, timeout: float) -> None:
        """As `Bridge.flush`; the turnstile may take as long again."""
        with self._inside_turnstile(timeout) as line:
            line.bridge.flush(timeout)

    def drain(self, give_up: Callable[[], bool], remaining: Callable[[int], None] = lambda _: None) -> bool:
        """As `wiring.drain`, of whatever line there is once the turnstile lets us through."""
        while (line := self._enter(_POLL_S)) is None:
            if give_up():
                return False
        try:
            return line.drain(give_up, remaining)
        finally:
            self._leave()

    def settle(self, give_up: Callable[[], bool]) -> bool:
        """Shut the turnstile and wait until all that was submitted is counted and in ClickHouse.

        When told to give up the answer is False, and the turnstile is open again.

        Raises:
            UserError: when the bridge is broken, or Kafka does not answer.
        """
        line = self._present()
        with self._changed:
            self._open = False
        if (
            self._wait_until_nobody_inside(give_up)
            and wiring.flush(line.bridge, give_up)
            and line.drain(give_up, lambda _: None)
        ):
            return True
        self._let_through()
        return False

    def hang_up(self) -> None:
        """Close the bridge; its broker may go. To be called when `settle` has said True."""
        line = self._present()
        with self._changed:
            self._line = None
        line.bridge.close()

    def connect(self, line: Line) -> None:
        """Go on by another line."""
        with self._changed:
            self._line = line
        self._let_through()

    def close(self) -> None:
        """Close the bridge, if there is one; whoever waits at the turnstile is refused."""
        with self._changed:
            self._closed = True
            line, self._line = self._line, None
            self._changed.notify_all()
        if line is not None:
            line.bridge.close()

    @contextmanager
    def _inside_turnstile(self, timeout: float | None = None) -> Iterator[Line]:
        line = self._enter(timeout)
        if line is None:
            raise BrokerError(f"the broker was still being replaced after {timeout} s")
        try:
            yield line
        finally:
            self._leave()

    def _enter(self, timeout: float | None) -> Line | None:
        """Wait at the turnstile; None when it does not open within `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._open or self._closed, timeout):
                return None
            line = self._present()
            self._inside += 1
            return line

    def _leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def _wait_until_nobody_inside(self, give_up: Callable[[], bool]) -> bool:
        with self._changed:
            while self._inside:
                if give_up():
                    return False
                self._changed.wait(_POLL_S)
        return True

    def _let_through(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def _present(self) -> Line:
        if self._line is None:
            raise BrokerError(_CLOSED)
        return self._line
