"""`resume`: end a pause before it expires."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.cli.context import settings_of
from connectors.cli.pause import by_hand, operator_of, whom

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "target", metavar="TARGET", help="configuration_set:NAME or tenant:NAME, from `pause --list`"
    )
    whom(parser)


def run(args: argparse.Namespace) -> int:
    """Do it."""
    from connectors.response.targets import Target

    target = Target.of(args.target)
    with by_hand(args, settings_of(args)) as hand:
        row = hand.resume(target, args.reason or "by hand", operator_of(args))
    print(f"{target}: {row['detail']}" if row["outcome"] == "skipped" else f"{target} is resumed")
    return 0
