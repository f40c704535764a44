from __future__ import annotations

import threading
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from clickhouse_connect.driver.exceptions import OperationalError

with warnings.catch_warnings():
    # kafka-python reads its schemas through deprecated functions of importlib.resources while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka as kafka_python

from connectors.cli.beside import beside
from connectors.clickhouse.client import open_client
from connectors.clickhouse.landing import Retry
from connectors.clickhouse.recounter import Policy, Recounter
from connectors.clickhouse.retention import retain
from connectors.clickhouse.retention_settings import Retention
from connectors.kafka import Positions, client_options
from connectors.kafka_commits import Commits
from schemas import topics
from schemas.blocks import decode, encode
from schemas.counters import COUNTERS
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from connectors.settings import Kafka

pytestmark = pytest.mark.embedded

HOUR = 1_767_225_600
POLICY = Policy(gather_s=0.05, stop_s=5, retry=Retry(first_s=0.02, longest_s=0.1))


class Place:
    """A broker, a ClickHouse, and what the worker and the sink would do with them."""

    def __init__(self, kafka: Kafka, connect: Callable[[], Any], send: Any, beside: Any) -> None:
        self.kafka = kafka
        self.connect = connect
        self.send = send
        self.beside = beside

    def start(self, connect: Callable[[], Any] | None = None, kind: type[Recounter] = Recounter) -> Any:
        return self.beside(kind(self.kafka, connect or self.connect, policy=POLICY))

    def ask(self, *keys: tuple[str, str, int]) -> None:
        rows = [{"dimension": dimension, "value": value, "hour": hour} for dimension, value, hour in keys]
        self.send(topics.RECOUNTS, encode("recount_request", rows))

    def land(self, up_to: int, partition: int = 0) -> None:
        """Commit as the sink does."""
        self.commit(topics.SINK_GROUP, topics.EVENTS, up_to, partition)

    def commit(self, group: str, topic: str, up_to: int, partition: int) -> None:
        consumer = kafka_python.KafkaConsumer(
            **client_options(self.kafka), group_id=group, enable_auto_commit=False
        )
        where = kafka_python.TopicPartition(topic, partition)
        consumer.assign([where])
        consumer.commit({where: kafka_python.OffsetAndMetadata(up_to, "", -1)})
        consumer.close()

    def committed(self) -> int:
        positions = Positions(self.kafka)
        try:
            return sum(positions.committed(topics.RECOUNT_GROUP, topics.RECOUNTS).values())
        finally:
            positions.close()

    def answers(self, topic: str = topics.COUNTS) -> list[dict[str, Any]]:
        """Everything a topic holds, by now."""
        consumer = kafka_python.KafkaConsumer(**client_options(self.kafka), auto_offset_reset="earliest")
        places = [kafka_python.TopicPartition(topic, partition) for partition in range(2)]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        rows: list[dict[str, Any]] = []
        deadline = time.monotonic() + 60
        while any(consumer.position(place) < ends[place] for place in places):
            assert time.monotonic() < deadline
            for records in consumer.poll(timeout_ms=200).values():
                rows += [row for record in records for row in decode(record.value)]
        consumer.close()
        return rows


