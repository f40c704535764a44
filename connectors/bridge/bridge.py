"""`Bridge`: rows in, blocks out, receipts released."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from connectors.bridge.refusals import refused
from connectors.bridge.rows import NO_MAIL, OF_TENANTS, PLACES, MailRows
from connectors.errors import BrokerError, UserError
from schemas.avro import newest
from schemas.blocks import MAX_ROWS, SINGLE_OBJECT, BlockBuilder, Framing
from schemas.partitioning import of_message, of_tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from connectors.bridge.landed import Landing
    from connectors.bridge.policy import Policy
    from connectors.bridge.producer import Producer
    from connectors.bridge.receipts import Receipt
    from schemas.dead_letters import DeadLetter
    from schemas.events import SesEvent


@dataclass(slots=True)
class Counters:
    """What a bridge has sent since it started."""

    events: int = 0
    dead_letters: int = 0
    mails: int = 0
    rows: int = 0
    """Others: of messages sent, of reports."""
    blocks: int = 0
    bytes: int = 0
    """Of encoded blocks, before compression."""


@dataclass(slots=True, eq=False)
class _Slot:
    """The open block of one partition of one record."""

    topic: str
    record: str
    partition: int
    builder: BlockBuilder
    receipts: list[Receipt] = field(default_factory=list)
    opened: float = 0.0
    """When its first row came, by the bridge's clock."""


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    """A block on its way."""

    number: int
    topic: str
    partition: int
    size: int
    receipts: list[Receipt]


