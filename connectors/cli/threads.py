"""`threads show`: a conversation, message by message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from connectors.cli.clickhouse_at import target_of
from connectors.cli.context import common_options

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    showing = actions.add_parser(
        "show", help="all messages of a thread, below those that they answer", parents=[common_options()]
    )
    showing.add_argument(
        "id",
        metavar="ID",
        help="a thread's id or its beginning, SES's id of a message, a Message-ID, or a mail's id",
    )
    showing.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="json: a line a thread (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Show it."""
    from connectors.reports.conversation import conversations
    from connectors.reports.conversation_text import plain, render

    with target_of(args) as target:
        found = conversations(target, args.id)
    if args.format == "json":
        for each in found:
            print(json.dumps(plain(each), ensure_ascii=False))
        return 0
    print("\n".join(render(each) for each in found), end="")
    return 0
