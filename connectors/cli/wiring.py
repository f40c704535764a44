"""How the parts are put together, alike for a production command and for a part of an embedded instance."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from connectors.attachments.opening import open_store
from connectors.aws import Access, s3_client
from connectors.bridge import Bridge, open_bridge
from connectors.errors import BrokerError, SettingsError, SourceError
from connectors.inbound.mailroom import Mailroom
from connectors.inbound.settings import policy_of as mail_policy
from connectors.kafka import Drain, Positions
from connectors.metrics.of_inbound import of_mailroom
from connectors.metrics.readings import of_bridge
from connectors.providers.tables import tables_of
from connectors.registry import SchemaRegistry
from connectors.sources.files import STDIN, Files
from connectors.sources.http import HttpSource
from connectors.sources.s3 import S3Prefix, split_uri
from connectors.sources.sqs import SqsSource
from pipelines.intake.intake import Intake
from pipelines.intake.policy import NormalisePolicy
from pipelines.worker.config import Security, WorkerConfig
from schemas.blocks import SINGLE_OBJECT, Confluent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from connectors.bridge import Entrance
    from connectors.metrics.readings import Sample
    from connectors.settings import Settings
    from connectors.sources import Source
    from connectors.sources.units import Origin
    from schemas.blocks import Framing

LOG: Final = logging.getLogger(__name__)
_POLL_S: Final = 0.1
_SOURCE_STOP_S: Final = 15.0


def policy_of(settings: Settings) -> NormalisePolicy:
    """How events are normalised; the same for all threads of a process, whatever becomes of the files it is from.

    Raises:
        SettingsError: when addresses are to be hashed and there is no key; or of the provider tables.
    """
    privacy = settings.privacy
    if privacy.pii == "hashed" and not privacy.pii_key:
        raise SettingsError(
            "privacy.pii_key is not set: give every bridge the same secret, or set privacy.pii to plain"
        )
    inbound = settings.inbound
    policy = NormalisePolicy(
        pii=privacy.pii,
        pii_key=privacy.pii_key.encode(),
        campaign_tag=settings.counting.campaign_tag,
        unknown_providers_report=settings.counting.unknown_providers_report,
        mail_objects=_place(inbound.objects) if inbound.objects else None,
        provider_tables=tables_of(settings.counting),
    )
    return replace(policy, outbound=mail_policy(inbound, policy)) if inbound.threads else policy


def _place(uri: str) -> tuple[str, str]:
    """Bucket and prefix of mails: as SES has it, a prefix ends where the id begins."""
    bucket, prefix = split_uri(uri)
    return bucket, f"{prefix.rstrip('/')}/" if prefix else ""


def mailroom_of(settings: Settings, data: Path | None) -> Mailroom:
    """What reads received mail for all sources of a process.

    Args:
        settings: `inbound`, and what of `privacy` and `counting` goes for events as well.
        data: of an embedded instance, which keeps attachments there unless another place is set.

    Raises:
        SettingsError: see `policy_of`.
        StoreError: when the directory of attachments cannot be used.
    """
    store = open_store(settings, data)
    for warning in store.warnings() if store else ():
        LOG.warning("attachments: %s", warning)
    policy = mail_policy(settings.inbound, policy_of(settings))
    return Mailroom(policy, store, memory=settings.inbound.memory_mb * 1024 * 1024)


def intake_of(settings: Settings) -> Intake:
    """An intake, for one thread.

    Raises:
        SettingsError: see `policy_of`.
    """
    return Intake(policy_of(settings))


def sources_of(
    settings: Settings, mailroom: Mailroom, *, drain_s: float = 10.0
) -> tuple[list[Source], HttpSource | None]:
    """The configured sources, and which of them is the HTTP endpoint."""
    policy = policy_of(settings)  # what is wrong with the settings is said now, not in a thread
    LOG.info("providers: table %s (every bridge must say the same)", policy.directory().fingerprint())

    def new_intake() -> Intake:
        return Intake(policy)

    http = HttpSource(settings.bridge.http, new_intake, mailroom) if settings.bridge.http.bind else None
    hosts = settings.bridge.http.sns_certificate_hosts
    queues: list[Source] = [
        SqsSource(
            queue,
            new_intake,
            mailroom,
            inbound=settings.inbound,
            certificate_hosts=hosts,
            drain_s=drain_s,
        )
        for queue in settings.bridge.queues
    ]
    return ([http, *queues] if http else queues), http


def origins_of(sources: Sequence[str], leave_out: Path) -> list[Origin]:
    """What a replay reads.

    Raises:
        SourceError: when a source is of no known kind or does not exist.
    """
    local = [source for source in sources if "://" not in source or source.startswith("file://")]
    local = [source.removeprefix("file://") for source in local]
    for path in local:
        if path != STDIN and not Path(path).exists():
            raise SourceError(
                f"there is no file or directory {path}: give files, directories or s3:// addresses"
            )
    origins: list[Origin] = [Files(local, [leave_out])] if local else []
    for source in sources:
        if source.startswith("s3://"):
            origins.append(S3Prefix(s3_client(Access()), *split_uri(source)))
        elif "://" in source and not source.startswith("file://"):
            raise SourceError(
                f"{source} is of no kind we can replay: give files, directories or s3:// addresses"
            )
    return origins


def absolute(sources: Sequence[str]) -> list[str]:
    """Sources as they are known wherever they are read, and under which their checkpoint is kept."""
    return [
        source if "://" in source or source == STDIN else str(Path(source).absolute()) for source in sources
    ]


def figures_of(bridge: Bridge | None, sources: Sequence[Source], mailroom: Mailroom) -> Iterator[Sample]:
    """What a bridge and its sources say of themselves; nothing while there is no bridge."""
    if bridge is not None:
        queues = [source for source in sources if isinstance(source, SqsSource)]
        yield from of_bridge(bridge, [(source.url, source.numbers) for source in queues])
        yield from of_mailroom(mailroom.numbers, [(source.url, source.lobby_numbers) for source in queues])


@contextmanager
def bridge_to(settings: Settings) -> Iterator[Bridge]:
    """A bridge, closed at the end."""
    bridge = open_bridge(settings, framing_of(settings))
    try:
        yield bridge
    finally:
        bridge.close()


class Running:
    """Sources that run, each in a thread."""

    def __init__(self, sources: Sequence[Source], bridge: Entrance) -> None:
        self._bridge = bridge
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        for source in sources:
            self.start(source)

    def start(self, source: Source) -> None:
        """One more."""
        thread = threading.Thread(target=self._run, args=(source,), name=source.name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, source: Source) -> None:
        try:
            source.run(self._bridge, self._stop)
        except BaseException as error:  # noqa: BLE001 - raised again by `check`, in the thread that waits
            self._errors.append(error)

    def check(self) -> None:
        """Raise what ended a source.

        Raises:
            UserError: that.
        """
        if self._errors:
            raise self._errors[0]

    def stop(self) -> None:
        """Stop them; raises nothing."""
        self._stop.set()
        deadline = time.monotonic() + _SOURCE_STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def flush(bridge: Entrance, give_up: Callable[[], bool]) -> bool:
    """Wait until everything submitted is safe; False when told to give up before.

    Raises:
        UserError: when the bridge is broken.
    """
    while not give_up():
        try:
            bridge.flush(1.0)
        except BrokerError:
            # Either it is broken, which `check` says, or one second was not enough.
            bridge.check()
            continue
        return True
    return False


def drain(
    settings: Settings, give_up: Callable[[], bool], remaining: Callable[[int], None] = lambda _: None
) -> bool:
    """Wait until all that Kafka has, and what follows from it, is in ClickHouse; False when told to give up.

    Args:
        settings: of the Kafka.
        give_up: asked several times a second.
        remaining: told how many records of the present stage are still to come.

    Raises:
        BrokerError: when Kafka does not answer.
    """
    positions = Positions(settings.kafka)
    try:
        waiting = Drain(positions)
        while not waiting.done():
            remaining(waiting.remaining)
            if give_up():
                return False
            time.sleep(_POLL_S)
        return True
    finally:
        positions.close()


def framing_of(settings: Settings) -> Framing:
    """How blocks name their schema: by a registry where one is set."""
    url = settings.kafka.schema_registry
    return Confluent(SchemaRegistry(url)) if url else SINGLE_OBJECT


def worker_config(settings: Settings, data: Path) -> WorkerConfig:
    """What the worker is told."""
    kafka = settings.kafka
    return WorkerConfig(
        brokers=kafka.brokers,
        partitions=kafka.partitions,
        data=data,
        security=Security(
            protocol=kafka.security_protocol,
            mechanism=kafka.sasl_mechanism,
            username=kafka.sasl_username,
            password=str(kafka.sasl_password),
        ),
        framing=framing_of(settings),
        dimensions=settings.counting.dimensions,
        dimension_cap=settings.counting.dimension_cap,
        open_hours=settings.counting.open_hours,
        retention_days=settings.counting.retention_days,
        tenants_apart=bool(settings.inbound.tenants),
        outbound_days=settings.inbound.outbound_days,
        thread_days=settings.inbound.thread_days,
        rules=Path(settings.alarms.rules) if settings.alarms.rules else None,
        replication=kafka.replication,
        compression=kafka.compression,
        rebalance_timeout_s=kafka.rebalance_timeout_ms / 1000,
    )
