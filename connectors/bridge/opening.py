"""`open_bridge`: a bridge to the Kafka that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.bridge.bridge import Bridge
from connectors.bridge.landed import CommittedLanding
from connectors.bridge.policy import Policy
from connectors.bridge.producer import KafkaBlocks
from connectors.kafka import Positions
from schemas.blocks import SINGLE_OBJECT, Framing

if TYPE_CHECKING:
    from connectors.settings import Settings


def open_bridge(settings: Settings, framing: Framing = SINGLE_OBJECT) -> Bridge:
    """Connect; the topics must exist (`connectors.kafka.ensure_topics`).

    Raises:
        BrokerError: when no broker answers, or it refuses.
    """
    policy = Policy.of(settings)
    producer = KafkaBlocks(settings.kafka)
    landing = CommittedLanding(Positions(settings.kafka)) if policy.landed else None
    return Bridge(policy, producer, landing, framing)
