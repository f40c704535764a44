"""Sources: whatever events are read from. Each is a `Source`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading

    from connectors.bridge import Entrance


class Source(Protocol):
    """One place that events come from, and its acknowledgements.

    The source owns what it reads: its connections, its threads, and when to acknowledge. For every unit it
    acknowledges by itself (an SQS message, a request, a file) it makes a `Receipt`, gives the bridge what the
    intake made of the unit, closes the receipt, and acknowledges when `on_safe` runs, never before. It hands
    nothing else on: every byte it read ends as an event, a dead letter, or as still unacknowledged at its
    origin.

    The bridge is shared, and not the source's to close. A source may call `run` once.
    """

    name: str
    """For people: `sqs https://…`, `http :8080`, `replay`."""

    def run(self, bridge: Entrance, stop: threading.Event) -> None:
        """Read until exhausted or until `stop` is set, then return; receipts may still be unsafe then.

        After `stop` it takes nothing new within about a second, and leaves what it had not submitted to its
        origin.

        Raises:
            UserError: when it cannot be read, or the bridge is broken.
        """
