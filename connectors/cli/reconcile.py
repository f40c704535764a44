"""`reconcile`: which path lost what."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from connectors.cli.clickhouse_at import target_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.clickhouse.sql import Target


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.epilog = (
        "What one path brought and another should have brought too is missing there. Exits with 1 when more is missing"
        " than --tolerance allows."
    )
    parser.add_argument(
        "--from",
        dest="since",
        type=_moment,
        metavar="TIME",
        help="first cohort hour, such as 2026-11-01 or 2026-11-01T14:00 (UTC; default: 7 days before --to)",
    )
    parser.add_argument(
        "--to",
        dest="until",
        type=_moment,
        metavar="TIME",
        help="the hour after the last one (default: all there are)",
    )
    parser.add_argument("--missing", default="", metavar="PATH", help="list the events that this path missed")
    parser.add_argument(
        "--tolerance",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="of what the other path brought, that may be missing over the whole range: 0.001 is one in a thousand"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        default=50,
        metavar="N",
        help="hours and kinds listed at the most (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        default="",
        metavar="F",
        help="the rows in any of ClickHouse's formats (default: text for people)",
    )


def run(args: argparse.Namespace) -> int:
    """Compare; 0 when the paths agree, 1 when something is missing."""
    from connectors.reports.reconcile import agree, hours, missing_sql, paths, reconcile, render, rows_sql

    with target_of(args) as target:
        if args.missing:
            _known(args.missing, paths(target))
        asked = hours(target, args.since, args.until)
        found = reconcile(target, asked, args.missing, args.limit)
        if args.missing:
            _print(missing_sql(asked, args.missing), args.format or _default(), target)
        elif args.format:
            _print(rows_sql(asked), args.format, target)
        else:
            print(render(found), end="")
    return 0 if agree(found, args.tolerance) else 1


def _known(path: str, names: Sequence[str]) -> None:
    from connectors.errors import ClickHouseError

    if path not in names:
        raise ClickHouseError(
            f"no event ever came by a path {path}: name one of those there are ({', '.join(names) or 'none yet'})"
        )


def _print(query: str, fmt: str, target: Target) -> None:
    from connectors.clickhouse.sql import run_sql

    for piece in run_sql(query, fmt, target):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _default() -> str:
    return "PrettyCompact" if sys.stdout.isatty() else "TSVWithNames"


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 2026-11-01 or 2026-11-01T14:00"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share: write a number from 0 to 1")
    return share
