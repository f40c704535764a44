"""`Carrier`: a route's own thread. One errand at a time; one that hangs delays no other route."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from connectors.notify.page import NotDelivered

if TYPE_CHECKING:
    from connectors.notify.channels import RepeatingChannel
    from connectors.notify.page import Page
    from connectors.notify.planning import Due

LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to deliver; or, without `due`, what is still true, to be said again."""

    key: str
    pages: tuple[Page, ...]
    due: Due | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an errand went."""

    route: str
    errand: Errand
    taken: str = ""
    """What the receiver said."""
    failure: NotDelivered | None = None


class Carrier:
    """Owns its channel. `give` and `free` are for one thread; outcomes go to the queue."""

    def __init__(self, route: str, channel: RepeatingChannel, outcomes: SimpleQueue[Outcome]) -> None:
        self.route = route
        self.channel = channel
        self._outcomes = outcomes
        self._errands: SimpleQueue[Errand | None] = SimpleQueue()
        self.free = True
        """Whether it can be given an errand; the owner of the queue sets it when the outcome comes."""
        self._thread = threading.Thread(target=self._run, name=f"route-{route}", daemon=True)
        self._thread.start()

    def give(self, errand: Errand) -> None:
        """Deliver; the outcome comes to the queue, whatever happens."""
        self.free = False
        self._errands.put(errand)

    def close(self) -> None:
        """End the thread once it is free, if ever; nobody waits for that."""
        self._errands.put(None)

    def _run(self) -> None:
        while (errand := self._errands.get()) is not None:
            self._outcomes.put(self._carry(errand))
        self.channel.close()

    def _carry(self, errand: Errand) -> Outcome:
        try:
            again = errand.due is None
            taken = self.channel.refresh(errand.pages) if again else self.channel.send(errand.pages[0])
        except NotDelivered as failure:
            return Outcome(self.route, errand, failure=failure)
        except Exception as error:
            LOG.exception("the route %s failed in a way of its own", self.route)
            surprise = NotDelivered(f"{type(error).__name__}, see the log", unknown=True)
            return Outcome(self.route, errand, failure=surprise)
        return Outcome(self.route, errand, taken=taken)
