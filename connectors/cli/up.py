"""`up`: everything on this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from connectors.cli.context import directory_of, settings_of
from connectors.cli.instance import Quiet, held, refuse_production, run_until_stopped, supervise, with_http

if TYPE_CHECKING:
    import argparse

    from connectors.embedded.directory import DataDirectory, Endpoints
    from connectors.settings import Settings

_BANNER = """\
SES Streams is up after {seconds:.1f} s: one machine, embedded parts.
That is for evaluation, development and small senders. For more, set kafka.brokers and clickhouse.dsn
(SES_STREAMS_KAFKA__BROKERS, SES_STREAMS_CLICKHOUSE__DSN) to a Kafka and a ClickHouse of your own, and run
`ses-streams migrate`, then `bridge`, `worker` and `sink`.

  data          {data}
  Firehose      {http}/firehose
  SNS           {http}/sns
{queues}  ask           ses-streams sql "SELECT * FROM campaign_health" --data {data}
  glance        ses-streams report --data {data}
  Kafka         {broker} (in memory)

Ctrl-C stops it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "--http", metavar="HOST:PORT", help="where Firehose and SNS may post to (default: 127.0.0.1:8425)"
    )


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C or SIGTERM."""
    settings = settings_of(args)
    refuse_production(settings, "up")
    directory = directory_of(args)
    with held(directory, settings) as complete:
        final = with_http(complete, args.http)
        tasks = {"postmaster": bool(final.postmaster.credentials)}
        run_until_stopped(supervise(directory, final, Banner(directory, final), tasks))
    return 0


class Banner(Quiet):
    """Says where everything is, once it is up."""

    def __init__(self, directory: DataDirectory, settings: Settings) -> None:
        self._directory = directory
        self._settings = settings
        self._began = time.monotonic()
        self._said = False

    def up(self, endpoints: Endpoints) -> None:
        """The first generation gets the whole text, later ones a line."""
        if self._said:
            self.notice(f"up again (Kafka at {endpoints.broker})")
            return
        self._said = True
        print(banner(self._directory, self._settings, endpoints, time.monotonic() - self._began), flush=True)


def banner(directory: DataDirectory, settings: Settings, endpoints: Endpoints, seconds: float) -> str:
    """What a person sees first."""
    queues = "".join(f"  queue         {queue.url}\n" for queue in settings.bridge.queues)
    return _BANNER.format(
        seconds=seconds, data=directory.path, http=endpoints.http, queues=queues, broker=endpoints.broker
    )
