"""The one door: bytes in; events, rejections and side notes out. Nothing here raises, whatever the bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipelines.intake.outcomes import Confirmation, ObjectRef
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.provenance import Provenance
from schemas.dead_letters import DeadLetter
from schemas.events import SesEvent


@dataclass(slots=True)
class Taken:
    """What came of some bytes, in their order."""

    events: list[SesEvent] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    objects: list[ObjectRef] = field(default_factory=list)
    """S3 objects that were announced; the source reads them, then acknowledges the announcement."""
    confirmations: list[Confirmation] = field(default_factory=list)
    controls: int = 0
    """Messages about the plumbing, which need nothing done."""


class Intake:
    """Unwraps, parses and normalises."""

    def __init__(self, policy: NormalisePolicy) -> None:
        self._policy = policy

    def take(self, document: bytes, provenance: Provenance, offset: int = 0) -> Taken:
        """One document, such as the body of a queue's message."""
        return Taken()

    def take_stream(self, chunks: Iterable[bytes], provenance: Provenance) -> Iterator[Taken]:
        """A decompressed file or object of any size, in bounded memory; many records to a `Taken`."""
        yield Taken()
