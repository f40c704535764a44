"""The notifier on a real broker and a real HTTP server: once each, whatever comes twice and whatever stops."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

with warnings.catch_warnings():
    # kafka-python reads its schemas through deprecated functions of importlib.resources while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaProducer

from connectors.cli.notify import Printing
from connectors.kafka import Positions, client_options
from connectors.metrics.catalogue import BY_NAME
from connectors.metrics.readings import of_notifier
from connectors.notify.attempts import Policy as DeskPolicy
from connectors.notify.channels import channel_of
from connectors.notify.notifier import Notifier, Policy
from connectors.notify.past import from_topics
from connectors.notify.settings import Notify
from connectors.secret import Secret
from pipelines.alarms.transition import encode, partition_of, record_key
from schemas import topics
from schemas.blocks import SINGLE_OBJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connectors.settings import Kafka

pytestmark = [pytest.mark.embedded, pytest.mark.sockets]

POLICY = Policy(
    desk=DeskPolicy(first_s=0.05, longest_s=0.2, route_longest_s=0.2, look_again_s=0.05), stop_s=5
)


class Running:
    """A notifier in a thread."""

    def __init__(self, notifier: Notifier) -> None:
        self.notifier = notifier
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.notifier.run(self._stop)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.error = error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.error is None


class Companion:
    name = "companion"

    def __init__(self) -> None:
        self.running = threading.Event()
        self.fails = 1

    def run(self, stop: threading.Event) -> None:
        if self.fails:
            self.fails -= 1
            raise ZeroDivisionError
        self.running.set()
        stop.wait()
        self.running.clear()


class Place:
    """A broker, a receiver, and notifiers between them."""

    def __init__(self, kafka: Kafka, receiver: Any, route: Any) -> None:
        self.kafka = kafka
        self.receiver = receiver
        self.make_route = route
        self.running: list[Running] = []
        self._producer = KafkaProducer(**client_options(kafka))

    def start(self, *names: str, companions: tuple[Any, ...] = (), dry_run: bool = False) -> Running:
        routes = [
            self.make_route(name, url=Secret(f"{self.receiver.url}/{name}")) for name in names or ("good",)
        ]
        channels: list[Any] = [
            (route, Printing(route.name) if dry_run else channel_of(route)) for route in routes
        ]
        notifier = Notifier(self.kafka, Notify(evidence_wait_s=0), channels, policy=POLICY, dry_run=dry_run)
        notifier.accompany(companions)
        self.running.append(Running(notifier))
        return self.running[-1]

    def send(self, *alarms: Any) -> None:
        for each in alarms:
            self.put(encode(each), partition_of(each["alarm_key"], 2), record_key(each["alarm_key"]))

    def put(self, value: bytes | None, partition: int, key: bytes) -> None:
        self._producer.send(topics.ALARMS, value=value, key=key, partition=partition).get(30)

    def committed(self) -> int:
        with contextlib.closing(Positions(self.kafka)) as positions:
            return sum(positions.committed(topics.NOTIFY_GROUP, topics.ALARMS).values())

    def actions(self) -> set[tuple[str, str, str]]:
        """Target, action and last outcome of all deeds."""
        rows = sorted(from_topics(self.kafka, (0, 1), SINGLE_OBJECT).actions, key=lambda row: row["time"])
        return {
            (row["target"], row["action"], row["outcome"])
            for row in {row["action_id"]: row for row in rows}.values()
        }

    def close(self) -> None:
        for each in self.running:
            each.stop()
        self._producer.close()


@pytest.fixture
def place(kafka: Kafka, receiver: Any, route: Any) -> Iterator[Place]:
    made = Place(kafka, receiver, route)
    yield made
    made.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def of_now(alarm: Any, *args: Any, **fields: Any) -> Any:
    now = round(time.time() * 1000)
    return alarm(*args, **{"time": now, "opened_time": now, "written_time": now} | fields)


def test_one_page_and_one_resolve_through_repetitions_and_restarts(place: Place, alarm: Any) -> None:
    opening, over = of_now(alarm, 1), of_now(alarm, 2, "resolved")
    other = of_now(alarm, 1, value="autumn")
    old = of_now(alarm, 1, value="winter", time=1, opened_time=1)
    place.send(opening, other, opening, old)
    companion = Companion()
    running = place.start("good", "hangs", companions=(companion,))
    until(lambda: len(place.receiver.got) == 4)
    until(lambda: place.committed() == 4)
    until(companion.running.is_set)
    assert running.notifier.companion_failures == {"companion": 1}
    assert {key for *_, key, _ in place.receiver.got} == {
        f"ses-streams/complaint_rate:campaign:{value}/1" for value in ("spring", "autumn")
    }
    running.stop()
    assert not companion.running.is_set()
    place.send(opening, over, opening)
    place.receiver.hanging.set()
    place.start("good", "hangs")
    # One route hangs: the other is told, and nothing is committed beyond what hangs.
    until(lambda: place.receiver.kinds("/good") == ["page", "page", "resolve"])
    place.send(of_now(alarm, 2, "resolved", value="autumn"))
    until(lambda: place.receiver.kinds("/good") == ["page", "page", "resolve", "resolve"])
    assert place.committed() < 8
    place.receiver.ended.set()
    until(lambda: place.receiver.kinds("/hangs") == ["page", "page", "resolve", "resolve"])
    until(lambda: place.committed() == 8)
    assert place.receiver.kinds("/good") == ["page", "page", "resolve", "resolve"]
    assert place.actions() == {
        ("*", "page", "skipped"),
        *((name, action, "delivered") for name in ("good", "hangs") for action in ("page", "resolve")),
    }


def test_a_receiver_that_is_down_is_tried_until_it_is_back_and_what_is_no_alarm_is_rejected(
    place: Place, alarm: Any
) -> None:
    place.receiver.status = 503
    place.put(b"not a block", 0, b"x")
    place.put(None, 1, b"gone")
    running = place.start()
    place.send(of_now(alarm, 1))
    until(lambda: bool(running.notifier.failures()))
    numbers = running.notifier.numbers
    assert numbers is not None
    until(lambda: numbers.retrying == {"good": 1})
    assert place.actions() == {("good", "page", "retrying")}
    place.receiver.status = 200
    until(lambda: place.receiver.kinds() == ["page"])
    until(lambda: place.committed() == 3)
    assert not running.notifier.failures()
    assert numbers.outcomes["good", "delivered"] == 1
    assert numbers.outcomes["good", "retried"] >= 1
    samples = {(each.name, each.labels): each.value for each in of_notifier(running.notifier, time.time())}
    assert samples["notify_messages", ("good", "delivered")] == 1
    assert samples["notify_route_failing_seconds", ("good",)] == 0
    assert {name for name, _ in samples} <= set(BY_NAME)
    with contextlib.closing(Positions(place.kafka)) as positions:
        assert sum(positions.end_offsets(topics.DEAD_LETTERS).values()) == 1


def test_a_dry_run_prints_and_leaves_everything_as_it_was(
    place: Place, alarm: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    place.send(of_now(alarm, 1))
    running = place.start(dry_run=True)
    numbers = lambda: running.notifier.numbers  # noqa: E731 - there are none before it runs
    until(lambda: (numbers() or False) and numbers().outcomes.get(("good", "delivered")) == 1)  # type: ignore[union-attr]
    running.stop()
    assert "--- page by good (ses-streams/complaint_rate:campaign:spring/1)" in capsys.readouterr().out
    assert place.actions() == set()
    assert place.committed() == 0
    assert place.receiver.got == []


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_partitions_are_shared_and_taken_over(place: Place, alarm: Any) -> None:
    companions = [Companion(), Companion()]
    first = place.start(companions=(companions[0],))
    until(first.notifier.ready.is_set)
    second = place.start(companions=(companions[1],))
    until(second.notifier.ready.is_set)
    values = [f"v{number}" for number in range(8)]
    place.send(*(of_now(alarm, 1, value=value) for value in values))
    until(lambda: len(place.receiver.got) == 8)
    until(lambda: sum(each.running.is_set() for each in companions) == 1)
    first.stop()
    place.send(*(of_now(alarm, 2, "resolved", value=value) for value in values))
    until(lambda: len(place.receiver.got) == 16)
    until(companions[1].running.is_set)
    until(lambda: place.committed() == 16)
    assert sorted(place.receiver.kinds()) == ["page"] * 8 + ["resolve"] * 8
