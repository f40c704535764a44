"""`dead-letters list|show`: records that could not be used, and why."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from connectors.cli.clickhouse_at import target_of
from connectors.cli.context import common_options

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the newest first", parents=[common_options()])
    listing.add_argument("--stage", default="", help="only of this stage: read, unwrap, parse, normalise, …")
    listing.add_argument("--cause", default="", help="only of this cause")
    listing.add_argument(
        "--limit", type=int, default=50, metavar="N", help="at the most (default: %(default)s)"
    )
    showing = actions.add_parser(
        "show", help="one, with what is kept of its bytes", parents=[common_options()]
    )
    showing.add_argument("id", help="from `list`, or its beginning")


def run(args: argparse.Namespace) -> int:
    """List or show."""
    from connectors.clickhouse.dead_letters import list_letters, show_letter

    with target_of(args) as target:
        if args.action == "list":
            for each in list_letters(target, stage=args.stage, cause=args.cause, limit=args.limit):
                print(
                    f"{each.dead_letter_id}  {each.time:%Y-%m-%d %H:%M:%S}  {each.stage}: {each.cause}"
                    f"  {each.source}"
                )
                print(f"    {each.detail}")
            return 0
        shown = show_letter(target, args.id)
    listed = shown.listed
    print(f"id      {listed.dead_letter_id}\ntime    {listed.time:%Y-%m-%d %H:%M:%S} UTC")
    print(f"stage   {listed.stage}\ncause   {listed.cause}\nsource  {listed.source}")
    print(
        f"detail  {shown.detail}\nbytes   {listed.payload_size}, of which {len(shown.payload)} are kept:\n",
        flush=True,
    )
    sys.stdout.buffer.write(shown.payload)
    print()
    return 0
