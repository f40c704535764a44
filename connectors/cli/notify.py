"""`notify`: alarms from Kafka to where people look."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from connectors.cli.production import logged, until_signalled
from connectors.errors import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from connectors.clickhouse.sql import Target
    from connectors.notify.channels import RepeatingChannel
    from connectors.notify.companions import Companion
    from connectors.notify.numbers import RouteFailure
    from connectors.notify.page import Page
    from connectors.notify.settings import Notify, Route
    from connectors.settings import Settings
    from schemas.alarms import Alarm


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--test",
        metavar="ROUTE",
        help="send a test page and its resolve by a route, say how it went, and end",
    )
    chosen.add_argument(
        "--dry-run", action="store_true", help="print what would be delivered; nothing is sent or remembered"
    )


def run(args: argparse.Namespace) -> int:
    """Deliver until stopped; what is being delivered by then is waited for."""
    from connectors.metrics.readings import of_notifier
    from connectors.metrics.serving import serving
    from connectors.notify.notifier import Notifier

    settings = logged(args)
    if args.test is not None:
        return _test(settings.notify, args.test)
    notifier = Notifier(
        settings.kafka,
        settings.notify,
        printing(settings.notify) if args.dry_run else channels_of(settings.notify),
        framing=_framing(settings),
        dry_run=args.dry_run,
    )
    if not args.dry_run:
        notifier.accompany(companions_of(settings, settings.clickhouse.dsn, notifier.failures))
    with (
        until_signalled() as stop,
        serving(settings.metrics.bind, lambda: of_notifier(notifier, time.time())),
    ):
        notifier.run(stop)
    return 0


def companions_of(
    settings: Settings,
    target: Target,
    failures: Callable[[], tuple[RouteFailure, ...]],
    data_dir: Path | None = None,
) -> Sequence[Companion]:
    """What runs beside the delivery, once in an installation.

    Args:
        settings: of the process.
        target: where ClickHouse is; empty: nowhere.
        failures: the routes that do not deliver at present.
        data_dir: of an embedded instance.

    Raises:
        SettingsError: mail is to be sent on, and addresses cannot be hashed as the bridge does it.
        StoreError: the directory of attachments cannot be used.
    """
    from connectors.alarms.rules import rules_file_of
    from connectors.clickhouse.sql import Through
    from connectors.response.companion import ResponseCompanion
    from connectors.watch.watch import Watch

    response = ResponseCompanion(
        settings.kafka,
        settings.response,
        max_age_s=settings.notify.max_age_s,
        memory=target if isinstance(target, Through) else None,
        framing=_framing(settings),
    )
    others = [response, *_of_mail(settings, target, data_dir)]
    if not target:
        return others
    framing = _framing(settings)
    return [*others, Watch(settings, rules_file_of(settings), target, failures=failures, framing=framing)]


def _of_mail(settings: Settings, target: Target, data_dir: Path | None) -> list[Companion]:
    """What sends mail on where that is wanted, and what sweeps attachments where they are files."""
    from connectors.attachments.directory import DirectoryStore
    from connectors.attachments.opening import open_store
    from connectors.attachments.sweeper import Sweeper
    from connectors.cli.wiring import policy_of
    from connectors.clickhouse.sql import Through
    from connectors.distribution.companion import DistributionCompanion
    from connectors.inbound.settings import policy_of as mail_policy_of

    found: list[Companion] = []
    if settings.inbound.distribution.enabled:
        policy = mail_policy_of(settings.inbound, policy_of(settings))
        memory = target if isinstance(target, Through) else None
        found.append(DistributionCompanion(settings, policy, memory=memory, framing=_framing(settings)))
    store = open_store(settings, data_dir)
    if isinstance(store, DirectoryStore):
        found.append(Sweeper(store))
    return found


def channels_of(notify: Notify) -> list[tuple[Route, RepeatingChannel]]:
    """Each route with its channel.

    Raises:
        SettingsError: what is wrong with a route.
    """
    from connectors.notify.channels import channel_of

    return [(route, channel_of(route)) for route in notify.routes]


def printing(notify: Notify) -> Sequence[tuple[Route, RepeatingChannel]]:
    """Each route with a channel that prints.

    Raises:
        SettingsError: what is wrong with a route.
    """
    return [(route, Printing(route.name)) for route, _ in channels_of(notify)]


class Printing:
    """Prints pages instead of sending them."""

    repeats_every_s: float = 0.0

    def __init__(self, route: str) -> None:
        self._route = route

    def send(self, page: Page) -> str:
        """Print it."""
        print(f"--- {page.kind} by {self._route} ({page.dedup_key})\n{page.text}\n", flush=True)
        return "printed"

    def refresh(self, pages: Sequence[Page]) -> str:  # noqa: ARG002
        """Nothing to say again."""
        return ""

    def close(self) -> None:
        """Nothing to let go of."""


def _framing(settings: Settings) -> Any:
    from connectors.cli.wiring import framing_of

    return framing_of(settings)


def _test(notify: Notify, name: str) -> int:
    """A page and its end by one route."""
    from connectors.notify.channels import channel_of
    from connectors.notify.page import NotDelivered
    from connectors.notify.text import Kind, page_of

    route = next((each for each in notify.routes if each.name == name), None)
    if route is None:
        known = ", ".join(each.name for each in notify.routes) or "none"
        raise SettingsError(f"there is no route {name} in notify.routes: there are {known}")
    channel = channel_of(route)
    kinds: tuple[tuple[Kind, str], ...] = (("page", "firing"), ("resolve", "resolved"))
    try:
        for kind, state in kinds:
            try:
                taken = channel.send(page_of(kind, _test_alarm(name, state), 1))
            except NotDelivered as failure:
                print(f"{kind}: not delivered by {name}: {failure.reason}")
                return 1
            print(f"{kind}: delivered by {name}: {taken}")
    finally:
        channel.close()
    return 0


def _test_alarm(route: str, state: str) -> Alarm:
    from schemas.alarms import alarm_key

    now = round(time.time() * 1000)
    return {
        "alarm_key": alarm_key("test", "route", route),
        "seq": 1 if state == "firing" else 2,
        "revision": 0,
        "time": now,
        "state": state,
        "severity": "warning",
        "signal": "test",
        "dimension": "route",
        "value": route,
        "rate": None,
        "limit": None,
        "e_value": None,
        "evidence": '{"summary": "This is a test of the route: nothing is wrong."}',
        "rule": "test",
        "incident": 1,
        "opened_time": now,
        "cause": "evidence" if state == "firing" else "clean",
        "operator": "",
        "silenced_until": 0,
        "written_time": now,
        "machine": b"",
    }
