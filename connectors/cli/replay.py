"""`replay`: events from files, directories and s3:// prefixes, until all of it is in ClickHouse."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.cli.clickhouse_at import through_door
from connectors.cli.context import directory_of, embedded, is_production, notice, settings_of, signals
from connectors.cli.instance import Quiet, held, run_until_stopped, supervise, with_http
from connectors.cli.known import known
from connectors.cli.progress import Progress
from connectors.errors import BrokerError, InstanceError, SourceError
from connectors.sources.files import STDIN

if TYPE_CHECKING:
    import argparse

    from connectors.clickhouse.sql import Target
    from connectors.embedded.directory import DataDirectory, Endpoints
    from connectors.embedded.supervisor import Supervisor
    from connectors.inbound.mailroom import Mailroom
    from connectors.settings import Settings
    from connectors.sources.replay import Progress as ReplayProgress

_INTERRUPTED: Final = 130
_COMES_BACK_S: Final = 60.0
"""How long a running instance may take for a new generation."""
_POLL_S: Final = 0.1
_KIB: Final = 1024


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a file, a directory, s3://bucket/prefix; - (where an instance runs, or Kafka is set) is standard input",
    )
    parser.add_argument(
        "--once", action="store_true", help="end when all of it is in ClickHouse (else stay up)"
    )


def run(args: argparse.Namespace) -> int:
    """Replay into the Kafka of the settings, the instance that runs on DIR, or one of our own."""
    from connectors.cli import wiring

    settings = settings_of(args)
    directory = directory_of(args)
    sources = wiring.absolute(args.sources)
    wiring.origins_of(sources, directory.path)  # what does not exist is said before anything starts
    return replay(settings, directory, sources, once=args.once)


def replay(settings: Settings, directory: DataDirectory, sources: list[str], *, once: bool) -> int:
    """Replay what `wiring.absolute` gives; the exit code."""
    from connectors.cli.wiring import mailroom_of

    if days := settings.retention.events:
        notice(
            f"events of messages that were sent more than {days} days ago are neither kept nor counted"
            " (retention.events in the settings)"
        )
    with Progress("replaying", 0, "KiB") as progress:
        tally = Tally(progress)
        if is_production(settings):
            mailroom = mailroom_of(settings, None)
            return _from_outside(
                settings, settings.clickhouse.dsn, sources, Places(directory.path, mailroom), tally
            )
        if through_door(directory):
            return _into_running(directory, settings, sources, tally)
        if STDIN in sources:
            # Parts of an instance hear from their supervisor there.
            raise SourceError(
                "standard input is read into an instance that runs: start `ses-streams up` first, or replay a file"
            )
        return _of_our_own(directory, settings, sources, tally, once=once)


@dataclass(slots=True)
class Tally:
    """Counts of one run, whatever becomes of the processes that read.

    A new generation reads again what was not safe, which must not count again: what counts of a unit (a file, an
    object) is what was read of it last.
    """

    progress: Progress
    events: int = 0
    mails: int = 0
    letters: int = 0
    before: dict[str, int] = field(default_factory=dict)
    _units: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def read(self, facts: dict[str, Any]) -> None:
        """So much has been read by the present generation."""
        if unit := facts["current"]:
            now = facts["current_events"], facts["current_mails"], facts["current_dead_letters"]
            before, self._units[unit] = self._units.get(unit, (0, 0, 0)), now
            self.events += now[0] - before[0]
            self.mails += now[1] - before[1]
            self.letters += now[2] - before[2]
        note = f"{self._read()}, {facts['units_done']:,} of {facts['units_total']:,} files"
        self.progress.at(facts["bytes_done"] // _KIB, facts["bytes_total"] // _KIB, note)

    def waiting(self, remaining: int) -> None:
        """All is read; so many Kafka records are still to come through."""
        self.progress.at(1, 1, f"{self._read()} read, {remaining:,} blocks still to count and store")

    def line(self, after: dict[str, int]) -> str:
        """The result; an event and a mail are one each."""
        accepted = [max(0, after[name] - self.before.get(name, 0)) for name in ("events", "mails")]
        later = max(0, after["later_letters"] - self.before.get("later_letters", 0))
        duplicates = max(0, self.events - accepted[0]) + max(0, self.mails - accepted[1])
        return f"accepted={sum(accepted)} duplicates={duplicates} dead_letters={self.letters + later}"

    def _read(self) -> str:
        mails = f" and {self.mails:,} mails" if self.mails else ""
        return f"{self.events:,} events{mails}"


def _of_our_own(
    directory: DataDirectory, settings: Settings, sources: list[str], tally: Tally, *, once: bool
) -> int:
    with held(directory, settings) as complete:
        final = _without_sources(complete) if once else with_http(complete, None)
        listener = Ours(directory, tally, once=once)
        # Whatever there is to tell of, the next `up` tells.
        supervisor = supervise(directory, final, listener, {"sources": sources, "notify": not once})
        listener.supervisor = supervisor
        run_until_stopped(supervisor)
    if not listener.line:
        notice("stopped before the end; the same command goes on from here")
        return _INTERRUPTED
    if once:
        tally.progress.__exit__()
        print(listener.line, flush=True)
    return 0


class Ours(Quiet):
    """Watches a replay that our own instance does."""

    def __init__(self, directory: DataDirectory, tally: Tally, *, once: bool) -> None:
        self.supervisor: Supervisor | None = None
        self.line = ""
        self._directory = directory
        self._tally = tally
        self._once = once
        self._target: Target | None = None

    def up(self, endpoints: Endpoints) -> None:
        """Without `--once` it stays, so a person needs to know where."""
        if not self._once and endpoints.generation == 1:
            notice(
                f"up on {self._directory.path}; Firehose may post to {endpoints.http}/firehose; "
                "Ctrl-C stops it"
            )

    def report(self, part: str, report: dict[str, Any]) -> None:
        """Follow the bridge; when it is done, ask ClickHouse what is new."""
        kind = report.get("kind")
        if part == "sink" and kind == "ready":
            from connectors.clickhouse.sql import Through

            self._target = Through(report["door"], report["token"])
            self._tally.before = self._tally.before or {
                name: report[name] for name in ("events", "mails", "later_letters")
            }
        elif kind == "progress":
            self._tally.read(report)
        elif kind == "waiting":
            self._tally.waiting(report["remaining"])
        elif kind == "done" and self._target is not None and not self.line:
            self.line = self._tally.line(known(self._target))
            if self._once and self.supervisor is not None:
                self.supervisor.stop()
            else:
                print(self.line, flush=True)


def _into_running(directory: DataDirectory, settings: Settings, sources: list[str], tally: Tally) -> int:
    """Through the broker of an instance that somebody else runs.

    When that starts a new generation, go on there.

    Raises:
        SourceError: it did, and what was read by then cannot be read again.
    """
    from connectors.cli.wiring import mailroom_of

    complete = embedded(settings, directory)
    places = Places(directory.path, mailroom_of(complete, directory.path))
    while True:
        endpoints, target = _comes_back(directory)
        kafka = msgspec.structs.replace(complete.kafka, brokers=endpoints.broker)
        try:
            return _from_outside(
                msgspec.structs.replace(complete, kafka=kafka), target, sources, places, tally
            )
        except BrokerError as error:
            now = directory.running()
            if now is not None and now.generation == endpoints.generation:
                raise
            if once := [each for each in sources if not can_be_read_again(each)]:
                name = "standard input" if STDIN in once else once[0]
                raise SourceError(
                    f"the instance started anew while {name} was read, which can be read only once: "
                    "run the same replay again (what came through before counts once)"
                ) from error
            notice("the instance starts anew: the replay goes on with it")


def can_be_read_again(source: str) -> bool:
    """Whether a source begins anew when it is opened again: standard input and pipes go on where they were left."""
    path = Path(source)
    return source != STDIN and ("://" in source or path.is_file() or path.is_dir() or not path.exists())


def _comes_back(directory: DataDirectory) -> tuple[Endpoints, Target]:
    deadline = time.monotonic() + _COMES_BACK_S
    while time.monotonic() < deadline:
        if (endpoints := directory.running()) and (target := through_door(directory)):
            return endpoints, target
        time.sleep(_POLL_S)
    raise InstanceError(
        f"the instance on {directory.path} has gone: start it, or run the replay again without it"
    )


@dataclass(frozen=True, slots=True)
class Places:
    """Where a replay keeps things."""

    data: Path
    """The checkpoint."""
    mailroom: Mailroom
    """What keeps attachments."""


def _from_outside(
    settings: Settings, target: Target, sources: list[str], places: Places, tally: Tally
) -> int:
    """A bridge in this process."""
    from connectors.cli import replaying, wiring

    tally.before = tally.before or known(target)

    def tell(progress: ReplayProgress) -> None:
        tally.read({name: getattr(progress, name) for name in type(progress).__slots__})

    stop = threading.Event()
    job = replaying.Job(
        settings,
        sources,
        places.data,
        places.mailroom,
        tell,
        tally.waiting,
        partial(wiring.drain, settings),
    )
    with signals(stop.set), wiring.bridge_to(settings) as bridge:
        finished = replaying.replay(job, bridge, stop)
    if not finished:
        notice("stopped before the end; the same command goes on from here")
        return _INTERRUPTED
    tally.progress.__exit__()
    print(tally.line(known(target)), flush=True)
    return 0


def _without_sources(settings: Settings) -> Settings:
    http = msgspec.structs.replace(settings.bridge.http, bind="", tls_certificate="", tls_key="")
    return msgspec.structs.replace(
        settings, bridge=msgspec.structs.replace(settings.bridge, http=http, queues=())
    )