@pytest.fixture
def place(kafka: Kafka, engine: Path, database: str, send: Any, beside: Any) -> Place:
    return Place(kafka, lambda: open_client(f"chdb://{engine}", database=database), send, beside)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def counted(row: dict[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in COUNTERS if row[name]}


def test_a_request_is_answered_once_what_it_is_about_has_landed(
    place: Place, event: Any, insert: Any
) -> None:
    place.send(topics.EVENTS, encode("ses_event", [event(1)]), 0)
    place.send(topics.EVENTS, encode("ses_event", [event(2)]), 1)
    place.ask(("campaign", "spring", HOUR), ("campaign", "autumn", HOUR))
    place.ask(("campaign", "spring", HOUR), ("tag:team", "a", HOUR + 3600))
    running = place.start()
    until(lambda: running.part.numbers.records == 2)
    place.land(1)
    assert place.answers() == []
    insert(topics.EVENTS, [event(1), event(2), event(2), event(3, event_type="Delivery")])
    row = {"dimension": "campaign", "value": "autumn", "hour": HOUR, "version": 7, "sends": 1}
    insert(topics.RATES, [row])
    place.land(1, partition=1)
    until(lambda: place.committed() == 2)
    found = {(row["dimension"], row["value"], row["hour"]): row for row in place.answers()}
    assert {key: counted(row) for key, row in found.items()} == {
        ("campaign", "spring", HOUR): {"sends": 2, "deliveries": 1, "eligible": 1},
        ("campaign", "autumn", HOUR): {},
        ("tag:team", "a", HOUR + 3600): {},
    }
    assert [found[key]["stored"] for key in sorted(found)] == [7, 0, 0]
    assert all(abs(row["as_of"] / 1e6 - time.time()) < 600 for row in found.values())


def test_later_requests_get_later_answers(place: Place, event: Any, insert: Any) -> None:
    place.start()
    for number in range(1, 4):
        insert(topics.EVENTS, [event(number)])
        place.ask(("campaign", "spring", HOUR))
        until(partial(lambda wanted: place.committed() == wanted, number))
    rows = place.answers()
    assert [row["sends"] for row in rows] == [1, 2, 3]
    assert [row["as_of"] for row in rows] == sorted({row["as_of"] for row in rows})


def test_other_is_counted_again_once_all_has_come_through(place: Place, event: Any, insert: Any) -> None:
    insert(topics.EVENTS, [event(n, campaign=f"c{n % 3}") for n in range(9)])
    row = {"dimension": "campaign", "hour": HOUR, "version": 1, "sends": 3}
    insert(topics.RATES, [row | {"value": "c0"}])
    place.ask(("campaign", "(other)", HOUR))
    place.start()
    until(lambda: len(place.answers()) == 1)
    # What c1 counts was on its way meanwhile; here the worker says that it has read the answer.
    insert(topics.RATES, [row | {"value": "c1"}])
    assert place.committed() == 0
    partition = of_key("campaign", "(other)", 2)
    place.commit(topics.WORKER_GROUP, topics.COUNTS, 1, partition)
    until(lambda: len(place.answers()) == 2)
    assert place.committed() == 0
    place.commit(topics.WORKER_GROUP, topics.COUNTS, 2, partition)
    until(lambda: place.committed() == 1)
    assert [row["sends"] for row in place.answers()] == [6, 3]


class Killed(Exception):  # noqa: N818 - what ends a process is no mistake of ours
    pass


class NeverPaid(Commits):
    def pay(self, consumer: Any) -> None:
        raise Killed


class DiesBeforeItsCommit(Recounter):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._commits = NeverPaid()


def test_killed_between_answer_and_commit_it_answers_again(place: Place, event: Any, insert: Any) -> None:
    insert(topics.EVENTS, [event(1)])
    place.ask(("campaign", "spring", HOUR))
    first = place.start(kind=DiesBeforeItsCommit)
    first.ends()
    assert isinstance(first.error, Killed)
    assert len(place.answers()) == 1
    place.start()
    until(lambda: place.committed() == 1)
    one, other = place.answers()
    assert counted(one) == counted(other) == {"sends": 1}
    assert other["as_of"] > one["as_of"]


def test_clickhouse_away_loses_no_request(place: Place, event: Any, insert: Any) -> None:
    insert(topics.EVENTS, [event(1)])
    away = threading.Event()
    away.set()
    attempts: list[int] = []

    class Moody:
        """A real client that fails as told: the only way to have ClickHouse fail on cue."""

        def __init__(self) -> None:
            self.client = place.connect()

        def query(self, *arguments: Any, **options: Any) -> Any:
            if away.is_set():
                attempts.append(1)
                raise OperationalError("connection refused")
            return self.client.query(*arguments, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.client, name)

    place.ask(("campaign", "spring", HOUR))
    running = place.start(Moody)
    until(lambda: len(attempts) >= 3)
    place.ask(("campaign", "autumn", HOUR))
    until(lambda: running.part.numbers.waiting == 1)
    assert running.part.numbers.trouble == "connection refused"
    assert place.committed() == 0
    away.clear()
    until(lambda: place.committed() == 2)
    assert {row["value"]: row["sends"] for row in place.answers()} == {"spring": 1, "autumn": 0}


def test_stopped_while_it_waits_it_stops_and_commits_nothing(place: Place, event: Any) -> None:
    place.send(topics.EVENTS, encode("ses_event", [event(1)]), 0)
    place.ask(("campaign", "spring", HOUR))
    running = place.start()
    until(lambda: running.part.numbers.records == 1)
    running.join()
    assert running.error is None
    assert place.committed() == 0


def test_a_surprise_ends_it_and_what_runs_beside_it(place: Place) -> None:
    def connect() -> Any:
        raise KeyError("surprise")

    place.ask(("campaign", "spring", HOUR))
    stop = threading.Event()
    recounter = Recounter(place.kafka, connect, policy=POLICY)
    with pytest.raises(KeyError, match="surprise"), beside(recounter, stop, "recounter"):
        assert stop.wait(60)


def test_what_is_no_request_is_a_dead_letter(place: Place, event: Any, insert: Any) -> None:
    insert(topics.EVENTS, [event(1)])
    place.send(topics.RECOUNTS, b"nonsense", 0)
    place.ask(("campaign", "spring", HOUR), ("shoe_size", "43", HOUR), ("campaign", "spring", HOUR + 1))
    place.start()
    until(lambda: place.committed() == 2)
    assert [(row["value"], row["sends"]) for row in place.answers()] == [("spring", 1)]
    letters = place.answers(topics.DEAD_LETTERS)
    assert {letter["stage"] for letter in letters} == {"recount"}
    assert sorted(letter["detail"].partition(":")[0] for letter in letters) == [
        "2 of 3 rows are no key and hour, such as ('shoe_size', '43', 1767225600)",
        "MalformedBlock",
    ]


def test_what_is_longer_ago_than_events_are_kept_stays_and_is_told_once(
    place: Place, event: Any, insert: Any, client: Any
) -> None:
    retain(client, Retention(events=30))
    now = int(time.time()) // 3600 * 3600
    recent, old = now - 5 * 86_400, now - 100 * 86_400
    month = time.strftime("%Y-%m", time.gmtime(old))
    late = [
        event(number, sent_time=hour * 1000, event_time=now * 1000)
        for number, hour in enumerate((old, recent))
    ]
    insert(topics.EVENTS, late)
    place.ask(*(("campaign", "spring", hour) for hour in (old, recent)))
    running = place.start()
    until(lambda: place.committed() == 1)
    place.ask(("account", "111122223333", old))
    until(lambda: place.committed() == 2)
    assert [(row["hour"], row["sends"]) for row in place.answers()] == [(recent, 1)]
    assert (running.part.numbers.kept, running.part.numbers.letters) == (2, 0)
    (letter,) = place.answers(topics.DEAD_LETTERS)
    assert (letter["stage"], letter["cause"]) == ("recount", "beyond_retention")
    assert f"sent in {month}," in letter["detail"]
