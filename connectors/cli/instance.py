"""Running an embedded instance in the foreground, for `up`, `demo` and `replay`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.alarms.rules import rules_file_of
from connectors.cli.context import embedded, is_production, notice, signals
from connectors.cli.notify import channels_of
from connectors.cli.part import COMMAND
from connectors.embedded import broker
from connectors.embedded.supervisor import Plan, Supervisor
from connectors.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connectors.embedded.directory import DataDirectory, Endpoints
    from connectors.embedded.supervisor import Listener
    from connectors.settings import Settings

HTTP_PORT: Final = 8425
_LOCK_WAIT_S: Final = 5.0
"""A `sql` that has ClickHouse open for a moment must not make `up` fail."""


class Quiet:
    """A listener that only passes notices on; others add to it."""

    def up(self, endpoints: Endpoints) -> None:
        """A generation answers."""

    def report(self, part: str, report: dict[str, Any]) -> None:
        """A part says something."""

    def notice(self, sentence: str) -> None:
        """For people."""
        notice(sentence)

    def tick(self) -> None:
        """Now and then."""


def refuse_production(settings: Settings, command: str) -> None:
    """An embedded instance would not use what production settings name.

    Raises:
        SettingsError: when they do.
    """
    if is_production(settings):
        raise SettingsError(
            f"`{command}` runs embedded parts, but clickhouse.dsn names a server: run `ses-streams bridge`, "
            "`worker` and `sink`, or take kafka.brokers and clickhouse.dsn out of the settings"
        )


def with_http(settings: Settings, bind: str | None) -> Settings:
    """The settings with an HTTP endpoint.

    The one asked for, else the configured one, else a usual or free port.
    """
    chosen = bind if bind is not None else settings.bridge.http.bind
    if not chosen and bind is None:
        port = broker.free_port(HTTP_PORT)
        if port != HTTP_PORT:
            notice(f"port {HTTP_PORT} is taken: the HTTP endpoint listens on {port}")
        chosen = f"{broker.HOST}:{port}"
    http = msgspec.structs.replace(settings.bridge.http, bind=chosen)
    return msgspec.structs.replace(settings, bridge=msgspec.structs.replace(settings.bridge, http=http))


@contextmanager
def held(directory: DataDirectory, settings: Settings) -> Iterator[Settings]:
    """Hold a directory; gives the settings of an instance in it.

    Raises:
        InstanceError: when it is in use or cannot be used.
    """
    with directory.hold(_LOCK_WAIT_S):
        yield embedded(settings, directory)


def supervise(
    directory: DataDirectory, settings: Settings, listener: Listener, tasks: dict[str, Any] | None = None
) -> Supervisor:
    """A supervisor of a held directory; run it with `run_until_stopped`.

    Raises:
        SettingsError: when a route of `notify` cannot be used, or the alarm rules are not valid.
    """
    # Before anything starts: parts would end over it one after the other.
    rules_file_of(settings)
    if settings.notify.routes:
        channels_of(settings.notify)
    limit = settings.embedded.broker_limit_mb * 1_000_000
    return Supervisor(Plan(directory, settings, COMMAND, tasks or {}, limit), listener)


def run_until_stopped(supervisor: Supervisor) -> None:
    """Run in this, the main, thread until a signal or `stop`.

    Raises:
        UserError: what a person has to cure.
    """
    with signals(supervisor.stop):
        supervisor.run()
