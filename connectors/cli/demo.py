"""`demo`: everything on this machine, fed by a simulated sender, and then truth beside result."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.cli.context import directory_of, say, settings_of
from connectors.cli.instance import Quiet, held, refuse_production, run_until_stopped, supervise
from connectors.embedded import aws, broker
from connectors.embedded.children import Child
from connectors.embedded.directory import DEFAULT, DataDirectory
from connectors.errors import InstanceError
from connectors.settings import SqsQueue
from schemas.counters import DIMENSIONS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from connectors.cli.verdict import Verdict
    from connectors.clickhouse.sql import Target
    from connectors.embedded.directory import Endpoints
    from connectors.embedded.supervisor import Supervisor
    from connectors.settings import Settings
    from connectors.simulator.aws_feed import AwsFeed
    from connectors.simulator.truth import Truth

_LOOK_EVERY_S: Final = 1.0
_SETTLE_S: Final = 30.0
"""How long, once the queues are empty, results may take to agree before the demo says that they do not."""
_STREAM_EVENTS: Final = 40
"""Events of a second, when it goes on."""
_STREAM_BROKEN_EVERY: Final = 2000
"""More dead letters would be worth an alarm of their own: more than 50 in five minutes are."""
_PROGRESS_SQL: Final = (
    "SELECT (SELECT count() FROM events), sum(sends), sum(complaints), sum(eligible) FROM campaign_health"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "--once", action="store_true", help="end after the comparison; exit code 0 only if all agree"
    )
    parser.add_argument(
        "--seed", type=int, default=18, metavar="N", help="the same seed gives the same sender"
    )
    parser.add_argument(
        "--events", type=int, default=2200, metavar="N", help="distinct events (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo."""
    settings = settings_of(args)
    refuse_production(settings, "demo")
    with ExitStack() as stack:
        if args.data == DEFAULT:
            args.data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ses-streams-demo-")))
        directory = directory_of(args)
        complete = stack.enter_context(held(directory, settings))
        if (directory.path / "clickhouse").exists():
            raise InstanceError(
                f"{directory.path} holds data already, which would not agree with the demo's: "
                "choose another --data"
            )
        endpoint = stack.enter_context(_local_aws(directory))
        return _run(args, directory, complete, endpoint)


@contextmanager
def _local_aws(directory: DataDirectory) -> Iterator[str]:
    """AWS on this machine; its URL. No real credentials are used with it."""
    os.environ.update(aws.ENVIRONMENT)
    port = broker.free_port()
    child = Child("aws", directory.logs / "aws.log", aws.command(port), ours=False)
    try:
        if not broker.wait_for(port, child.process, timeout_s=20):
            raise InstanceError(f"the local AWS does not start ({child.tail()}): see {child.log}")
        yield f"http://{broker.HOST}:{port}"
    finally:
        child.kill()


def _run(args: argparse.Namespace, directory: DataDirectory, settings: Settings, endpoint: str) -> int:
    from connectors.simulator.aws_feed import AwsFeed
    from connectors.simulator.inbox import LISTED

    say(
        f"A sender is simulated: {args.events:,} events, each by SNS → SQS and by Firehose → S3 → SQS,\n"
        "from two regions; those of some messages come three days late, when their hours have closed.\n"
        "They are of forty hours: one campaign goes bad part-way, another begins badly and is put right.\n"
        "Mail comes back as well: replies, auto-replies, bounces, complaints, a DMARC report."
    )
    feed = AwsFeed(endpoint, aws.REGION, args.seed)
    layout = feed.set_up()
    queues = tuple(
        SqsQueue(url=url, region=aws.REGION, endpoint_url=endpoint, pollers=pollers)
        for url, pollers in ((layout.events_queue, 3), (layout.objects_queue, 1))
    )
    http = msgspec.structs.replace(settings.bridge.http, bind="")
    bridge = msgspec.structs.replace(settings.bridge, queues=queues, http=http)
    demo = Demo(args, feed)
    # The verdict asks for these, whatever else is counted for.
    dimensions = tuple(dict.fromkeys((*DIMENSIONS, *settings.counting.dimensions)))
    counting = msgspec.structs.replace(settings.counting, dimensions=dimensions)
    # The verdict knows the program's own rules.
    alarms = msgspec.structs.replace(settings.alarms, rules="")
    inbound = msgspec.structs.replace(settings.inbound, list_addresses=(LISTED,))
    final = msgspec.structs.replace(
        settings, bridge=bridge, counting=counting, alarms=alarms, inbound=inbound
    )
    demo.supervisor = supervise(directory, final, demo)
    run_until_stopped(demo.supervisor)
    if demo.error is not None:
        raise demo.error
    if demo.verdict is None:
        say("stopped before the comparison")
        return 130
    return 0 if demo.verdict.agrees else 1


