"""`sink`: results from Kafka to ClickHouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.cli.production import clickhouse_dsn, logged, until_signalled

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options: none of its own."""


def run(args: argparse.Namespace) -> int:
    """Write until stopped; what is gathered by then still lands."""
    from connectors.cli.wiring import framing_of
    from connectors.clickhouse.client import open_client
    from connectors.clickhouse.sink import Sink

    settings = logged(args)
    client = open_client(clickhouse_dsn(settings))
    try:
        with until_signalled() as stop:
            Sink(settings.kafka, client, framing=framing_of(settings)).run(stop)
    finally:
        client.close()
    return 0
