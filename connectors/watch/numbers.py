"""`Numbers`: what a watch has done since it started, and what hinders it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Numbers:
    """Written by the threads of the watch, each its own fields; anyone may read."""

    looks: int = 0
    """Rounds over the pipeline's levels."""
    surveys: int = 0
    """Rounds over ClickHouse."""
    survey_seconds: float = 0.0
    """That the last one took."""
    transitions: int = 0
    """Sent."""
    orders: int = 0
    """Of operators, for the alarms of the watch, done."""
    firing: int = 0
    """Alarms of the watch with an open incident."""
    troubles: dict[str, str] = field(default_factory=dict)
    """By what could not be looked at: why, in a sentence."""

    @property
    def trouble(self) -> str:
        """All of it in a line; empty when there is none."""
        return "; ".join(f"{what}: {why}" for what, why in sorted(dict(self.troubles).items()))
