"""The bridge: events and dead letters in, Kafka blocks out, receipts released once those are safe."""

from connectors.bridge.bridge import Bridge, Counters
from connectors.bridge.entrance import Entrance
from connectors.bridge.opening import open_bridge
from connectors.bridge.policy import Policy
from connectors.bridge.receipts import Receipt
from connectors.bridge.rows import NO_MAIL, MailRows, sent_rows

__all__ = [
    "NO_MAIL",
    "Bridge",
    "Counters",
    "Entrance",
    "MailRows",
    "Policy",
    "Receipt",
    "open_bridge",
    "sent_rows",
]
