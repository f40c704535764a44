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

HITS: Final = ("complaints", "hard_bounces", "rejects", "rendering_failures", "blocks")
"""Those that count trouble: what the signals of alarms are shares of."""

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

TAG_PREFIX: Final = "tag:"
"""A dimension `tag:NAME` has the first value of the message tag NAME."""

OTHER_VALUE: Final = "(other)"
"""Takes what the values of a dimension beyond its cap count: the sum over values stays the whole."""

PAIR_SEPARATOR: Final = ":"
"""Joins the two parts of `feedback_ab` (a:b) and `provider_campaign` (provider:campaign)."""


def is_dimension(name: str) -> bool:
    """Whether a name is that of a dimension: one of `DIMENSIONS`, or a tag's."""
    return name in DIMENSIONS or (name.startswith(TAG_PREFIX) and name != TAG_PREFIX)
