"""`create_app`: the Faust app, wired."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING, Any, Final

import faust
import mode
from aiokafka.codec import lz4_encode
from faust.types.auth import AuthProtocol

from pipelines.alarms.rules import RulesError
from pipelines.alarms.rules_file import RulesFile
from pipelines.counting.hours import Opening
from pipelines.counting.rating import Policy
from pipelines.worker.alarm_step import AlarmStep, Outlets
from pipelines.worker.alarm_table import AlarmsTable, PlainAlarms
from pipelines.worker.assignor import Assignor
from pipelines.worker.batches import Pace, Progress, Step, drive
from pipelines.worker.config import ALARMS, COUNTERS, SEEN, THREADS, Security, WorkerConfig
from pipelines.worker.consumer import Transport
from pipelines.worker.count_step import CountStep
from pipelines.worker.counters import Counters, CountersTable, PlainCounters
from pipelines.worker.errors import InvalidRules
from pipelines.worker.numbers import Numbers
from pipelines.worker.orders_step import OrdersStep
from pipelines.worker.rate_step import RateStep, Ways
from pipelines.worker.records import Outlet, Send, SendKeyed
from pipelines.worker.recovery import Tables
from pipelines.worker.rejects import Rejects
from pipelines.worker.seen import PlainSeen, SeenEvents, SeenTable
from pipelines.worker.thread_memory import restored
from pipelines.worker.thread_step import Keeping, ThreadStep, ThreadWays
from pipelines.worker.thread_table import ThreadMemory, ThreadsTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.counting.memory import Memory
    from pipelines.worker.alarm_table import Alarms

ORDERS: Final = 64
"""Done in one step at the most: people write them."""
COMPANY_S: Final = 0.02
"""How long a record waits for others to share its pass."""


LZ4_LEVEL: Final = 1
"""aiokafka's 9 took a seventh of the worker's time, for bytes that are fewer by a third."""


class _App(faust.App):  # type: ignore[misc]
    """An app whose consumer and recovery are ours, without Faust's monitor, whose figures nobody reads here."""

    def _new_transport(self) -> Any:
        return Transport(self.conf.broker_consumer, self)

    def on_init_dependencies(self) -> Any:
        services = super().on_init_dependencies()
        self.sensors.remove(self.monitor)
        return services


