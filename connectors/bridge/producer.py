"""`Producer`: how blocks get into Kafka, as far as the bridge needs it; and the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Producer(Protocol):
    """Sends blocks; the bridge owns it and is its only caller.

    Calls of `send` come one at a time. Blocks of one partition must be stored in the order they were sent. Exactly
    one of `sent` and `failed` is called for each block, in any thread, not before it is durable or given up; they
    are brief.
    """

    def send(
        self,
        topic: str,
        partition: int,
        block: bytes,
        sent: Callable[[int], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Send one block; `sent` gets the offset it was stored at.

        Raises:
            Exception: when it cannot even be tried; then neither callback is called.
        """

    def close(self) -> None:
        """Stop within seconds. Blocks on their way may still arrive; callbacks may still be called or not."""
