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
    tenants_apart: bool = False
    """Whether each tenant's mails have a partition of their own; else all are in that of no tenant."""
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
            # As the worker's: without rules a mail has no tenant, and what it answers may well have one.
            tenants_apart=bool(settings.inbound.tenants),
            max_in_flight=settings.bridge.max_in_flight_mb * 1024 * 1024,
        )
