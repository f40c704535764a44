"""`rebuild`: rates, and what the worker remembers of them, computed anew from the events in ClickHouse."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from connectors.cli.clickhouse_at import through_door
from connectors.cli.context import directory_of, is_production, notice, settings_of
from connectors.cli.instance import held
from connectors.cli.production import until_signalled
from connectors.cli.progress import Progress
from connectors.errors import ClickHouseError, InstanceError, SettingsError
from connectors.settings import Kafka

if TYPE_CHECKING:
    import argparse

    from connectors.clickhouse.repair import Repaired
    from connectors.embedded.directory import DataDirectory
    from connectors.settings import Settings

_INTERRUPTED: Final = 130
_POLL_S: Final = 1.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("what", choices=["rates"], help="what to rebuild")
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="replayed first, whole: a file, a directory or s3://bucket/prefix",
    )


def run(args: argparse.Namespace) -> int:
    """Rebuild, where the settings say or on DIR; nobody may be counting there meanwhile."""
    from connectors.cli import wiring

    settings = settings_of(args)
    directory = directory_of(args)
    sources = wiring.absolute(args.sources)
    wiring.origins_of(sources, directory.path)  # what does not exist is said before anything starts
    # A chdb beside a Kafka is no embedded instance: production commands run on it.
    with_kafka = bool(settings.clickhouse.dsn) and settings.kafka.brokers != Kafka().brokers
    if is_production(settings) or with_kafka:
        return _production(settings, directory, sources)
    return _embedded(settings, directory, sources)


def _embedded(settings: Settings, directory: DataDirectory, sources: list[str]) -> int:
    from connectors.clickhouse.client import open_client
    from connectors.clickhouse.migrations import migrate
    from connectors.clickhouse.repair import repair

    if through_door(directory):
        raise InstanceError(f"an instance runs on {directory.path}: stop it, then rebuild")
    if sources and (code := _replay(settings, directory, sources)):
        return code
    if not directory.clickhouse.exists() and not settings.clickhouse.dsn:
        raise ClickHouseError(
            f"there is no data in {directory.path} yet: run `ses-streams up` or `replay` first"
        )
    with held(directory, settings) as complete, Progress("recounting", 0, "hours") as progress:
        client = open_client(complete.clickhouse.dsn, create=True)
        try:
            migrate(client)
            repaired = repair(
                client,
                time.time_ns() // 1000,
                everything=True,
                dimensions=complete.counting.dimensions,
                progress=progress.at,
            )
        finally:
            client.close()
    _say(repaired)
    return 0


def _production(settings: Settings, directory: DataDirectory, sources: list[str]) -> int:
    from connectors.cli.production import clickhouse_dsn
    from connectors.cli.wiring import worker_config
    from connectors.rebuilding import rebuild

    dsn = clickhouse_dsn(settings)
    if sources and not is_production(settings):
        raise SettingsError(
            "clickhouse.dsn names a chdb beside a Kafka: replay first, then rebuild without SOURCE"
        )
    if sources and ((code := _replay(settings, directory, sources)) or (code := _until_stopped(settings))):
        return code
    with Progress("rebuilding", 0, "hours") as progress:
        repaired = rebuild(settings, worker_config(settings, directory.path), dsn, progress.at)
    _say(repaired)
    return 0


def _replay(settings: Settings, directory: DataDirectory, sources: list[str]) -> int:
    """All of the sources, whatever an interrupted replay had read of them."""
    from connectors.cli import replay
    from connectors.sources.checkpoint import Checkpoint

    Checkpoint(directory.path / "replay", sources).clear()
    return replay.replay(settings, directory, sources, once=True)


def _until_stopped(settings: Settings) -> int:
    """Wait until worker and sink, which the replay needed, are gone."""
    from connectors.kafka_admin import admin_of

    with until_signalled() as stop, admin_of(settings.kafka) as admin:
        told = False
        while working := admin.working():
            if not told:
                notice(
                    f"all of it is in ClickHouse; stop the {' and the '.join(working)} now: waiting for that"
                )
                told = True
            if stop.wait(_POLL_S):
                return _INTERRUPTED
    return 0


def _say(repaired: Repaired) -> None:
    print(f"recounted={repaired.looked_at} corrected={repaired.rows}", flush=True)
