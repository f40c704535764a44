"""`postmaster fetch`: Google's own figures of the domains that send, into ClickHouse."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from connectors.cli.context import common_options, directory_of, is_production, notice, settings_of
from connectors.errors import InstanceError, SettingsError, SourceError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from connectors.postmaster.table import Table
    from connectors.settings import Settings

_LOCK_WAIT_S = 5.0
"""A `sql` that has ClickHouse open for a moment must not make us fail."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    fetching = actions.add_parser(
        "fetch", help="ask now; repeating it only corrects (for cron)", parents=[common_options()]
    )
    fetching.add_argument(
        "--days", type=int, metavar="N", help="days before today to ask for (default: postmaster.days)"
    )


def run(args: argparse.Namespace) -> int:
    """Ask once; prints what came of it."""
    from connectors.postmaster.client import Api
    from connectors.postmaster.daily import ask

    settings = settings_of(args)
    chosen = settings.postmaster
    if not chosen.credentials:
        raise SettingsError(
            "postmaster.credentials is not set: name the key file of a Google service account (docs/postmaster.md)"
        )
    if args.days is not None:
        if args.days not in range(1, 121):
            raise SettingsError("--days wants a number from 1 to 120: Google keeps no more")
        chosen = msgspec.structs.replace(chosen, days=args.days)
    api = Api(chosen)
    with _table(args, settings) as table:
        outcome = ask(api, table, chosen, datetime.now(UTC), notice)
    written = outcome.written
    print(
        f"domains={outcome.domains} refused={outcome.refused} figures={written.figures} new={written.new} "
        f"corrected={written.corrected}"
    )
    if outcome.refused == outcome.domains and not written.figures:
        raise SourceError("Postmaster Tools refuses every domain: see what is said of each above")
    return 0


def start_daily(settings: Settings, stop: threading.Event) -> None:
    """Ask once a day in a thread of this process, which holds ClickHouse; a bad key file is told at once.

    Raises:
        SettingsError: the key file cannot be used.
        ClickHouseError: the database is not migrated.
    """
    from connectors.clickhouse.client import open_client
    from connectors.postmaster.client import Api
    from connectors.postmaster.daily import run_daily
    from connectors.postmaster.table import Table

    def connect() -> Api:
        return Api(settings.postmaster, pause=stop.wait)

    connect()
    dsn = settings.clickhouse.dsn
    table = Table(open_client(dsn), dsn)
    threading.Thread(
        target=run_daily, args=(connect, table, settings.postmaster, stop), name="postmaster", daemon=True
    ).start()


@contextmanager
def _table(args: argparse.Namespace, settings: Settings) -> Iterator[Table]:
    """Where figures go: a server, or the data directory while nothing else runs on it."""
    if is_production(settings):
        with _opened(settings.clickhouse.dsn) as table:
            yield table
        return
    directory = directory_of(args)
    if directory.running():
        raise InstanceError(
            f"an instance runs in {directory.path} and has its ClickHouse open: stop it first (`ses-streams up` asks "
            "once a day by itself)"
        )
    with (
        directory.hold(_LOCK_WAIT_S),
        _opened(settings.clickhouse.dsn or directory.dsn, migrated=False) as table,
    ):
        yield table


@contextmanager
def _opened(dsn: str, *, migrated: bool = True) -> Iterator[Table]:
    from connectors.clickhouse.client import data_path, open_client
    from connectors.clickhouse.migrations import migrate
    from connectors.postmaster.table import Table

    if not migrated:
        data_path(dsn).mkdir(parents=True, exist_ok=True, mode=0o700)
    client = open_client(dsn, create=not migrated)
    try:
        if not migrated:
            migrate(client)
        yield Table(client, dsn)
    finally:
        client.close()
