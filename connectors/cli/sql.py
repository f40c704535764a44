"""`sql`: one reading query; prints the result and nothing else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from connectors.cli.clickhouse_at import target_of

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("query", help="such as SELECT * FROM campaign_health")
    parser.add_argument(
        "--format",
        default="",
        metavar="F",
        help="any of ClickHouse's (default: a table on a terminal, else TSV)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the query."""
    from connectors.clickhouse.sql import run_sql

    fmt = args.format or ("PrettyCompact" if sys.stdout.isatty() else "TSV")
    with target_of(args) as target:
        for piece in run_sql(args.query, fmt, target):
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return 0
