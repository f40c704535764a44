"""`simulate`.

The events of a sender that does not exist, as files or sent to an endpoint, and what is true of them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.cli.progress import Progress
from connectors.errors import SettingsError
from connectors.simulator import send
from connectors.simulator.traffic import Traffic
from connectors.simulator.tree import Tree

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write files of every shape here, and truth.json"
    )
    parser.add_argument(
        "--http", metavar="URL", help="post to the HTTP endpoint of `up` or `bridge`, as Firehose does"
    )
    parser.add_argument(
        "--access-key", default="", help="what that endpoint wants as X-Amz-Firehose-Access-Key"
    )
    parser.add_argument(
        "--events", type=int, default=10_000, metavar="N", help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="the same seed gives the same sender"
    )
    parser.add_argument(
        "--now", type=int, metavar="SECONDS", help="when the last one is sent, epoch seconds (default: now)"
    )


def run(args: argparse.Namespace) -> int:
    """Write or send."""
    if bool(args.out) == bool(args.http):
        raise SettingsError("simulate wants either --out DIR or --http URL")
    if args.events < 1:
        raise SettingsError("simulate: --events wants a number above 0")
    now = args.now * 1000 if args.now is not None else int(time.time() * 1000)
    traffic = Traffic(args.seed, now, args.events)
    with Progress("simulating", args.events, "events") as progress:
        if args.out:
            truth = Tree(args.out, traffic).write(progress.at)
            print(
                f"{truth.events} events, {truth.copies} copies of them, {truth.mails.total()} mails that came back and "
                f"{truth.dead_letters} broken records in {args.out / 'events'}; "
                f"what is true of them is in {args.out / 'truth.json'}"
            )
        else:
            count = send.to_http(args.http, traffic, args.access_key, progress.at)
            print(f"{count} events sent to {args.http}")
    return 0
