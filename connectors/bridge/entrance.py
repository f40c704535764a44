"""`Entrance`: a bridge as its sources see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from connectors.bridge.rows import NO_MAIL, MailRows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from connectors.bridge.receipts import Receipt
    from schemas.dead_letters import DeadLetter
    from schemas.events import SesEvent


class Entrance(Protocol):
    """Takes what sources read. A `Bridge` is one; so is what stands before a bridge that is replaced.

    Any number of threads may call it. Whoever opened it closes it; a source does not.
    """

    def submit(
        self,
        events: Iterable[SesEvent],
        dead_letters: Iterable[DeadLetter],
        receipt: Receipt,
        mail: MailRows = NO_MAIL,
    ) -> None:
        """Take rows of a unit; returns before they are safe. May wait for room.

        Raises:
            UserError: when the bridge is broken.
            ValueError: when the receipt is closed.
        """

    def check(self) -> None:
        """Raise what broke the bridge, if it is broken.

        Raises:
            UserError: when the bridge is broken.
        """

    def flush(self, timeout: float) -> None:
        """Wait until all that was submitted before is safe; `timeout` in seconds.

        Raises:
            UserError: when the bridge is broken, or not everything was safe in time.
        """
