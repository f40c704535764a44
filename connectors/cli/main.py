"""`ses-streams`: reads the command, runs it, and says in one sentence what went wrong."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
import traceback
from importlib import import_module, metadata
from typing import Final

from connectors.cli.context import common_options, notice
from connectors.errors import InstanceError, UserError

COMMANDS: Final = (
    ("up", "up", "run everything on this machine: for evaluation, development and small senders"),
    ("demo", "demo", "run everything, fed by a simulated sender whose truth is known"),
    ("replay", "replay", "read events from files, directories and s3:// prefixes"),
    ("simulate", "simulate", "write or send the events of a simulated sender"),
    ("bridge", "bridge", "read the configured sources into Kafka"),
    ("worker", "worker", "count: the Faust application"),
    ("sink", "sink", "write results from Kafka to ClickHouse"),
    ("notify", "notify", "deliver alarms: to Alertmanager, PagerDuty, Slack, SNS, e-mail, webhooks"),
    ("pause", "pause", "stop a configuration set or a tenant from sending, for a while"),
    ("resume", "resume", "end a pause before it expires"),
    ("migrate", "migrate", "bring ClickHouse to the newest schema and create the topics"),
    (
        "rebuild",
        "rebuild",
        "compute rates, and the worker's state, anew from the events in ClickHouse",
    ),
    ("postmaster", "postmaster", "fetch Google Postmaster Tools' figures into ClickHouse"),
    ("sql", "sql", "ask ClickHouse (read-only)"),
    ("report", "report", "campaigns, regions, received mail, rejections and notices at a glance"),
    ("threads", "threads", "a conversation: which messages answer which, and of what campaign"),
    ("alarms", "alarms", "what is wrong now, the rules in force, and orders: ack, silence, reset"),
    ("reconcile", "reconcile", "which path (sns, eventbridge, firehose, file) missed which events"),
    ("attachment", "attachment", "a link to an attachment by its hash, or the file, and which mails have it"),
    ("dead-letters", "dead_letters", "list or show rejected records"),
    ("providers", "providers", "whose a recipient domain is, and whether complaints from there reach SES"),
)
"""Name, module here, and what it does. A module has `configure(parser)` and `run(args) -> int`."""

_INTERRUPTED: Final = 130
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_A_PERSON_CURES: Final = _FULL | {
    *(errno.EACCES, errno.EROFS, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
}


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="ses-streams", description="Amazon SES events to per-campaign complaint rates in ClickHouse."
    )
    top.add_argument("--version", action="version", version=f"ses-streams {metadata.version('ses-streams')}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module, summary in COMMANDS:
        command = commands.add_parser(name, help=summary, description=summary, parents=[common_options()])
        loaded = import_module(f"connectors.cli.{module}")
        loaded.configure(command)
        command.set_defaults(run=loaded.run)
    return top


def main() -> None:
    """The console entry. Exits 0 when all is well, else with the error's code."""
    args = parser().parse_args()
    for library in ("boto3", "botocore", "clickhouse_connect", "kafka", "urllib3"):
        # Without a handler their warnings would stand on standard error before our sentence.
        logging.getLogger(library).addHandler(logging.NullHandler())
    try:
        code = int(args.run(args))
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BrokenPipeError:
        # A reader that goes away (`… | head`) is no error of ours; nor may closing the stream find it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except UserError as error:
        code = _explain(args, error, error)
    except OSError as error:
        if error.errno not in _A_PERSON_CURES:
            raise
        code = _explain(args, error, _of_the_system(error))
    sys.exit(code)


def _explain(args: argparse.Namespace, cause: BaseException, error: UserError) -> int:
    if args.debug:
        traceback.print_exception(cause)
    notice(" ".join(str(error).split()))
    return error.exit_code


def _of_the_system(error: OSError) -> UserError:
    reason = (error.strerror or os.strerror(error.errno or 0)).lower()
    where = f" ({error.filename})" if error.filename else ""
    cure = "free some space" if error.errno in _FULL else "check what it is, and its permissions"
    return InstanceError(f"{reason}{where}: {cure}, or choose another place")


if __name__ == "__main__":
    main()
