"""`Landing`: whether blocks that Kafka has are in ClickHouse yet, told by what the sink has committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Landing(Protocol):
    """Watches blocks until they have landed; the bridge owns it. Callbacks come in a thread of its own, brief."""

    def watch(self, topic: str, partition: int, offset: int, landed: Callable[[], None]) -> None:
        """Call `landed` once the sink has committed beyond an offset."""

    def close(self) -> None:
        """Stop watching; what waits is never called."""
