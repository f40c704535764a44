"""`report`: alarms, campaigns, regions, received mail, paths, rejections and notices at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.cli.clickhouse_at import target_of
from connectors.cli.context import at_least_one, settings_of

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "--campaigns", type=at_least_one, default=20, metavar="N", help="at the most (default: %(default)s)"
    )
    parser.add_argument(
        "--moved",
        type=float,
        default=10.0,
        metavar="POINTS",
        help="say when a region's share of sends moved by so many points (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Print it."""
    from connectors.reports import lint
    from connectors.reports.printable import printable_lines
    from connectors.reports.report import render, report
    from schemas.counters import TAG_PREFIX

    counting = settings_of(args).counting
    tags = [name.removeprefix(TAG_PREFIX) for name in counting.dimensions if name.startswith(TAG_PREFIX)]
    if counting.campaign_tag:
        tags.append(counting.campaign_tag)
    with target_of(args) as target:
        print(printable_lines(render(report(target, args.campaigns, args.moved))), end="")
        if found := lint.render(lint.lint_of(target, sorted(set(tags)))):
            print(f"\n{found}", end="")
    return 0
