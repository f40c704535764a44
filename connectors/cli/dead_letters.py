"""`dead-letters list|show`: records that could not be used, and why."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from connectors.cli.clickhouse_at import target_of
from connectors.cli.context import at_least_one, common_options, say
from connectors.reports.printable import printable, printable_lines

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the newest first", parents=[common_options()])
    listing.add_argument("--stage", default="", help="only of this stage: read, unwrap, parse, normalise, …")
    listing.add_argument("--cause", default="", help="only of this cause")
    listing.add_argument(
        "--limit", type=at_least_one, default=50, metavar="N", help="at the most (default: %(default)s)"
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
            found = list_letters(target, stage=args.stage, cause=args.cause, limit=args.limit)
            for each in found:
                print(
                    f"{each.dead_letter_id}  {each.time:%Y-%m-%d %H:%M:%S}  {each.stage}: {each.cause}"
                    f"  {printable(each.source)}"
                )
                print(f"    {printable(each.detail)}")
            if not found:
                say(
                    "there are none"
                    if not args.stage + args.cause
                    else "there are none of that stage and cause"
                )
            return 0
        shown = show_letter(target, args.id)
    listed = shown.listed
    print(f"id      {listed.dead_letter_id}\ntime    {listed.time:%Y-%m-%d %H:%M:%S} UTC")
    print(f"stage   {listed.stage}\ncause   {listed.cause}\nsource  {printable(listed.source)}")
    print(f"detail  {printable_lines(shown.detail)}")
    print(
        f"bytes   {listed.payload_size}, of which {len(shown.payload)} are kept:\n",
        flush=True,
    )
    sys.stdout.buffer.write(shown.payload)
    print()
    return 0
