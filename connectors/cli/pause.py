"""`pause`: stop what is sent with a configuration set, or for a tenant, for a while; and see what is stopped."""

from __future__ import annotations

import getpass
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import msgspec

from connectors.cli.context import directory_of, embedded, is_production, notice, settings_of
from connectors.errors import InstanceError, SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from connectors.clickhouse.sql import Target
    from connectors.response.by_hand import ByHand
    from connectors.response.ledger import Pause
    from connectors.settings import Kafka, Settings
    from schemas.alarms import AlarmAction
    from schemas.blocks import Framing


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "target", nargs="?", metavar="TARGET", help="configuration_set:NAME or tenant:NAME; never the account"
    )
    parser.add_argument(
        "--list", action="store_true", help="print what is paused at present, and change nothing"
    )
    parser.add_argument(
        "--for",
        dest="span",
        metavar="SPAN",
        help="such as 30m, 6h, 2d; then sending resumes by itself (default: response.expires_h)",
    )
    whom(parser)


def whom(parser: argparse.ArgumentParser) -> None:
    """Options that `resume` has as well."""
    parser.add_argument("--reason", default="", metavar="TEXT", help="kept with it")
    parser.add_argument("--by", default="", metavar="NAME", help="who does it (default: your login name)")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    from connectors.alarms.orders import span_ms
    from connectors.alarms.tables import moment
    from connectors.response.targets import Target

    settings = settings_of(args)
    if args.list:
        return _list(args, settings)
    if args.target is None:
        raise SettingsError("name what to pause, configuration_set:NAME or tenant:NAME; or give --list")
    target = Target.of(args.target)
    span = span_ms(args.span) if args.span else round(settings.response.expires_h * 3_600_000)
    with by_hand(args, settings) as hand:
        row = hand.pause(target, span, args.reason or "by hand", operator_of(args))
    print(f"{target} is paused until {moment(row['expires_time'])} UTC")
    notice("it resumes by itself then if a `notify` runs (`up` has one); before: `ses-streams resume`")
    return 0


@contextmanager
def by_hand(args: argparse.Namespace, settings: Settings) -> Iterator[ByHand]:
    """What pauses and resumes, and knows what was done before.

    Raises:
        UserError: Kafka or ClickHouse does not answer, or no instance runs.
    """
    from connectors.notify.actions import ActionLog
    from connectors.response.by_hand import ByHand
    from connectors.response.ses import Ses
    from connectors.response.topics import Recorder

    kafka, framing = _kafka(args, settings)
    with (
        _memory(args, settings) as memory,
        closing(ActionLog(kafka, framing)) as log,
        closing(Ses(settings.response)) as ses,
    ):
        yield ByHand(ses, Recorder(log, memory), _past(kafka, framing, memory))


def operator_of(args: argparse.Namespace) -> str:
    """Who does it."""
    try:
        return str(args.by or getpass.getuser())
    except (KeyError, OSError):
        # A container's user may have no name.
        return "unknown"


def _list(args: argparse.Namespace, settings: Settings) -> int:
    from connectors.alarms.tables import aligned, moment
    from connectors.response.by_hand import ledger_of, whose

    with _memory(args, settings) as memory:
        found = ledger_of(_past(*_kafka(args, settings), memory)).open()
    if not found:
        notice("nothing is paused by ses-streams")
        return 0
    rows = [("target", "since (UTC)", "until (UTC)", "by", "why")]
    for each in found:
        since, until = moment(each.row["time"]), moment(each.row["expires_time"])
        rows.append((str(each.target), since, until, whose(each), _why(each, time.time() * 1000)))
    print(aligned(rows))
    return 0


def _why(pause: Pause, now_ms: float) -> str:
    marks = "" if pause.certain else " (not known whether SES has done it)"
    if pause.row["expires_time"] <= now_ms:
        marks += " (has expired: is a `notify` running?)"
    if pause.resume is not None:
        marks += f" (to be resumed, but: {pause.resume['detail']})"
    return pause.row["detail"] + marks


def _kafka(args: argparse.Namespace, settings: Settings) -> tuple[Kafka, Framing]:
    """Where actions are recorded: the Kafka of the settings, or of the instance that runs on DIR.

    Raises:
        InstanceError: none runs.
    """
    from connectors.cli.wiring import framing_of

    if is_production(settings):
        return settings.kafka, framing_of(settings)
    directory = directory_of(args)
    endpoints = directory.running()
    if endpoints is None:
        raise InstanceError(
            f"no ses-streams runs in {directory.path}, and what is done is recorded by one: start `ses-streams up`"
        )
    of_instance = embedded(settings, directory)
    return msgspec.structs.replace(of_instance.kafka, brokers=endpoints.broker), framing_of(of_instance)


@contextmanager
def _memory(args: argparse.Namespace, settings: Settings) -> Iterator[Target | None]:
    """Of an instance its ClickHouse, for its Kafka forgets."""
    from connectors.cli.clickhouse_at import target_of

    if is_production(settings):
        yield None
        return
    with target_of(args) as target:
        yield target


def _past(kafka: Kafka, framing: Framing, memory: Target | None) -> list[AlarmAction]:
    """What was done."""
    from connectors.response.by_hand import past_of
    from connectors.response.view import actions

    return past_of(kafka, framing) + (actions(memory) if memory else [])
