"""`WorkerConfig`: all a worker is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from schemas import topics
from schemas.blocks import SINGLE_OBJECT, Framing
from schemas.counters import DIMENSIONS

if TYPE_CHECKING:
    from pathlib import Path

SEEN: Final = "seen"
"""Table of the count agent: the keys of events seen."""
COUNTERS: Final = "counters"
"""Table of the rate agent: packed state of every (dimension, value)."""
ALARMS: Final = "alarms"
"""Table of the alarms: the state of every alarm key that ever fired."""
THREADS: Final = "threads"
"""Table of the thread agents: messages in threads, and an index of all messages sent lately."""


@dataclass(frozen=True, slots=True)
class Security:
    """How to reach the brokers."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = ""
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    """PEM file of the authority of the brokers' certificates; empty: the system's."""


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The topics; others than the defaults are for tests."""

    events: str = topics.EVENTS
    counts: str = topics.COUNTS
    recounts: str = topics.RECOUNTS
    rates: str = topics.RATES
    dead_letters: str = topics.DEAD_LETTERS
    alarms: str = topics.ALARMS
    alarm_orders: str = topics.ALARM_ORDERS
    inbound: str = topics.INBOUND
    outbound: str = topics.OUTBOUND
    threads: str = topics.THREADS


@dataclass(frozen=True, slots=True)
class RejectLimits:
    """How many records may go to the dead letters before the process stops.

    A bad deploy must not drain a stream.
    """

    share: float = 0.01
    """Of a minute's records."""
    least: int = 100
    """Records there must be in a minute before the share is looked at."""
    in_a_row: int = 100


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """A frozen value; see the settings for what the names of Kafka's own options mean."""

    brokers: str
    """Bootstrap servers, comma-separated."""
    partitions: int
    """Of every topic, changelogs included."""
    data: Path
    """Faust's own directory; nothing in it needs to be kept."""
    group: str = topics.WORKER_GROUP
    """Faust app id: consumer group, and prefix of the changelogs' names."""
    topics: TopicNames = TopicNames()
    security: Security = Security()
    framing: Framing = SINGLE_OBJECT
    dimensions: tuple[str, ...] = DIMENSIONS
    dimension_cap: int = 100_000
    """Values of a dimension at the most, over all partitions."""
    open_hours: int = 48
    """Hours behind the newest event that are open: counted as events come."""
    retention_days: int = 14
    """Days behind the newest event that counters are kept of."""
    tenants_apart: bool = False
    """Whether threads are of one tenant each: where rules tell the tenant of a mail received."""
    outbound_days: int = 30
    """Days behind the newest message that messages sent are remembered, to know what answers them."""
    thread_days: int = 90
    """Days that a thread without news is remembered."""
    rules: Path | None = None
    """TOML file of the alarms' rules, looked at again and again; None: the program's own rules."""
    replication: int = 3
    """Of changelogs that the worker has to create."""
    compression: Literal["none", "gzip", "lz4"] = "lz4"
    rebalance_timeout_s: float = 60.0
    instance: str = ""
    """`group.instance.id` (static membership), such as the ordinal of a pod; empty: none."""
    commit_interval_s: float = 1.0
    max_request_bytes: int = 8 * 1024 * 1024
    """Before compression; the largest block of counts stays well below."""
    batch_bytes: int = 262_144
    """Of a producer's batch at the most; 0: every record goes alone, as the embedded broker wants it, which tells the
    end of a partition wrong after a batch of several."""
    count_batch: int = 64
    """Blocks counted in one pass at the most: more are no faster, and hold the event loop longer than some 100 ms."""
    thread_batch: int = 64
    """Blocks of mails, or of messages sent, joined in one pass at the most."""
    thread_s: float = 0.1
    """Least time between two passes: each looks through the index once, however little there is to look for."""
    rate_batch: int = 4096
    """Records folded before rows are sent at the most."""
    coalesce_s: float = 0.5
    """A key-hour's row is sent at most once in this time."""
    reject_limits: RejectLimits = RejectLimits()
    connect_s: float = 15.0
    """How long the brokers may take to answer at the start."""
    stall_s: float = 120.0
    """The worker is ended when there is lag and nothing was done for so long."""
    stop_s: float = 30.0
    """The process is ended the hard way when stopping takes longer."""


def changelogs(group: str = topics.WORKER_GROUP) -> tuple[str, ...]:
    """Names of the changelog topics."""
    return tuple(changelog(table, group) for table in (SEEN, COUNTERS, ALARMS, THREADS))


def changelog(table: str, group: str = topics.WORKER_GROUP) -> str:
    """Name of a table's changelog topic, in Faust's pattern."""
    return f"{group}-{table}-changelog"


def rebuilding(group: str = topics.WORKER_GROUP) -> str:
    """Name of a topic that is there while the changelogs are written anew, and not whole."""
    return f"{group}-rebuilding"
