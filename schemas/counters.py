"""The counters of a (dimension, value, cohort hour), in the order in which every vector of them is laid out.

Avro (`CountDelta`, `RateRow`), ClickHouse (`rate_rows`) and the arithmetic in `pipelines.counting` all name them
so; `tests/schemas` keeps the four in step.
"""

from __future__ import annotations

from typing import Final

COUNTERS: Final = (
    "sends",
    "deliveries",
    "eligible",
    "complaints",
    "hard_bounces",
    "soft_bounces",
    "suppressed",
    "rejects",
    "rendering_failures",
    "delays",
    "opens",
    "clicks",
    "machine_opens",
    "unsubscribes",
    "blocks",
)

DIMENSIONS: Final = (
    "account",
    "region",
    "tenant",
    "configuration_set",
    "from_domain",
    "feedback_a",
    "feedback_b",
    "feedback_c",
    "feedback_ab",
    "campaign",
    "provider",
    "provider_campaign",
    "outgoing_ip",
)

PAIR_SEPARATOR: Final = ":"
"""Joins the two parts of `feedback_ab` (a:b) and `provider_campaign` (provider:campaign)."""