class Demo(Quiet):
    """Feeds in a thread; looks at the results now and then from another, so that supervision never waits."""

    def __init__(self, args: argparse.Namespace, feed: AwsFeed) -> None:
        self.supervisor: Supervisor | None = None
        self.verdict: Verdict | None = None
        self.error: BaseException | None = None
        self._args = args
        self._feed = feed
        self._target: Target | None = None
        self._published = 0
        self._feeding = True
        self._now_ms = 0
        """Until when the truth goes."""
        self._began = time.monotonic()
        self._threads: list[threading.Thread] = []

    def up(self, endpoints: Endpoints) -> None:
        """Feeding begins with the first generation."""
        from connectors.clickhouse.sql import Through

        self._target = Through(endpoints.door, endpoints.token)
        if not self._threads:
            say(f"Up after {time.monotonic() - self._began:.1f} s.")
            self._threads = [threading.Thread(target=self._story, name="demo", daemon=True)]
            self._threads[0].start()

    def _story(self) -> None:
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over,), name="watch", daemon=True)
        watcher.start()
        try:
            truth = self._feed_all()
            self._compare(truth)
            if not self._args.once:
                self._go_on(truth)
        except Exception as error:  # noqa: BLE001 - raised again in the main thread
            if self.supervisor is None or not self.supervisor.stopping:
                self.error = error
        over.set()
        if self.supervisor is not None:
            self.supervisor.stop()

    def _feed_all(self) -> Truth:
        from connectors.simulator.aws_feed import now_ms
        from connectors.simulator.inbox import inbox
        from connectors.simulator.traffic import Traffic

        self._now_ms = now_ms()
        traffic = Traffic(self._args.seed, self._now_ms, self._args.events)
        events = list(traffic)
        mails = inbox(events, traffic.truth, self._now_ms)
        # Half of the mail comes before the events of what it answers.
        self._feed.receive(mails[::2])
        self._feed.feed(events, traffic.truth, self._at)
        self._feed.receive(mails[1::2])
        self._feed.cut_off(events[-1], traffic.truth)
        while self._feed.waiting():
            time.sleep(0.3)
        self._feeding = False
        return traffic.truth

    def _at(self, published: int) -> None:
        self._published = published

    def _watch(self, over: threading.Event) -> None:
        """Live progress: what has come, and alarms as they change."""
        from connectors.cli.alarm_verdict import TRANSITIONS_SQL, News
        from connectors.cli.verdict import ask

        news = News()
        visible = False
        while not over.wait(_LOOK_EVERY_S):
            try:
                (row,) = ask(self._target, _PROGRESS_SQL)
                transitions = ask(self._target, TRANSITIONS_SQL)
            except Exception:  # noqa: BLE001, S112 - a generation is starting anew; the next look tells
                continue
            seconds = time.monotonic() - self._began
            if row[0] and not visible:
                say(f"First events visible {seconds:.1f} s after the start.")
                visible = True
            if self._feeding:
                rate = f"{row[2] / row[3]:.3%}" if row[3] else "no data"
                say(
                    f"{seconds:5.0f} s  {self._published:>7,} published  {row[0]:>7,} events in ClickHouse  "
                    f"{row[1]:>6,} sends  complaint rate {rate}"
                )
            for line in news.of(transitions):
                say(f"{seconds:5.0f} s  ▲ {line}")

    def _compare(self, truth: Truth) -> None:
        from connectors.cli.verdict import compare, show

        deadline = time.monotonic() + _SETTLE_S
        while True:
            self.verdict = compare(truth, self._target, self._now_ms)
            if self.verdict.agrees or time.monotonic() > deadline:
                break
            time.sleep(0.3)
        show(self.verdict)
        say(f"{time.monotonic() - self._began:.0f} s in all.")

    def _go_on(self, truth: Truth) -> None:
        """A moderate stream until Ctrl-C, with the comparison now and then."""
        from connectors.simulator.aws_feed import now_ms
        from connectors.simulator.traffic import Traffic

        say("It goes on; Ctrl-C ends it.")
        seed = self._args.seed
        while True:
            seed += 1
            self._now_ms = now_ms()
            traffic = Traffic(seed, self._now_ms, _STREAM_EVENTS * 20, span_ms=60_000, calm=True)
            traffic.truth = truth
            self._feed.feed(
                traffic, truth, lambda _: time.sleep(10 / _STREAM_EVENTS), broken_every=_STREAM_BROKEN_EVERY
            )
            while self._feed.waiting():
                time.sleep(0.3)
            self._compare(truth)

    def report(self, part: str, report: dict[str, Any]) -> None:
        """Nothing is of interest here."""
