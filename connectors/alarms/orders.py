"""Giving orders: what an operator wants of an alarm, sent to whoever keeps its state, and seen to be done."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Final

from connectors.bridge.producer import KafkaBlocks
from connectors.errors import BrokerError, SettingsError
from connectors.kafka_admin import admin_of
from pipelines.alarms.transition import encode_order, partition_of
from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.settings import Kafka
    from schemas.alarms import Alarm, AlarmOrder
    from schemas.blocks import Framing

_DELIVERY_MS: Final = 15_000
_POLL_S: Final = 0.2
_UNITS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_LONGEST_MS: Final = 366 * _UNITS["d"]
_SPAN: Final = re.compile(r"(?:\d+(?:\.\d+)?[mhdw])+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([mhdw])")


def span_ms(text: str) -> int:
    """A span of time such as `90m`, `4h`, `2d12h` or `1w`.

    Raises:
        SettingsError: when it is none, nothing, or longer than a year.
    """
    given = text.replace(" ", "").lower()
    if not _SPAN.fullmatch(given):
        raise SettingsError(f"{text!r} is no span of time: write 30m, 4h, 2d or 1w")
    found = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(given))
    if not 1 <= found <= _LONGEST_MS:
        raise SettingsError(f"{text!r} is not between a moment and a year: write 30m, 4h, 2d or 1w")
    return int(found)


def send(order: AlarmOrder, kafka: Kafka, framing: Framing) -> None:
    """Put an order into Kafka; returns once Kafka has it.

    Raises:
        BrokerError: when it does not take it.
    """
    with admin_of(kafka) as admin:
        partitions = admin.partitions(topics.ALARM_ORDERS).get(topics.ALARM_ORDERS)
    if partitions is None:
        raise BrokerError(
            f"Kafka at {kafka.brokers} has no topic {topics.ALARM_ORDERS}: run `ses-streams migrate` first"
        )
    outcome: list[Exception | None] = []
    over = threading.Event()

    def settle(result: Exception | None) -> None:
        outcome.append(result)
        over.set()

    producer = KafkaBlocks(kafka, _DELIVERY_MS)
    try:
        producer.send(
            topics.ALARM_ORDERS,
            partition_of(order["alarm_key"], partitions),
            encode_order(order, framing),
            lambda _: settle(None),
            settle,
        )
        if not over.wait(2 * _DELIVERY_MS / 1000):
            raise BrokerError(f"Kafka at {kafka.brokers} did not take the order: try again")
    finally:
        producer.close()
    if outcome[0] is not None:
        raise outcome[0]


def await_done(look: Callable[[], Alarm | None], wait_s: float) -> Alarm | None:
    """Look until an order is done; None: it is not, after `wait_s`."""
    deadline = time.monotonic() + wait_s
    while True:
        found = look()
        if found is not None or time.monotonic() > deadline:
            return found
        time.sleep(_POLL_S)
