"""What `bridge`, `worker`, `sink` and `migrate` share."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from connectors.cli.context import settings_of, signals
from connectors.errors import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from connectors.settings import Settings


def logged(args: argparse.Namespace) -> Settings:
    """Settings, with logging to standard error set up."""
    level = logging.DEBUG if args.debug else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("kafka", "botocore", "boto3", "aiokafka", "faust", "mode"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
    for repeating in ("clickhouse_connect", "urllib3"):  # what they warn of, they raise as well
        logging.getLogger(repeating).setLevel(logging.DEBUG if args.debug else logging.ERROR)
    return settings_of(args)


def clickhouse_dsn(settings: Settings) -> str:
    """Where results go.

    Raises:
        SettingsError: when no server is named.
    """
    if not settings.clickhouse.dsn:
        raise SettingsError(
            "clickhouse.dsn is not set: name the server, as in clickhouse://user:password@host:8123/ses"
        )
    return settings.clickhouse.dsn


@contextmanager
def until_signalled() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set."""
    stop = threading.Event()
    with signals(stop.set):
        yield stop
