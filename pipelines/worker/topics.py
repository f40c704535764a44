"""The topics a worker needs: those of the pipeline must be there, its own changelogs it creates."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from pipelines.worker.config import WorkerConfig, changelogs, rebuilding
from pipelines.worker.errors import BrokerUnreachable, TopicsError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CREATED_MS: Final = 30_000
"""Kafka creates topics in the background."""
CHANGELOG_CONFIG: Final = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.1",
    "segment.ms": "600000",
    "max.compaction.lag.ms": "600000",
}
"""Of the changelogs: compacted soon, for a restart reads them whole."""


def changelog_topics(group: str | None = None) -> dict[str, dict[str, str]]:
    """The changelog topics and their configuration, for whoever creates topics beforehand."""
    names = changelogs() if group is None else changelogs(group)
    return {name: dict(CHANGELOG_CONFIG) for name in names}


def prepare(config: WorkerConfig, *, tables: bool) -> None:
    """Look whether the topics are as they must be, and create missing changelogs.

    Raises:
        BrokerUnreachable: when Kafka does not answer, or refuses.
        TopicsError: when topics are missing or have other numbers of partitions.
    """
    names = config.topics
    wanted = [names.events, names.counts, names.recounts, names.rates, names.dead_letters]
    wanted += [names.alarms, names.alarm_orders, names.inbound, names.outbound, names.threads]
    own = list(changelogs(config.group)) if tables else []
    try:
        with _admin(config) as admin:
            found = _partitions(admin)
            _check(config, found, wanted)
            _check_state(config, found, own)
            missing = [name for name in own if name not in found]
            if missing:
                _create(admin, config, missing)
            _check(config, _partitions(admin) if missing else found, [name for name in own if name in found])
    except KafkaError as error:
        raise BrokerUnreachable(
            f"Kafka at {config.brokers} does not answer or refuses ({type(error).__name__}: {error}): check "
            "kafka.brokers, the security settings, and that the brokers run."
        ) from error


@contextlib.contextmanager
def _admin(config: WorkerConfig) -> Iterator[KafkaAdminClient]:
    security = config.security
    options: dict[str, Any] = {
        "security_protocol": security.protocol,
        "bootstrap_timeout_ms": int(config.connect_s * 1000),
    }
    if security.mechanism:
        options |= {
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": security.username,
            "sasl_plain_password": security.password,
        }
    if security.ca_file:
        options["ssl_cafile"] = security.ca_file
    admin = KafkaAdminClient(bootstrap_servers=config.brokers.split(","), **options)
    try:
        yield admin
    finally:
        admin.close()


def _partitions(admin: KafkaAdminClient) -> dict[str, int]:
    """Number of partitions of every topic."""
    return {entry["name"]: len(entry["partitions"]) for entry in admin.describe_topics()}


def _check(config: WorkerConfig, found: dict[str, int], wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise TopicsError(
            f"Kafka at {config.brokers} has no topic {', '.join(missing)}: run "
            "`ses-streams migrate`, which creates them."
        )
    wrong = [f"{name} has {found[name]}" for name in wanted if found[name] != config.partitions]
    if wrong:
        raise TopicsError(
            f"All topics must have {config.partitions} partitions (kafka.partitions), but "
            f"{', '.join(wrong)}: set kafka.partitions to what they have, or create them anew."
        )


def _check_state(config: WorkerConfig, found: dict[str, int], own: list[str]) -> None:
    wrong = [name for name in own if found.get(name, config.partitions) != config.partitions]
    if wrong or (own and rebuilding(config.group) in found):
        why = "have another number of partitions than the topics" if wrong else "were not written to the end"
        raise TopicsError(f"The changelogs of {config.group} {why}: run `ses-streams rebuild rates`.")


def _create(admin: KafkaAdminClient, config: WorkerConfig, names: list[str]) -> None:
    fresh = [
        NewTopic(
            name,
            num_partitions=config.partitions,
            replication_factor=config.replication,
            topic_configs=CHANGELOG_CONFIG,
        )
        for name in names
    ]
    # Another worker of the group may have been faster.
    with contextlib.suppress(TopicAlreadyExistsError):
        admin.create_topics(fresh)
    admin.wait_for_topics(names, timeout_ms=_CREATED_MS)