class Bridge:
    """Gathers rows into blocks, sends them, and releases receipts once their blocks are safe.

    Any number of threads may submit. Two locks, never taken the other way round: `_lock` guards the open
    blocks and the order of sending, `_traffic` what is on its way; callbacks of the producer take only the
    latter.

    It owns its producer and landing. It breaks, for good, when a block cannot be sent or cannot be seen to
    land: from then on everything but `close` raises, and what was not safe by then keeps its receipts.
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
        self._number = 0
        self._in_flight = 0
        self._outstanding: set[int] = set()
        self._broken: Exception | None = None
        self._closed = False
        self._slots = {
            record: [
                _Slot(topic, record, partition, BlockBuilder(newest(record), framing))
                for partition in range(policy.partitions)
            ]
            for record, (topic, _) in PLACES.items()
        }
        self._events = self._slots["ses_event"]
        self._of_no_tenant = of_tenant("", policy.partitions)
        self._open: dict[tuple[str, int], _Slot] = {}
        self.counters = Counters()
        self._flusher = threading.Thread(target=self._flush_late, name="bridge-flusher", daemon=True)
        self._flusher.start()

    def submit(
        self,
        events: Iterable[SesEvent],
        dead_letters: Iterable[DeadLetter],
        receipt: Receipt,
        mail: MailRows = NO_MAIL,
    ) -> None:
        """Take rows of a unit; returns when they are in blocks, before those are safe. May wait for room.

        A row that does not fit its schema becomes a dead letter of stage `bridge`.

        Raises:
            UserError: when the bridge is broken.
            ValueError: when the receipt is closed.
        """
        if receipt.closed:
            raise ValueError("a closed receipt takes no more rows")
        self._take(events, self._add_event, receipt)
        self._take(dead_letters, self._add_dead_letter, receipt)
        if mail is not NO_MAIL:
            for record, rows in mail.by_record():
                self._take(rows, partial(self._add_row, record), receipt)

    def _take(self, rows: Iterable[Any], add: Callable[[Any, Receipt], None], receipt: Receipt) -> None:
        source = iter(rows)
        while batch := list(islice(source, MAX_ROWS)):
            self._wait_for_room()
            with self._lock:
                self.check()
                for row in batch:
                    add(row, receipt)

    def check(self) -> None:
        """Raise what broke the bridge, if it is broken.

        Raises:
            UserError: when the bridge is broken.
        """
        error = self._broken
        if error is None:
            return
        if isinstance(error, UserError):
            # Many threads may raise it: each gets an exception, and so a traceback, of its own.
            raise type(error)(*error.args) from error
        raise RuntimeError("an acknowledgement failed") from error

    @property
    def in_flight(self) -> int:
        """Encoded bytes of blocks that have been sent and are not safe."""
        return self._in_flight

    def flush(self, timeout: float) -> None:
        """Send what is open and wait until all that was submitted before is safe; `timeout` in seconds.

        Raises:
            UserError: when the bridge is broken, or not everything was safe in time.
        """
        with self._lock:
            self.check()
            for slot in list(self._open.values()):
                self._send(slot)
        deadline = time.monotonic() + timeout
        with self._traffic:
            waiting = set(self._outstanding)
            while self._broken is None and waiting & self._outstanding:
                left = deadline - time.monotonic()
                if left <= 0:
                    blocks = len(waiting & self._outstanding)
                    goal = "ClickHouse" if self._landing else "Kafka"
                    raise BrokerError(f"{blocks} blocks had not reached {goal} after {timeout:.0f} s")
                self._traffic.wait(left)
        self.check()

    def close(self) -> None:
        """Stop at once; what is not safe stays unacknowledged at its source, so `flush` before."""
        self._break(BrokerError("the bridge is closed"))
        with self._lock:
            self._closed = True
            self._opened.notify_all()
        self._flusher.join()
        self._producer.close()
        if self._landing:
            self._landing.close()

    def _wait_for_room(self) -> None:
        with self._traffic:
            while self._broken is None and self._in_flight > self._policy.max_in_flight:
                self._traffic.wait()
        self.check()

    def _add_event(self, event: Any, receipt: Receipt) -> None:
        try:
            slot = self._events[of_message(event["message_id"], self._policy.partitions)]
            slot.builder.add(event)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._add_dead_letter(refused(event, error), receipt)
            return
        self.counters.events += 1
        self._added(slot, receipt)

    def _add_dead_letter(self, letter: Any, receipt: Receipt) -> None:
        slot = self._slot("dead_letter", letter)
        slot.builder.add(letter)
        self.counters.dead_letters += 1
        self._added(slot, receipt)

    def _add_row(self, record: str, row: Any, receipt: Receipt) -> None:
        try:
            slot = self._slot(record, row)
            slot.builder.add(row)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._add_dead_letter(refused(row, error, record), receipt)
            return
        if record == "inbound_mail":
            self.counters.mails += 1
        else:
            self.counters.rows += 1
        self._added(slot, receipt)

    def _slot(self, record: str, row: Any) -> _Slot:
        if record in OF_TENANTS and not self._policy.tenants_apart:
            return self._slots[record][self._of_no_tenant]
        return self._slots[record][PLACES[record][1](row, self._policy.partitions)]

    def _added(self, slot: _Slot, receipt: Receipt) -> None:
        """A row has just been added; `_lock` is held."""
        receipts = slot.receipts
        if not receipts or receipts[-1] is not receipt:
            receipt.hold()
            receipts.append(receipt)
            if len(receipts) == 1:
                slot.opened = self._clock()
                self._open[slot.record, slot.partition] = slot
                if len(self._open) == 1:
                    self._opened.notify()
        if slot.builder.full:
            self._send(slot)

    def _send(self, slot: _Slot) -> None:
        """Close the block of a slot and send it; `_lock` is held, so blocks go in the order they close."""
        del self._open[slot.record, slot.partition]
        data = slot.builder.take()
        receipts, slot.receipts = slot.receipts, []
        self._number += 1
        block = _Sent(self._number, slot.topic, slot.partition, len(data), receipts)
        self.counters.blocks += 1
        self.counters.bytes += len(data)
        with self._traffic:
            self._in_flight += len(data)
            self._outstanding.add(block.number)
        try:
            sent, failed = partial(self._sent, block), partial(self._failed, block)
            self._producer.send(slot.topic, slot.partition, data, sent, failed)
        except Exception as error:  # noqa: BLE001 - whatever it is, the block is not safe and never will be
            self._failed(block, error)
            self.check()

    def _sent(self, block: _Sent, offset: int) -> None:
        if self._landing is None:
            self._safe(block)
            return
        try:
            self._landing.watch(
                block.topic, block.partition, offset, partial(self._safe, block), partial(self._failed, block)
            )
        except Exception as error:  # noqa: BLE001 - likewise
            self._failed(block, error)

    def _failed(self, block: _Sent, error: Exception) -> None:
        if not isinstance(error, UserError):
            where = f"partition {block.partition} of {block.topic}"
            cause, error = error, BrokerError(f"Kafka did not take a block for {where}: {error!r}")
            error.__cause__ = cause
        self._break(error)

    def _safe(self, block: _Sent) -> None:
        try:
            for receipt in block.receipts:
                receipt.release()
        except Exception as error:  # noqa: BLE001 - it would vanish in the producer's thread
            self._break(error)
        with self._traffic:
            self._in_flight -= block.size
            self._outstanding.discard(block.number)
            self._traffic.notify_all()

    def _break(self, error: Exception) -> None:
        with self._traffic:
            self._broken = self._broken or error
            self._traffic.notify_all()

    def _flush_late(self) -> None:
        """Send blocks that have waited long enough for company; `_open` has the oldest first."""
        with self._lock:
            while not self._closed:
                slot = next(iter(self._open.values()), None)
                if slot is None or self._broken:
                    self._opened.wait()
                elif (left := slot.opened + self._policy.linger_s - self._clock()) > 0:
                    self._opened.wait(left)
                else:
                    self._send_late(slot)

    def _send_late(self, slot: _Slot) -> None:
        with contextlib.suppress(Exception):  # the bridge is broken then: the submitters raise it
            self._send(slot)
