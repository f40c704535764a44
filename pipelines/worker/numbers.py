"""`Numbers`: what a worker has done since it started, for whoever shows it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipelines.counting.caps import Capped


@dataclass(slots=True)
class Steps:
    """Steps of one agent."""

    batches: int = 0
    records: int = 0
    """Kafka records of those batches."""
    rejected: int = 0
    """Of them, records that became dead letters."""
    seconds: float = 0.0
    """From a batch's start until its effects were safe, of all batches together."""

    @contextmanager
    def timed(self, records: int) -> Iterator[None]:
        """Count a batch, once it is done; one that failed is not counted, for it comes again."""
        start = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - start
        self.batches += 1
        self.records += records


@dataclass(slots=True)
class Numbers:
    """Counts since the start, unless said otherwise. The steps write it, in the worker's thread alone; anyone may read.

    A batch that comes again after a crash or a rebalance is counted again.
    """

    count: Steps = field(default_factory=Steps)
    rate: Steps = field(default_factory=Steps)
    orders: Steps = field(default_factory=Steps)
    thread: Steps = field(default_factory=Steps)
    """Of mails received."""
    sent: Steps = field(default_factory=Steps)
    """Of messages sent, for the threads."""
    events: int = 0
    """Copies of events read by the count agent: counted, duplicates, and those of closed hours."""
    duplicates: int = 0
    """Of them, copies of events that were counted before."""
    closed: int = 0
    """Of them, events of closed hours (too old or of the future): their hours are recounted."""
    remembered: int = 0
    """Ids of events in memory now."""
    rows: int = 0
    """Rows of `ses.rates` sent."""
    recounts_asked: int = 0
    """Requests for a recount of a key's hour."""
    evaluations: int = 0
    """Of alarm keys."""
    transitions: int = 0
    """Of alarms, sent; sent again included."""
    alarms_open: int = 0
    """Incidents that are open in our partitions now."""
    rules_refused: bool = False
    """The rules file cannot be used as it is: older rules are in force."""
    mails: int = 0
    """Copies of mails received that were joined."""
    outbound: int = 0
    """Copies of messages sent that were joined."""
    members: int = 0
    """Of threads: rows of `mail.threads` sent."""
    feedback: int = 0
    """Events made of received reports."""
    strays: int = 0
    """Rows that were sent on to the partition they belong to."""
    indexed: int = 0
    """Messages sent that the index of our partitions has now."""
    threaded: int = 0
    """Messages in threads of our partitions now."""
    capped: Mapping[str, Capped] = field(default_factory=dict)
    """By dimension; only of dimensions that have more values than their cap."""
    lag: int = 0
    """Kafka records of our partitions that are not acknowledged, when last looked."""
