"""Errors that end a worker; each is one sentence.

WorkerError
 ├─ TopicsError       topics are missing, or have other numbers of partitions
 ├─ BrokerUnreachable Kafka does not answer, or refuses
 ├─ UnreadableState   the state in Kafka is of a later release, or damaged
 ├─ InvalidRules      the rules file cannot be used
 ├─ TooManyRejects    more records cannot be used than a healthy stream has
 ├─ Stalled           there is lag and no progress
 └─ Unseated          the consumer group is lost
"""

from __future__ import annotations


class WorkerError(Exception):
    """One sentence that says what is wrong and what to do."""

    exit_code = 1


class TopicsError(WorkerError):
    """Topics are missing, or have other numbers of partitions."""

    exit_code = 4


class BrokerUnreachable(WorkerError):  # noqa: N818 - named by what it says, like its siblings
    """Kafka does not answer, or refuses."""

    exit_code = 4


class UnreadableState(WorkerError):  # noqa: N818
    """The state in Kafka is of a later release, or damaged."""

    exit_code = 4


class InvalidRules(WorkerError):  # noqa: N818
    """The rules file cannot be used, at the start."""

    exit_code = 4


class TooManyRejects(WorkerError):  # noqa: N818
    """More records cannot be used than a healthy stream has."""


class Stalled(WorkerError):  # noqa: N818
    """There is lag and no progress."""


class Unseated(WorkerError):  # noqa: N818
    """The worker is no member of its consumer group any more, or cannot read."""
