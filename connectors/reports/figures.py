"""What the parts of a report share: rows of a query, rates with their limits, and aligned text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from connectors.clickhouse.sql import run_sql
from pipelines.counting.bounds import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from connectors.clickhouse.sql import Target


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its exact 95 % limits."""

    value: float
    low: float
    high: float


def ask(target: Target, sql: str) -> list[list[Any]]:
    """The rows of a query. 64-bit numbers may come as text, as the server is set up.

    Raises:
        ClickHouseError: nothing answers, or refused.
    """
    text = b"".join(run_sql(sql, "JSONCompactEachRow", target))
    return [msgspec.json.decode(line) for line in text.splitlines() if line]


def rates(hits: np.ndarray[Any, Any], trials: np.ndarray[Any, Any]) -> list[Rate | None]:
    """Each share; None where there were no trials."""
    low, high = clopper_pearson(hits, trials)
    return [
        Rate(min(1.0, float(hit / of)), float(least), float(most)) if of else None
        for hit, of, least, most in zip(hits, trials, low, high, strict=True)
    ]


def shown(rate: Rate | None) -> str:
    """For people."""
    if rate is None:
        return "no data"
    return f"{rate.value:.3%} ({rate.low:.3%} to {rate.high:.3%})"


def table(rows: Sequence[Sequence[str]]) -> str:
    """First column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
