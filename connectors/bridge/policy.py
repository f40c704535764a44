"""`Policy`: how the bridge makes blocks and when it calls them safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connectors.settings import Settings


@dataclass(frozen=True, slots=True)
class Policy:
    """How the bridge makes blocks and when it calls them safe."""

    partitions: int
    """Of each topic."""
    landed: bool = False
    """Whether a block is safe once the sink has committed past it (it is in ClickHouse), not once Kafka has
    it."""
    max_in_flight: int = 64 * 1024 * 1024
    """Encoded bytes of blocks that are not safe; submitters wait beyond it."""
    linger_s: float = 0.05
    """How long a block that is not full waits for company."""

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """As the settings say."""
        return cls(
            partitions=settings.kafka.partitions,
            landed=settings.bridge.acknowledge == "landed",
            max_in_flight=settings.bridge.max_in_flight_mb * 1024 * 1024,
        )
