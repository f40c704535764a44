"""The metrics of `bridge`."""

from __future__ import annotations

from typing import Final

from connectors.metrics.metric import Metric

BRIDGE: Final = (
    Metric(
        "bridge_taken",
        "bridge",
        "counter",
        "messages",
        "received from a queue, again and again included",
        "flat while mail is sent: the queue gets nothing (event destination, topic, subscription)",
        ("source",),
    ),
    Metric(
        "bridge_returned",
        "bridge",
        "counter",
        "messages",
        "that could not be used now (an object that cannot be read) and return to the queue",
        "grows: the bridge's log names the object; allow the role to read the bucket",
        ("source",),
    ),
    Metric(
        "bridge_source_lag_seconds",
        "bridge",
        "gauge",
        "s",
        "that the message received last had waited in its queue",
        "minutes: add copies of the bridge, or see what holds it up (bridge_in_flight_bytes)",
        ("source",),
    ),
    Metric(
        "bridge_in_work",
        "bridge",
        "gauge",
        "messages",
        "received and not yet safe, so not yet deleted",
        "near 5,000: Kafka (or ClickHouse, where acknowledge is landed) is slow or away",
        ("source",),
    ),
    Metric(
        "bridge_accepted",
        "bridge",
        "counter",
        "events",
        "put into blocks, each copy counted",
        "flat while bridge_taken grows: what arrives holds no events; see the dead letters",
    ),
    Metric(
        "bridge_rejected",
        "bridge",
        "counter",
        "records",
        "that became dead letters",
        "more than a trickle: `ses-streams dead-letters list`",
    ),
    Metric("bridge_blocks", "bridge", "counter", "blocks", "given to Kafka", "none by itself"),
    Metric(
        "bridge_in_flight_bytes",
        "bridge",
        "gauge",
        "bytes",
        "of blocks on their way to where they are safe",
        "stays at bridge.max_in_flight_mb: Kafka or ClickHouse is the bottleneck, sources wait",
    ),
)

MAIL: Final = (
    Metric(
        "bridge_mails",
        "bridge",
        "counter",
        "mails",
        "received that were read, each copy counted",
        "flat while mail comes in: the receipt rule's topic or bucket does not reach a queue",
    ),
    Metric(
        "bridge_mail_bytes",
        "bridge",
        "counter",
        "bytes",
        "of them",
        "none by itself",
    ),
    Metric(
        "bridge_mails_rejected",
        "bridge",
        "counter",
        "mails",
        "of them with a dead letter: refused, not parsed, or with a report that was not",
        "more than a trickle: `ses-streams dead-letters list`, stage mail",
    ),
    Metric(
        "bridge_attachments",
        "bridge",
        "counter",
        "contents",
        "given to the store of attachments",
        "none by itself",
    ),
    Metric(
        "bridge_mails_read",
        "bridge",
        "counter",
        "messages",
        "of mails of a queue that were read, by tenant (or recipients' domain, or prefix; beyond 100 (other))",
        "one grows far quicker than usual: that tenant is flooded",
        ("source", "tenant"),
    ),
    Metric(
        "bridge_mails_waiting",
        "bridge",
        "gauge",
        "messages",
        "of mails of a queue received and waiting to be read",
        "high for all tenants: add copies of the bridge, or raise inbound.readers",
        ("source", "tenant"),
    ),
    Metric(
        "bridge_mails_put_off",
        "bridge",
        "counter",
        "messages",
        "of mails given back to a queue for a while, for the tenant had more than its share in hand",
        "grows: that tenant's mails are late, and nobody else's; add copies of the bridge if it must not be",
        ("source", "tenant"),
    ),
)
