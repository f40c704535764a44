"""`Producer`: how blocks get into Kafka, as far as the bridge needs it; and the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from kafka import KafkaProducer

from connectors.kafka import MAX_MESSAGE_BYTES, await_broker, broker_error, client_options, sentences

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.settings import Kafka

BATCH_BYTES: Final = 0
"""Each block is a batch of its own: the embedded broker says the end offset of a partition is one past the *first*
record of its last batch, so with longer batches a drain would end too soon."""
DELIVERY_MS: Final = 120_000
"""How long a block may be retried: a rolling restart of brokers takes a minute."""
CLOSE_S: Final = 3


def producer_options(settings: Kafka) -> dict[str, Any]:
    """A producer of ours: idempotent, acks of all replicas, each record a batch of its own."""
    return client_options(settings) | {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": None if settings.compression == "none" else settings.compression,
        "batch_size": BATCH_BYTES,
        "max_request_size": MAX_MESSAGE_BYTES,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }


class Producer(Protocol):
    """Sends blocks; the bridge owns it and is its only caller.

    Calls of `send` come one at a time. Blocks of one partition must be stored in the order they were sent.
    Exactly one of `sent` and `failed` is called for each block, in any thread, not before it is durable or
    given up; they are brief.
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


class KafkaBlocks:
    """kafka-python's producer, idempotent: acks of all replicas, retries neither reorder nor repeat."""

    def __init__(self, settings: Kafka, delivery_ms: int = DELIVERY_MS) -> None:
        """Connect.

        Raises:
            BrokerError: when no broker answers, or it refuses.
        """
        self._settings = settings
        await_broker(settings)
        with sentences(settings):
            self._producer: Any = KafkaProducer(**producer_options(settings), delivery_timeout_ms=delivery_ms)

    def send(
        self,
        topic: str,
        partition: int,
        block: bytes,
        sent: Callable[[int], None],
        failed: Callable[[Exception], None],
        *,
        key: bytes | None = None,
    ) -> None:
        """Send one block; `sent` gets the offset it was stored at. A topic that is compacted wants a key.

        Raises:
            BrokerError: when it cannot even be tried; then neither callback is called.
        """
        with sentences(self._settings):
            future = self._producer.send(topic, value=block, key=key, partition=partition)
        future.add_callback(lambda stored: sent(stored.offset))
        future.add_errback(lambda error: failed(broker_error(error, self._settings)))

    def close(self) -> None:
        """Stop within seconds."""
        self._producer.close(timeout=CLOSE_S)
