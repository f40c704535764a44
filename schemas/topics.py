"""Kafka topics. All have the same number of partitions, so that Faust can co-partition them."""

from __future__ import annotations

from typing import Final

EVENTS: Final = "ses.events"
"""Blocks of `SesEvent`, partitioned by `message_id`."""

COUNTS: Final = "ses.counts"
"""Blocks of `CountDelta` and of `RecountRow`, partitioned by (dimension, value)."""

RECOUNTS: Final = "ses.recounts"
"""Blocks of `RecountRequest`, partitioned by hour."""

RATES: Final = "ses.rates"
"""Blocks of `RateRow`, partitioned like `COUNTS`."""

DEAD_LETTERS: Final = "ses.dead-letter"
"""Blocks of `DeadLetter`, any partition."""

ALL: Final = (EVENTS, COUNTS, RECOUNTS, RATES, DEAD_LETTERS)

WORKER_GROUP: Final = "ses-streams-rates"
"""Consumer group (and Faust app id) of the worker."""

SINK_GROUP: Final = "ses-streams-sink"
"""Consumer group of the sink."""

RECOUNT_GROUP: Final = "ses-streams-recounts"
"""Consumer group of whoever answers recount requests: a thread beside the sink."""
