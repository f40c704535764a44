"""`Metric`: one metric as the catalogue has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Process = Literal["bridge", "worker", "sink", "notify"]
Kind = Literal["counter", "gauge", "summary", "histogram"]

PREFIX: Final = "ses_streams_"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    """Without `PREFIX`; of a counter without `_total`, which the text format adds."""
    process: Process
    kind: Kind
    unit: str
    meaning: str
    cure: str
    """When it means trouble, and what to do then."""
    labels: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """Its name in the text that is served."""
        return PREFIX + self.name + ("_total" if self.kind == "counter" else "")
