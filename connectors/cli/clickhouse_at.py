"""Where a reading command finds ClickHouse: a server, the door of a running instance, or chdb's files."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from connectors.cli.context import directory_of, is_production, settings_of
from connectors.errors import ClickHouseError, InstanceError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from connectors.clickhouse.sql import Target
    from connectors.embedded.directory import DataDirectory

_PATIENCE_S: Final = 30.0
"""An instance that is just starting opens its door within that."""
_POLL_S: Final = 0.1


@contextmanager
def target_of(args: argparse.Namespace) -> Iterator[Target]:
    """The target, for as long as it is used.

    Raises:
        UserError: when there is none, or it cannot be reached.
    """
    settings = settings_of(args)
    if is_production(settings):
        yield settings.clickhouse.dsn
        return
    directory = directory_of(args)
    dsn = settings.clickhouse.dsn or directory.dsn
    if not directory.clickhouse.exists() and not settings.clickhouse.dsn and not directory.held():
        raise ClickHouseError(
            f"there is no data in {directory.path} yet: run `ses-streams up` or `replay` first"
        )
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        if through := through_door(directory):
            yield through
            return
        holding = directory.hold()
        try:
            holding.__enter__()
        except InstanceError:
            # Someone starts, stops, or has chdb open as we would.
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
            continue
        try:
            with _kept_open(dsn):
                yield dsn
        finally:
            holding.__exit__(None, None, None)
        return


@contextmanager
def _kept_open(dsn: str) -> Iterator[None]:
    """Hold files of chdb open: it stops with its last client, and takes longer to start than most queries take."""
    from connectors.clickhouse.client import data_path, open_client

    path = data_path(dsn)
    if not path.is_dir() or not any(path.iterdir()):
        yield
        return
    with closing(open_client(dsn)):
        yield


def through_door(directory: DataDirectory) -> Target | None:
    """The door of the instance that runs in a directory."""
    from connectors.clickhouse.sql import Through

    endpoints = directory.running()
    return Through(endpoints.door, endpoints.token) if endpoints else None
