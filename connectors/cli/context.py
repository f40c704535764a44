"""What the commands share: options, settings, the data directory, and how they speak to people."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from connectors.embedded.directory import DEFAULT, DataDirectory
from connectors.errors import SettingsError
from connectors.reports.printable import printable_lines
from connectors.settings import Kafka, Secret, Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_EMBEDDED_PARTITIONS: Final = 2
_EMBEDDED_REBALANCE_MS: Final = 3000
"""The embedded broker lets a group form only after half of it."""


def say(sentence: str) -> None:
    """For people: on standard error, since standard output is for results. Strangers' words stay text."""
    print(printable_lines(sentence), file=sys.stderr, flush=True)


def notice(sentence: str) -> None:
    """Likewise, with our name before it, as errors have it."""
    say(f"ses-streams: {sentence}")


def at_least_one(text: str) -> int:
    """How many of something an option asks for."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def common_options() -> argparse.ArgumentParser:
    """Options of every command."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (TOML); the environment goes over it"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=DEFAULT,
        metavar="DIR",
        help="where an embedded instance keeps everything (default: %(default)s)",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks, and what the parts log")
    return parser


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings a command runs with.

    Raises:
        SettingsError: when they are not sound.
    """
    return load(args.config, os.environ)


def directory_of(args: argparse.Namespace) -> DataDirectory:
    """The data directory a command works on."""
    return DataDirectory(args.data)


def is_production(settings: Settings) -> bool:
    """Whether the settings name a Kafka and a ClickHouse of the user's own.

    Raises:
        SettingsError: when they name a Kafka, but nowhere for the results.
    """
    if settings.clickhouse.dsn:
        return not settings.clickhouse.dsn.startswith("chdb:")
    if settings.kafka.brokers != Kafka().brokers:
        raise SettingsError(
            "kafka.brokers is set but clickhouse.dsn is not: set both for a real Kafka and ClickHouse, "
            "or neither"
        )
    return False


def embedded(settings: Settings, directory: DataDirectory) -> Settings:
    """The settings of an embedded instance.

    Small topics, sources acknowledged once their events have landed.
    """
    kafka = msgspec.structs.replace(
        settings.kafka,
        partitions=_EMBEDDED_PARTITIONS,
        replication=1,
        rebalance_timeout_ms=_EMBEDDED_REBALANCE_MS,
        schema_registry="",
        security_protocol="PLAINTEXT",
        sasl_mechanism="",
    )
    dsn = settings.clickhouse.dsn or Secret(directory.dsn)
    key = settings.privacy.pii_key or Secret(directory.pii_key())
    return msgspec.structs.replace(
        settings,
        kafka=kafka,
        clickhouse=msgspec.structs.replace(settings.clickhouse, dsn=dsn),
        privacy=msgspec.structs.replace(settings.privacy, pii_key=key),
        bridge=msgspec.structs.replace(settings.bridge, acknowledge="landed"),
    )


@contextmanager
def signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on Ctrl-C and SIGTERM, each time they come, instead of dying of them."""
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda *_: stop()) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
