"""One part of an embedded instance: `python -m connectors.cli.part NAME SUPERVISOR_PID REPORTS_FD`."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from connectors.embedded.directory import unusable
from connectors.embedded.outside import Outside
from connectors.errors import ClickHouseError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from connectors.bridge import Entrance
    from connectors.cli.relay import Relay
    from connectors.clickhouse.sink import Sink
    from connectors.embedded.outside import Config
    from connectors.inbound.mailroom import Mailroom
    from connectors.metrics.readings import Read, Sample
    from connectors.settings import Settings
    from connectors.sources.replay import Progress
    from pipelines.counting.memory import Memory
    from pipelines.worker.numbers import Numbers

COMMAND: Final = (sys.executable, "-P", "-m", "connectors.cli.part")
"""How a part is run. `-P`: a folder named like ours where the user stands must not be imported."""
_SOURCE_DRAIN_S: Final = 3.0
_DRAIN_S: Final = 4.0
_POLL_S: Final = 0.05
_PROGRESS_S: Final = 0.25
_TROUBLE_S: Final = 0.5
_READING_S: Final = 2.0
_TELLING_S: Final = 2.0
"""How long a stop waits for what routes are delivering; the supervisor waits five."""
_LANDED_S: Final = 1.5
_PLACES: Final = ("bridge", "worker", "sink", "notify")
"""By how many ports each part's metrics are beyond the one that is set."""


def sink(outside: Outside) -> None:
    """Holds ClickHouse: migrates, repairs, opens the door, then consumes, with recounter and explainer beside it.

    Creates the topics before all that.
    """
    from connectors.alarms.explainer import EMBEDDED, Explainer
    from connectors.alarms.left import left_unexplained
    from connectors.cli.beside import beside
    from connectors.cli.known import known
    from connectors.cli.postmaster import start_daily
    from connectors.clickhouse import answers, door, recounter, repair
    from connectors.clickhouse.client import data_path, open_client
    from connectors.clickhouse.migrations import migrate
    from connectors.clickhouse.retention import retain
    from connectors.clickhouse.sink import Sink
    from connectors.clickhouse.sql import Through
    from connectors.kafka import ensure_topics
    from connectors.metrics.readings import of_explainer, of_recounter, of_sink

    config = outside.configured()
    settings = config.resolved()
    dsn = settings.clickhouse.dsn
    ensure_topics(settings.kafka)
    data_path(dsn).mkdir(parents=True, exist_ok=True, mode=0o700)
    client = open_client(dsn, create=True)
    migrate(client)
    for changed in retain(client, settings.retention):
        logging.getLogger(__name__).warning("%s", changed)
    repair.repair(client, time.time_ns() // 1000, dimensions=settings.counting.dimensions)
    if config.tasks.get("postmaster"):
        start_daily(settings, outside.stop)
    opened = door.serve(data_path(dsn))
    before = known(Through(opened.address, opened.token)) if config.tasks.get("sources") else {}
    outside.report("ready", door=opened.address, token=opened.token, **before)
    consumer = Sink(settings.kafka, client)
    _end_when_full(outside, consumer, Path(config.directory))
    recounting = recounter.Recounter(settings.kafka, lambda: answers.connect(dsn), policy=recounter.EMBEDDED)
    left = left_unexplained(client)
    explaining = Explainer(settings.kafka, lambda: open_client(dsn), policy=EMBEDDED, left=left)

    def read() -> Iterator[Sample]:
        yield from of_sink(consumer.numbers)
        yield from of_recounter(recounting.numbers)
        yield from of_explainer(explaining.numbers)

    with (
        _figures(settings, "sink", read),
        beside(recounting, outside.stop, "recounter"),
        beside(explaining, outside.stop, "explainer"),
    ):
        consumer.run(outside.stop)
    if outside.drained:
        repair.mark_clean_stop(client)
    opened.stop()
    client.close()


def _end_when_full(outside: Outside, consumer: Sink, directory: Path) -> None:
    """A sink waits for a ClickHouse that takes nothing; here a full disk is for a person to cure."""

    def watch() -> None:
        while not outside.stop.wait(_TROUBLE_S):
            if full := _disk_full(RuntimeError(consumer.numbers.trouble)):
                _end(outside, unusable(directory, full))

    threading.Thread(target=watch, name="disk", daemon=True).start()


def worker(outside: Outside) -> None:
    """Counts, with ClickHouse for a memory. Ready once it has read that.

    What lands later it must see itself.
    """
    from connectors.cli.wiring import worker_config
    from connectors.clickhouse.memory import ClickHouseMemory
    from connectors.clickhouse.sql import Through
    from connectors.metrics.readings import of_worker
    from pipelines.worker.run import run_worker

    config = outside.configured()
    settings = config.resolved()
    read = ClickHouseMemory(Through(config.door, config.token), settings.counting.dimensions)
    memory: Any = _Telling(read, lambda: outside.report("reading"))
    told = worker_config(settings, Path(config.directory) / "worker")
    with ExitStack() as stack:

        def watched(numbers: Numbers) -> None:
            stack.enter_context(_figures(settings, "worker", lambda: of_worker(numbers)))

        code = run_worker(replace(told, batch_bytes=0), memory, watched, lambda: outside.report("ready"))
    if code:
        sys.exit(code)


class _Telling:
    """A `Memory` that says now and then that it is read on: that of a large instance takes minutes."""

    def __init__(self, memory: Memory, tell: Callable[[], None]) -> None:
        self._memory = memory
        self._tell = tell
        self._told = time.monotonic()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._memory, name)

        def read(*arguments: Any) -> Any:
            found = method(*arguments)
            return found if isinstance(found, int) else self._passed_on(found)

        return read

    def _passed_on(self, found: Iterator[Any]) -> Iterator[Any]:
        for each in found:
            if time.monotonic() - self._told > _READING_S:
                self._told = time.monotonic()
                self._tell()
            yield each


