"""`Bridge`: rows in, blocks out, receipts released."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Self

import msgspec

from connectors.bridge.landed import Landing
from connectors.bridge.policy import Policy
from connectors.bridge.producer import Producer
from connectors.bridge.receipts import Receipt
from connectors.errors import BrokerError, UserError
from schemas import topics
from schemas.avro import newest
from schemas.blocks import MAX_BYTES, MAX_ROWS, SINGLE_OBJECT, BlockBuilder, Framing
from schemas.dead_letters import DeadLetter, dead_letter
from schemas.events import SesEvent
from schemas.partitioning import of_message

_RECORDS: Final = {topics.EVENTS: "ses_event", topics.DEAD_LETTERS: "dead_letter"}


@dataclass(slots=True)
class Counters:
    """What a bridge has sent since it started."""

    events: int = 0
    dead_letters: int = 0
    blocks: int = 0
    bytes: int = 0
    """Of encoded blocks, before compression."""


@dataclass(slots=True, eq=False)
class _Slot:
    """The open block of one partition of one topic."""

    topic: str
    partition: int
    builder: BlockBuilder
    receipts: list[Receipt] = field(default_factory=list)
    opened: float = 0.0
    """When its first row came, by the bridge's clock."""


class Bridge:
    """Gathers rows into blocks, sends them, and releases receipts once their blocks are safe.

    Any number of threads may submit. Two locks, never taken the other way round: `_lock` guards the open blocks and
    the order of sending, `_traffic` what is on its way; callbacks of the producer take only the latter.

    It owns its producer and landing. It breaks, for good, when a block cannot be sent or cannot be seen to land:
    from then on everything but `close` raises, and what was not safe by then keeps its receipts.
    """

    def __init__(
        self,
        policy: Policy,
        producer: Producer,
        landing: Landing | None = None,
        framing: Framing = SINGLE_OBJECT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if policy.landed and landing is None:
            raise ValueError("a policy of landed blocks wants a landing")
        self._policy = policy
        self._producer = producer
        self._landing = landing if policy.landed else None
        self._clock = clock
        self._lock = threading.Lock()
        self._opened = threading.Condition(self._lock)
        self._traffic = threading.Condition()
        self._in_flight = 0
        self._broken: UserError | None = None
        self._closed = False
        self._slots = {
            topic: [
                _Slot(topic, partition, BlockBuilder(newest(record), framing))
                for partition in range(policy.partitions)
            ]
            for topic, record in _RECORDS.items()
        }
        self._open: dict[tuple[str, int], _Slot] = {}
        self.counters = Counters()
        self._flusher = threading.Thread(target=self._flush_late, name="bridge-flusher", daemon=True)
        self._flusher.start()

    def submit(
        self, events: Iterable[SesEvent], dead_letters: Iterable[DeadLetter], receipt: Receipt
    ) -> None:
        """Take rows of a unit; returns when they are in blocks, before those are safe. May wait for room.

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
        """Send what is open and wait until all that was submitted before is safe; `timeout` in seconds.

        Raises:
            UserError: when the bridge is broken, or not everything was safe in time.
        """

    def close(self) -> None:
        """Stop at once: what is not safe stays unacknowledged at its source. Call `flush` first to lose no work."""
