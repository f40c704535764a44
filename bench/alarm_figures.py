"""`Wrong` and `Delay`: what `alarms.py` finds, and docs/alarms.md shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wrong:
    """Of one traffic and rate."""

    traffic: str
    volume: int
    rate: str
    years: int
    pages: dict[str, tuple[float, float, float]]
    """By rule: a key-year, with the 95 % limits of that (Poisson)."""
    keys: dict[str, tuple[float, float, float]]
    """By rule: share of keys with a page in the first 30 days, with 95 % limits (Clopper-Pearson)."""


@dataclass(frozen=True)
class Delay:
    """Of one traffic and multiple of the limit; hours."""

    traffic: str
    volume: int
    multiple: float
    runs: int
    median: dict[str, tuple[float, float, float]]
    """By rule, with 95 % limits (order statistics)."""
    p90: dict[str, float]