def create_app(config: WorkerConfig, *, memory: Memory | None) -> faust.App:
    """The app: with tables and changelogs, or (given a memory) with state restored from it here and now.

    `app.progress` (`batches.Progress`) says how far its agents are, `app.lost` (an error or None) that it cannot go on,
    `app.numbers` (`numbers.Numbers`) what they have done, `app.capped()` which dimensions have more values than their
    cap (`caps.Capped` by name), `app.alarms` (`AlarmStep`) and `app.threads` (`ThreadStep`) are to be ticked every few
    seconds.

    Raises:
        InvalidRules: when the rules file cannot be used.
        UnreadableState: when the memory is a later release's.
    """
    app = _new_app(config)
    seen, alarms, remembered, counters = _state(app, config, memory)
    names, limits = config.topics, config.reject_limits
    app.progress = Progress()
    app.numbers = Numbers()
    app.lost = None
    app.topics_read = {names.events, names.counts, names.alarm_orders, names.inbound, names.outbound}
    counting = CountStep(
        _outlet(app, config, names.counts),
        seen,
        config.dimensions,
        Rejects("count", limits, time.monotonic),
        opening=lambda: Opening(config.open_hours, _hour()),
        numbers=app.numbers,
    )
    app.alarms = alarming = AlarmStep(
        Outlets(
            _keyed_sender(_topic(app, config, names.alarms)),
            _sender(_topic(app, config, names.dead_letters)),
            config.framing,
        ),
        counters,
        alarms,
        _rules(config),
        Rejects("alarm", limits, time.monotonic),
        now_ms=lambda: _now_us() // 1000,
        numbers=app.numbers,
    )
    rating = RateStep(
        Ways(
            _outlet(app, config, names.rates),
            _sender(_topic(app, config, names.recounts)),
            _sender(_topic(app, config, names.counts)),
        ),
        counters,
        Policy(config.retention_days, -(-config.dimension_cap // config.partitions)),
        Rejects("rate", limits, time.monotonic),
        now_us=_now_us,
        numbers=app.numbers,
        alarms=alarming,
    )
    ordered = OrdersStep(
        _outlet(app, config, names.alarm_orders),
        alarming,
        Rejects("orders", limits, time.monotonic),
        numbers=app.numbers,
    )
    app.threads = threading = ThreadStep(
        ThreadWays(
            _outlet(app, config, names.threads),
            _sender(_topic(app, config, names.events)),
            _sender(_topic(app, config, names.inbound)),
            _sender(_topic(app, config, names.outbound)),
        ),
        remembered,
        Keeping(config.outbound_days, config.thread_days),
        Rejects("thread", limits, time.monotonic),
        now_ms=lambda: _now_us() // 1000,
        numbers=app.numbers,
    )
    app.capped = rating.capped
    _attach(app, "count", _topic(app, config, names.events), counting, Pace(config.count_batch, COMPANY_S))
    _attach(
        app,
        "rate",
        _topic(app, config, names.counts),
        rating,
        Pace(config.rate_batch, COMPANY_S, config.coalesce_s),
    )
    _attach(app, "orders", _topic(app, config, names.alarm_orders), ordered, Pace(ORDERS, COMPANY_S))
    pace = Pace(config.thread_batch, COMPANY_S, config.thread_s)
    _attach(app, "thread", _topic(app, config, names.inbound), threading.mails, pace)
    _attach(app, "sent", _topic(app, config, names.outbound), threading.sent, pace)
    return app


def _attach(app: faust.App, name: str, topic: Any, step: Step, pace: Pace) -> None:
    """One agent, one instance: Faust commits past unfinished work of several (see `batches`)."""

    async def agent(stream: Any) -> None:
        await drive(stream, step, pace, app.progress)

    app.agent(topic, name=name, concurrency=1)(agent)


def _new_app(config: WorkerConfig) -> faust.App:
    rebalance = config.rebalance_timeout_s
    lz4_encode.__defaults__ = (LZ4_LEVEL,)
    return _App(
        config.group,
        version=1,
        broker=[f"kafka://{server.strip()}" for server in config.brokers.split(",")],
        broker_credentials=_credentials(config.security),
        datadir=str(config.data),
        store="memory://",
        topic_allow_declare=False,
        topic_partitions=config.partitions,
        topic_disable_leader=True,
        topic_replication_factor=config.replication,
        table_standby_replicas=0,
        processing_guarantee="at_least_once",
        agent_supervisor=mode.CrashingSupervisor,
        # Faust wants session <= rebalance < request.
        broker_session_timeout=min(60.0, max(rebalance, 6.0)),
        broker_rebalance_timeout=rebalance,
        broker_heartbeat_interval=min(3.0, rebalance / 3),
        broker_request_timeout=max(rebalance, 60.0) + 30.0,
        # Large polls keep a rebalance waiting until the last of their records is done.
        broker_max_poll_records=500,
        broker_commit_interval=config.commit_interval_s,
        broker_commit_every=2_000,
        consumer_group_instance_id=config.instance or None,
        consumer_auto_offset_reset="earliest",
        # Blocks of up to 256 KiB: a longer queue would hold too much.
        stream_buffer_maxsize=512,
        stream_wait_empty=True,
        # Batches of sends leave together anyway; waiting longer only delays the acks.
        producer_linger=0.002,
        producer_max_batch_size=config.batch_bytes,
        PartitionAssignor=Assignor,
        TableManager=Tables,
        producer_compression_type=None if config.compression == "none" else config.compression,
        producer_request_timeout=60.0,
        producer_max_request_size=config.max_request_bytes,
        consumer_max_fetch_size=max(config.max_request_bytes, 1 << 20),
        web_enabled=False,
        worker_redirect_stdouts=False,
    )


def _rules(config: WorkerConfig) -> RulesFile:
    try:
        return RulesFile(config.rules, config.dimensions, config.retention_days)
    except RulesError as error:
        raise InvalidRules(str(error)) from error


def _state(
    app: faust.App, config: WorkerConfig, memory: Memory | None
) -> tuple[SeenEvents, Alarms, ThreadMemory, Counters]:
    if memory is not None:
        return (
            PlainSeen(memory, config.open_hours, _hour),
            PlainAlarms(memory, config.partitions),
            restored(memory, config, _hour()),
            PlainCounters(memory, config.partitions, config.retention_days, _now_us()),
        )
    options = {"key_type": bytes, "value_type": bytes, "partitions": config.partitions}
    seen = app.tables.add(SeenTable(app, name=SEEN, **options)).configure(config.open_hours, _hour)
    counters = app.tables.add(CountersTable(app, name=COUNTERS, **options))
    alarms = app.tables.add(AlarmsTable(app, name=ALARMS, **options))
    threads = app.tables.add(ThreadsTable(app, name=THREADS, **options)).configure(apart=config.tenants_apart)
    return seen, alarms, threads, counters


def _hour() -> int:
    """The hour it is, since the epoch."""
    return time.time_ns() // (3600 * 1_000_000_000)


def _now_us() -> int:
    return time.time_ns() // 1000


def _topic(app: faust.App, config: WorkerConfig, name: str) -> Any:
    """Raw bytes: what does not decode must reach us, not kill Faust's own decoder after the ack."""
    return app.topic(
        name,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        partitions=config.partitions,
    )


def _outlet(app: faust.App, config: WorkerConfig, name: str) -> Outlet:
    return Outlet(
        send=_sender(_topic(app, config, name)),
        send_dead_letters=_sender(_topic(app, config, config.topics.dead_letters)),
        framing=config.framing,
        partitions=config.partitions,
    )


def _sender(topic: Any) -> Send:
    async def send(blocks: Sequence[tuple[int, bytes]]) -> None:
        # One after the other: a block that arrived without the one before it would set marks beyond deltas
        # that were never applied. There is seldom more than one.
        async def in_order(partition: int, values: Sequence[bytes]) -> None:
            for value in values:
                await (await topic.send(value=value, partition=partition))

        by_partition: dict[int, list[bytes]] = {}
        for partition, value in blocks:
            by_partition.setdefault(partition, []).append(value)
        await asyncio.gather(*(in_order(*chosen) for chosen in by_partition.items()))

    return send


def _keyed_sender(topic: Any) -> SendKeyed:
    async def send(records: Sequence[tuple[int, bytes, bytes]]) -> None:
        await asyncio.gather(
            *[
                await topic.send(key=key, value=value, partition=partition)
                for partition, key, value in records
            ]
        )

    return send


def _credentials(security: Security) -> Any:
    if security.protocol == "PLAINTEXT":
        return None
    context = None
    if security.protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=security.ca_file or None)
    if security.protocol == "SSL":
        return faust.SSLCredentials(context)
    credentials = faust.SASLCredentials(
        username=security.username,
        password=security.password,
        mechanism=security.mechanism or "PLAIN",
        ssl_context=context,
    )
    credentials.protocol = AuthProtocol(security.protocol)
    return credentials
