"""`migrate`: ClickHouse's schema, and the topics, changelogs included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.cli.context import directory_of
from connectors.cli.production import clickhouse_dsn, logged

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "--grow",
        action="store_true",
        help="give topics that have fewer than kafka.partitions partitions so many; only while nothing runs, and "
        "`ses-streams rebuild rates` has to follow",
    )


def run(args: argparse.Namespace) -> int:
    """Bring both up to date; nothing that is there already is touched."""
    from connectors.cli.wiring import worker_config
    from connectors.clickhouse.client import open_client, shown
    from connectors.clickhouse.migrations import migrate
    from connectors.clickhouse.retention import retain
    from connectors.errors import BrokerError
    from connectors.kafka import ensure_topics
    from connectors.kafka_admin import grow
    from pipelines.worker.errors import WorkerError
    from pipelines.worker.topics import prepare

    settings = logged(args)
    dsn = clickhouse_dsn(settings)
    client = open_client(dsn, create=True)
    try:
        applied = migrate(client)
        kept = retain(client, settings.retention)
    finally:
        client.close()
    print(f"ClickHouse at {shown(dsn)}: {', '.join(applied) or 'nothing to apply'}")
    for each in kept:
        print(f"ClickHouse at {shown(dsn)}: {each}")
    if args.grow and (fewer := grow(settings.kafka)):
        print(
            f"Kafka at {settings.kafka.brokers}: {', '.join(fewer)} have {settings.kafka.partitions} partitions now;"
            " run `ses-streams rebuild rates` before the worker starts"
        )
        return 0
    ensure_topics(settings.kafka)
    try:
        prepare(worker_config(settings, directory_of(args).path), tables=True)
    except WorkerError as error:
        raise BrokerError(str(error)) from error
    print(f"Kafka at {settings.kafka.brokers}: topics and changelogs are there")
    return 0
