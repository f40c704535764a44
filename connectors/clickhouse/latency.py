"""How long events were under way: from when they happened until ClickHouse could be asked for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from schemas.blocks import container

if TYPE_CHECKING:
    from schemas.blocks import Block

BOUNDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)
"""Seconds. SES itself takes up to some seconds to publish, Firehose up to 15 minutes to deliver."""


@dataclass(slots=True)
class Latencies:
    """A histogram."""

    bounds: tuple[float, ...] = BOUNDS
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """How many were at most each bound and above the one before; the last: above all."""
    total: float = 0.0
    """Seconds, of all together."""

    def observe(self, seconds: np.ndarray[Any, Any]) -> None:
        """Add observations; of the future counts as 0."""
        waited = np.maximum(seconds, 0.0)
        places = np.searchsorted(self.bounds, waited, side="left")
        found = np.bincount(places, minlength=len(self.counts))
        self.counts = [have + int(more) for have, more in zip(self.counts, found, strict=True)]
        self.total += float(waited.sum())


def event_times(block: Block) -> np.ndarray[Any, Any]:
    """When the events of a block happened, seconds since the epoch.

    Raises:
        Exception: of polars, when the rows do not decode.
    """
    column = pl.read_avro(BytesIO(container([block])), columns=["event_time"])["event_time"]
    return column.cast(pl.Int64).to_numpy() / 1000