def notify(outside: Outside) -> None:
    """Delivers alarms, with ClickHouse for a memory."""
    from connectors.cli.notify import channels_of, companions_of
    from connectors.clickhouse.landing import Retry, Stopped
    from connectors.clickhouse.patience import Patience
    from connectors.clickhouse.sql import Through
    from connectors.metrics.readings import of_notifier
    from connectors.notify.notifier import Notifier, Policy
    from connectors.notify.past import from_clickhouse

    config = outside.configured()
    settings = config.resolved()
    target = Through(config.door, config.token)
    patience = Patience(outside.stop, Retry())
    notifier = Notifier(
        settings.kafka,
        settings.notify,
        channels_of(settings.notify),
        past=lambda: patience(lambda: from_clickhouse(target)),
        policy=Policy(stop_s=_TELLING_S, companions_s=0.5),
    )
    notifier.accompany(companions_of(settings, target, notifier.failures, Path(config.directory)))
    with (
        _figures(settings, "notify", lambda: of_notifier(notifier, time.time())),
        suppress(Stopped),
    ):
        notifier.run(outside.stop)
    _await_landed(settings, notifier.actions_end)


def _await_landed(settings: Settings, ends: dict[int, int]) -> None:
    """Wait a little until what was told is in ClickHouse, for the broker forgets it."""
    from connectors.kafka import Positions
    from schemas import topics

    deadline = time.monotonic() + _LANDED_S
    with closing(Positions(settings.kafka)) as positions:
        while ends and time.monotonic() < deadline:
            landed = positions.committed(topics.SINK_GROUP, topics.ALARM_ACTIONS)
            ends = {place: end for place, end in ends.items() if landed.get(place, 0) < end}
            time.sleep(_POLL_S)


def bridge(outside: Outside) -> None:
    """Reads the sources, and replays what it is told to, until stopped; then drains.

    It goes on reading while everything behind it is replaced.
    """
    from connectors.cli import wiring
    from connectors.cli.relay import Relay, line_to

    config = outside.configured()
    settings = config.resolved()
    mailroom = wiring.mailroom_of(settings, Path(config.directory))
    sources, http = wiring.sources_of(settings, mailroom, drain_s=_SOURCE_DRAIN_S)
    relay, figures = Relay(line_to(settings)), ExitStack()
    try:
        running = wiring.Running(sources, relay)
        figures.enter_context(
            _figures(settings, "bridge", lambda: wiring.figures_of(relay.bridge, sources, mailroom))
        )
        while http and not http.address(_POLL_S):
            running.check()
        scheme = "https" if settings.bridge.http.tls_certificate else "http"
        outside.report("ready", http=f"{scheme}://{http.address(0)}" if http else "")
        if config.tasks.get("sources"):
            running.start(_Replaying(outside, config, relay, mailroom))
        while not outside.stop.wait(_POLL_S):
            running.check()
            relay.check()
            if outside.recycle and not _recycled(outside, config, relay):
                break
        running.stop()
        deadline = time.monotonic() + _DRAIN_S

        def late() -> bool:
            return time.monotonic() > deadline

        if relay.connected and wiring.flush(relay, late) and relay.drain(late):
            outside.report("drained")
    finally:
        figures.close()
        relay.close()


