"""`Lags`: how far the groups of the pipeline are behind in Kafka, and how old what they have not read is."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kafka import KafkaConsumer, TopicPartition

from connectors.clickhouse.inserts import TARGETS
from connectors.kafka import Positions, await_broker, client_options, sentences
from pipelines.alarms.backlog import Progress
from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.settings import Kafka

GROUPS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "worker": (topics.WORKER_GROUP, (topics.EVENTS, topics.COUNTS, topics.INBOUND, topics.OUTBOUND)),
    "sink": (topics.SINK_GROUP, tuple(TARGETS)),
    "recounter": (topics.RECOUNT_GROUP, (topics.RECOUNTS,)),
}
"""What each process reads, and as which group."""
_PEEK_S: Final = 5.0
_POLL_MS: Final = 200

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Lag:
    """Of one group, at one look."""

    records: int
    """Not read yet."""
    stuck_s: float
    """For how long nothing was read though there was something."""
    behind_s: float
    """Age of the oldest record that is not read; 0: all that was there at the look before has been."""
    events_s: float
    """The same of the records that hold events."""


class Lags:
    """Looks; for one thread. Connects when first asked."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._positions: Positions | None = None
        self._progress = {name: Progress() for name in GROUPS}
        self._ends_before: dict[Place, int] = {}
        self._written: dict[tuple[Place, int], int] = {}

    def look(self, now: int) -> dict[str, Lag]:
        """The lag of each of `GROUPS` at `now` (ms).

        Raises:
            BrokerError: Kafka does not answer, or refuses.
        """
        try:
            return self._look(now)
        except BaseException:
            # A connection that failed is not to be trusted, nor how long somebody was stuck meanwhile.
            self.close()
            raise

    def close(self) -> None:
        """Disconnect."""
        if self._positions is not None:
            self._positions.close()
            self._positions = None
        self._progress = {name: Progress() for name in GROUPS}
        self._ends_before = {}

    def _look(self, now: int) -> dict[str, Lag]:
        positions = self._positions = self._positions or Positions(self._kafka)
        names = dict.fromkeys(name for _, read in GROUPS.values() for name in read)
        # Where groups stand before where topics end: what comes between is a lag of a moment, not a negative one.
        committed = {
            name: {
                (topic, partition): offset
                for topic in read
                for partition, offset in positions.committed(group, topic).items()
            }
            for name, (group, read) in GROUPS.items()
        }
        starts = _places(names, positions.start_offsets)
        ends = _places(names, positions.end_offsets)
        found = {name: self._of(name, committed[name], starts, ends, now) for name in GROUPS}
        self._ends_before = ends
        return found

    def _of(
        self,
        name: str,
        committed: Mapping[Place, int],
        starts: Mapping[Place, int],
        ends: Mapping[Place, int],
        now: int,
    ) -> Lag:
        """A group that never committed in a partition begins with what is still kept there."""
        next_offsets = {place: max(offset, starts[place]) for place, offset in committed.items()}
        behind = {place: offset for place, offset in next_offsets.items() if ends[place] > offset}
        records = sum(ends[place] - offset for place, offset in behind.items())
        stuck_s = self._progress[name].stuck_s(now, dict(next_offsets), records)
        waiting = {
            place: offset for place, offset in behind.items() if self._ends_before.get(place, 0) > offset
        }
        self._find_out(waiting)
        events = {place: offset for place, offset in waiting.items() if place[0] == topics.EVENTS}
        return Lag(records, stuck_s, self._age_s(waiting, now), self._age_s(events, now))

    def _age_s(self, waiting: Mapping[Place, int], now: int) -> float:
        """Of the oldest of the records at some offsets; 0: there is none, or it is not known."""
        known = [self._written[each] for each in waiting.items() if each in self._written]
        return max(0.0, (now - min(known)) / 1000) if known else 0.0

    def _find_out(self, waiting: Mapping[Place, int]) -> None:
        """When the records at some offsets were written."""
        unknown = {place: offset for place, offset in waiting.items() if (place, offset) not in self._written}
        if unknown:
            if len(self._written) > _MOST_KNOWN:
                self._written = {}
            self._written |= _peek(self._kafka, unknown)


_MOST_KNOWN: Final = 10_000


def _places(names: Sequence[str] | Mapping[str, Any], ask: Any) -> dict[Place, int]:
    return {(name, partition): offset for name in names for partition, offset in ask(name).items()}


def _peek(kafka: Kafka, offsets: Mapping[Place, int]) -> dict[tuple[Place, int], int]:
    """When the records at some offsets were written (Kafka's timestamp, ms), as far as they come in time.

    Raises:
        BrokerError: Kafka does not answer.
    """
    found: dict[tuple[Place, int], int] = {}
    await_broker(kafka)
    with sentences(kafka), contextlib.closing(KafkaConsumer(**_READING, **client_options(kafka))) as consumer:
        left = {TopicPartition(*place): offset for place, offset in offsets.items()}
        consumer.assign(list(left))
        for place, offset in left.items():
            consumer.seek(place, offset)
        deadline = time.monotonic() + _PEEK_S
        while left and time.monotonic() < deadline:
            for place, records in consumer.poll(timeout_ms=_POLL_MS, max_records=1).items():
                if place in left:
                    found[((place.topic, place.partition), left.pop(place))] = records[0].timestamp
                    consumer.pause(place)
    return found


_READING: Final[dict[str, Any]] = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
