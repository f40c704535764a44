"""Records that cannot be used: their dead letters, and how many there may be."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from pipelines.worker.errors import TooManyRejects
from schemas.dead_letters import DeadLetter, dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.worker.config import RejectLimits

MINUTE_S = 60.0


class Message(Protocol):
    """What a dead letter says of a Kafka record."""

    topic: str
    partition: int
    offset: int
    timestamp: float
    """Seconds."""
    value: bytes | None


def letter(message: Message, stage: str, error: Exception) -> DeadLetter:
    """The dead letter of a record."""
    words = "".join("_" + c.lower() if c.isupper() else c for c in type(error).__name__)
    return dead_letter(
        time=int(message.timestamp * 1000),
        stage=stage,
        cause=words.lstrip("_"),
        detail=str(error),
        source=f"kafka://{message.topic}/{message.partition}/{message.offset}",
        payload=message.value or b"",
    )


class Rejects:
    """Counts good and bad records of the last minute."""

    def __init__(self, stage: str, limits: RejectLimits, clock: Callable[[], float]) -> None:
        self._stage = stage
        self._limits = limits
        self._clock = clock
        self._minute: deque[tuple[float, bool]] = deque()
        self._bad = 0
        self._row = 0

    def note(self, *, bad: bool) -> None:
        """Take note of a record, in order.

        Raises:
            TooManyRejects: when there were too many bad ones.
        """
        now = self._clock()
        self._minute.append((now, bad))
        self._bad += bad
        while self._minute[0][0] < now - MINUTE_S:
            self._bad -= self._minute.popleft()[1]
        self._row = self._row + 1 if bad else 0
        if not bad:
            return
        limits, total = self._limits, len(self._minute)
        if self._row >= limits.in_a_row:
            self._refuse(f"{self._row} records in a row")
        if total >= limits.least and self._bad > limits.share * total:
            self._refuse(f"{self._bad} of the last minute's {total} records")

    def _refuse(self, what: str) -> None:
        raise TooManyRejects(
            f"The {self._stage} agent could not use {what}: it stops, so that "
            "they do not all become dead letters; look at the last ones (`ses-streams dead-letters list`), "
            "mend their producer or upgrade, then restart."
        )
