"""`alarms check|list|show|ack|silence|unsilence|reset`: the rules in force, what is wrong now, and orders about it."""

from __future__ import annotations

import getpass
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from connectors.cli.clickhouse_at import target_of
from connectors.cli.context import (
    common_options,
    directory_of,
    embedded,
    is_production,
    notice,
    settings_of,
)
from connectors.errors import BrokerError, ClickHouseError, InstanceError, SettingsError
from connectors.reports.printable import printable_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from connectors.alarms.current import Current
    from connectors.clickhouse.sql import Target
    from connectors.settings import Kafka, Settings
    from schemas.alarms import Alarm, AlarmOrder
    from schemas.blocks import Framing

_WAIT_S: Final = 30.0
_NOT_DONE: Final = 1
_SILENCE: Final = "4h"


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    common = [common_options()]
    checking = actions.add_parser("check", help="are the rules valid, and which are in force", parents=common)
    checking.add_argument(
        "file", nargs="?", type=Path, help="a rules file (default: alarms.rules of the settings)"
    )
    listing = actions.add_parser("list", help="alarms that are open", parents=common)
    listing.add_argument("--all", action="store_true", help="those that are over as well")
    showing = actions.add_parser("show", help="all that happened to one, with its evidence", parents=common)
    showing.add_argument("key", metavar="KEY", help="from `alarms list`")
    for name, does in (
        ("ack", "say that you are on it: its incident pages no more"),
        ("silence", "let nothing be delivered of it for a while"),
        ("unsilence", "let it be delivered again"),
        ("reset", "end its incident; what was before counts no more"),
    ):
        order = actions.add_parser(name, help=does, parents=common)
        order.add_argument("key", metavar="KEY", help="from `alarms list`")
        order.add_argument("--note", default="", metavar="TEXT", help="kept with it")
        order.add_argument(
            "--by", default="", metavar="NAME", help="who orders it (default: your login name)"
        )
        order.add_argument(
            "--wait",
            type=float,
            default=_WAIT_S,
            metavar="S",
            help="seconds until it must be done (default: %(default)g)",
        )
        if name == "silence":
            order.add_argument(
                "--for",
                dest="span",
                default=_SILENCE,
                metavar="SPAN",
                help="such as 30m, 4h, 2d (default: %(default)s)",
            )


def run(args: argparse.Namespace) -> int:
    """Do it."""
    if args.action == "check":
        return _check(args)
    if args.action == "list":
        return _list(args)
    if args.action == "show":
        return _show(args)
    return _order(args)


def _check(args: argparse.Namespace) -> int:
    from connectors.alarms.rules import rules_file_of
    from connectors.alarms.tables import of_rules

    settings = settings_of(args)
    path = args.file or settings.alarms.rules
    rules = rules_file_of(settings, path).rules
    print(of_rules(rules))
    notice(f"{path or 'no rules file, so the own rules'}: {len(rules.in_force)} rules are in force")
    return 0


def _list(args: argparse.Namespace) -> int:
    from connectors.alarms.current import current
    from connectors.alarms.tables import of_current

    with target_of(args) as target:
        everything = current(target)
    found = [each for each in everything if args.all or each.is_open]
    if found:
        print(printable_lines(of_current(found, _now_ms())))
    elif everything:
        notice("no alarm is open; --all lists those that are over")
    else:
        notice("no alarm has ever opened here")
    return 0


def _show(args: argparse.Namespace) -> int:
    from connectors.alarms.current import history
    from connectors.alarms.tables import of_history

    with target_of(args) as target:
        print(printable_lines(of_history(history(target, args.key))))
    return 0


def _order(args: argparse.Namespace) -> int:
    from connectors.alarms import current
    from connectors.alarms.orders import await_done, span_ms
    from schemas.alarms import AlarmOrder

    now = _now_ms()
    order = AlarmOrder(
        order_id=uuid.uuid4().hex,
        alarm_key=args.key,
        order=args.action,
        operator=args.by or _login(),
        time=now,
        until=now + span_ms(args.span) if args.action == "silence" else 0,
        note=args.note,
    )
    kafka = _kafka_of(args, settings_of(args))
    with target_of(args) as target:
        known = current.current(target, args.key)
        if not known:
            raise current.unknown(target, args.key)
        _check_object(known[0], args.action, now)
        sender = _Sender(order, kafka)
        sender.send()

        def look() -> Alarm | None:
            # While parts of an instance are started anew nothing answers.
            with suppress(ClickHouseError, BrokerError, InstanceError):
                sender.send()
                return current.done(_now_at(args, target), args.key, order["order_id"])
            return None

        done = await_done(look, args.wait)
    if done is None:
        who = "worker" if _of_rates(known[0]) else "notify process"
        notice(
            f"the order is in Kafka, but no {who} has done it within {args.wait:g} s: see that one runs, and it will be"
        )
        return _NOT_DONE
    print(f"{done['alarm_key']}: {done['cause']} by {done['operator']}, {done['state']}")
    return 0


@dataclass(slots=True)
class _Sender:
    """Sends an order to the Kafka there is: again, where the broker of an instance was replaced meanwhile."""

    order: AlarmOrder
    where: Callable[[], tuple[Kafka, Framing]]
    sent_to: str = ""

    def send(self) -> None:
        from connectors.alarms.orders import send

        kafka, framing = self.where()
        if kafka.brokers != self.sent_to:
            send(self.order, kafka, framing)
            self.sent_to = kafka.brokers


def _kafka_of(args: argparse.Namespace, settings: Settings) -> Callable[[], tuple[Kafka, Framing]]:
    """Where orders are read: the Kafka of the settings, or of the instance that runs on DIR.

    Raises:
        InstanceError: when none runs, also later.
    """
    from connectors.cli.wiring import framing_of

    if is_production(settings):
        found = settings.kafka, framing_of(settings)
        return lambda: found
    directory = directory_of(args)

    def running() -> tuple[Kafka, Framing]:
        endpoints = directory.running()
        if endpoints is None:
            raise InstanceError(
                f"no ses-streams runs in {directory.path}, and orders are for one that runs: start `ses-streams up`"
            )
        of_instance = embedded(settings, directory)
        return msgspec.structs.replace(of_instance.kafka, brokers=endpoints.broker), framing_of(of_instance)

    running()
    return running


def _now_at(args: argparse.Namespace, target: Target) -> Target:
    """The door of a running instance may have moved."""
    from connectors.cli.clickhouse_at import through_door

    return target if is_production(settings_of(args)) else through_door(directory_of(args)) or target


def _check_object(known: Current, action: str, now: int) -> None:
    """Refuse what would do nothing.

    Raises:
        SettingsError: when there is nothing to acknowledge, or no silence to lift.
    """
    key = known.last["alarm_key"]
    if action == "ack" and not known.is_open:
        raise SettingsError(f"{key} has no open incident, so there is nothing to acknowledge")
    if action == "unsilence" and known.last["silenced_until"] <= now:
        raise SettingsError(f"{key} is not silenced, so there is nothing to lift")


def _of_rates(known: Current) -> bool:
    from schemas.alarms import RATE_SIGNALS

    return known.last["signal"] in RATE_SIGNALS


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return "unknown"


def _now_ms() -> int:
    return int(time.time() * 1000)
