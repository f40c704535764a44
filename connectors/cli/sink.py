"""`sink`: results from Kafka to ClickHouse; recounts of closed hours, and what drives alarms, back."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from connectors.cli.production import clickhouse_dsn, logged, until_signalled

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from connectors.metrics.readings import Sample


def configure(parser: argparse.ArgumentParser) -> None:
    """Options: none of its own."""


def run(args: argparse.Namespace) -> int:
    """Write until stopped; what is gathered by then still lands."""
    from connectors.alarms.explainer import Explainer
    from connectors.cli.beside import beside
    from connectors.cli.wiring import framing_of
    from connectors.clickhouse import answers
    from connectors.clickhouse.client import is_embedded, open_client
    from connectors.clickhouse.recounter import Recounter
    from connectors.clickhouse.sink import Sink
    from connectors.metrics.readings import of_explainer, of_recounter, of_sink
    from connectors.metrics.serving import serving

    settings = logged(args)
    dsn = clickhouse_dsn(settings)
    client = open_client(dsn)
    framing = framing_of(settings)
    recounter = Recounter(settings.kafka, lambda: answers.connect(dsn), framing=framing)
    explainer = Explainer(settings.kafka, lambda: open_client(dsn), framing=framing)
    sink = Sink(settings.kafka, client, framing=framing)

    def read() -> Iterator[Sample]:
        yield from of_sink(sink.numbers)
        yield from of_recounter(recounter.numbers)
        yield from of_explainer(explainer.numbers)

    try:
        with (
            until_signalled() as stop,
            serving(settings.metrics.bind, read),
            beside(recounter, stop, "recounter"),
            beside(explainer, stop, "explainer"),
        ):
            sink.run(stop)
    finally:
        client.close()
    if is_embedded(dsn):
        # A query that the stop did not wait for may still run in chdb, which the interpreter's end would crash.
        logging.shutdown()
        os._exit(0)
    return 0
