"""`report`: campaigns, paths and rejections at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.cli.clickhouse_at import target_of

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "--campaigns", type=int, default=20, metavar="N", help="at the most (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from connectors.clickhouse.report import render, report

    with target_of(args) as target:
        print(render(report(target, args.campaigns)), end="")
    return 0
