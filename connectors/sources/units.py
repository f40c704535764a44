"""What a replay reads: units, and the origins that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.intake.provenance import Provenance


@dataclass(frozen=True, slots=True)
class Unit:
    """One file or object: what a replay acknowledges by."""

    provenance: Provenance
    size: int
    """Bytes, as stored; 0 where that is not known."""
    identity: str
    """Changes when its content does; empty: never skipped."""
    chunks: Callable[[], Iterator[bytes]]
    """Opens it. Raises SourceError when it cannot be read."""


class Origin(Protocol):
    """Something that holds units; see `Files` and `S3Prefix`."""

    def units(self) -> Iterator[Unit]:
        """All of them, in an order that is the same every time.

        Raises:
            SourceError: when they cannot be listed.
        """