def _figures(settings: Settings, part: str, read: Read) -> AbstractContextManager[str]:
    """The endpoint of a part, where the settings want one: each has a port of its own."""
    from connectors.metrics.serving import moved, serving

    return serving(moved(settings.metrics.bind, _PLACES.index(part)), read)


def _recycled(outside: Outside, config: Config, relay: Relay) -> bool:
    """Settle everything, and go on where the supervisor says; False when stopped before."""
    from connectors.cli.relay import line_to

    # However long that takes: what is under way comes to its end.
    if not relay.settle(outside.stop.is_set):
        return False
    relay.hang_up()
    outside.report("drained")
    moved = outside.moved(config)
    if moved is None:
        relay.close()
        return False
    relay.connect(line_to(moved.resolved()))
    outside.report("ready")
    return True


class _Replaying:
    """What we were told to replay, as a source."""

    name: str = "replay"

    def __init__(self, outside: Outside, config: Config, relay: Relay, mailroom: Mailroom) -> None:
        self._outside = outside
        self._mailroom = mailroom
        self._config = config
        self._relay = relay
        self._units = -1
        self._told = 0.0

    def run(self, bridge: Entrance, stop: threading.Event) -> None:
        """Read, and wait until it is in ClickHouse with all that follows."""
        from connectors.cli.replaying import Job, replay

        config = self._config
        job = Job(
            config.resolved(),
            config.tasks["sources"],
            Path(config.directory),
            self._mailroom,
            on_progress=self._tell,
            on_waiting=lambda remaining: self._outside.report("waiting", remaining=remaining),
            drain=self._relay.drain,
        )
        if replay(job, bridge, stop):
            self._outside.report("done")

    def _tell(self, progress: Progress) -> None:
        # Every unit is told, for the count of events up to it is what a new bridge goes on from.
        now = time.monotonic()
        if progress.units_done != self._units or now - self._told > _PROGRESS_S:
            self._units, self._told = progress.units_done, now
            self._outside.report("progress", **_facts(progress))


def _facts(progress: Progress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in type(progress).__slots__}


PARTS: Final = {"sink": sink, "worker": worker, "bridge": bridge, "notify": notify}


def main() -> None:
    """Run the part named on the command line; a `UserError` is told to the supervisor."""
    name, parent, reports = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    outside = Outside(parent, reports)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        PARTS[name](outside)
    except UserError as error:
        _end(outside, error)
    except Exception as error:
        if full := _disk_full(error):
            _end(outside, unusable(Path("the data directory"), full))
        raise


def _end(outside: Outside, error: UserError) -> None:
    if isinstance(error, ClickHouseError) and (full := _disk_full(error)):
        error = unusable(Path("the data directory"), full)
    print(f"{error}", file=sys.stderr, flush=True)
    outside.report("error", sentence=str(error), code=error.exit_code)
    # Threads of clients may hang on a broker that is gone; nothing of ours is worth waiting for.
    os._exit(error.exit_code)


def _disk_full(error: BaseException) -> OSError | None:
    """The error as ENOSPC, if it is that in any guise: ClickHouse has it in words."""
    for each in _causes(error):
        if isinstance(each, OSError) and each.errno in {errno.ENOSPC, errno.EDQUOT}:
            return each
        if any(words in str(each) for words in ("No space left", "NOT_ENOUGH_SPACE")):
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


if __name__ == "__main__":
    main()
    # As in `_end`: what is left are threads of clients.
    logging.shutdown()
    os._exit(0)
