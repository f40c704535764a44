"""The explainer on a real broker and ClickHouse: what it sends, when it commits, and that it is repeatable."""

from __future__ import annotations

import json
import threading
import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

with warnings.catch_warnings():
    # kafka-python reads its schemas through deprecated functions of importlib.resources while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka as kafka_python

from connectors.alarms.explainer import Explainer, Policy
from connectors.alarms.left import left_unexplained
from connectors.clickhouse.client import open_client
from connectors.clickhouse.landing import Retry
from connectors.kafka import Positions, client_options
from connectors.kafka_commits import Commits
from pipelines.alarms.transition import decode
from schemas import topics
from schemas.blocks import encode
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from connectors.settings import Kafka
    from schemas.alarms import Alarm

pytestmark = pytest.mark.embedded

HOUR = 1_767_225_600
POLICY = Policy(gather_s=0.05, landed_s=60, stop_s=5, retry=Retry(first_s=0.02, longest_s=0.1))

TOGETHER = replace(POLICY, gather_s=1.0)
"""What was sent before it starts is explained in one pass."""


AGAIN = replace(POLICY, again_s=0.1)

FEW = json.dumps(
    {"hits": 4, "explained_hits": 4, "since": "2026-01-01T00:00:00+00:00", "explained": True, "drivers": []}
)
"""Evidence of a page that fired on four complaints, of which none stands out."""


class Place:
    """A broker, a ClickHouse, and what the worker and the sink would do with them."""

    def __init__(self, kafka: Kafka, connect: Callable[[], Any], send: Any, beside: Any) -> None:
        self.kafka = kafka
        self.connect = connect
        self.send = send
        self.beside = beside

    def start(
        self,
        connect: Callable[[], Any] | None = None,
        kind: type[Explainer] = Explainer,
        policy: Policy = POLICY,
    ) -> Any:
        return self.beside(kind(self.kafka, connect or self.connect, policy=policy))

    def tell(self, partition: int = 0, **fields: Any) -> None:
        self.send(topics.ALARMS, encode("alarm", [transition(**fields)]), partition)

    def land(self, up_to: int) -> None:
        """Commit as the sink does."""
        consumer = kafka_python.KafkaConsumer(
            **client_options(self.kafka), group_id=topics.SINK_GROUP, enable_auto_commit=False
        )
        where = kafka_python.TopicPartition(topics.EVENTS, 0)
        consumer.assign([where])
        consumer.commit({where: kafka_python.OffsetAndMetadata(up_to, "", -1)})
        consumer.close()

    def committed(self) -> int:
        positions = Positions(self.kafka)
        try:
            return sum(positions.committed(topics.EVIDENCE_GROUP, topics.ALARMS).values())
        finally:
            positions.close()

    def told(self) -> list[tuple[int, bytes | None, Alarm]]:
        """Partition, Kafka key and row of what was sent with revision 1 or more, by now."""
        consumer = kafka_python.KafkaConsumer(**client_options(self.kafka), auto_offset_reset="earliest")
        places = [kafka_python.TopicPartition(topics.ALARMS, partition) for partition in range(2)]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        found: list[tuple[int, bytes | None, Alarm]] = []
        deadline = time.monotonic() + 60
        while any(consumer.position(place) < ends[place] for place in places):
            assert time.monotonic() < deadline
            for where, records in consumer.poll(timeout_ms=200).items():
                found += [(where.partition, each.key, row) for each in records for row in _rows(each.value)]
        consumer.close()
        return [each for each in found if each[2]["revision"]]

    def evidence(self) -> list[dict[str, Any]]:
        return [json.loads(row["evidence"]) for _, _, row in self.told()]


def _rows(value: bytes) -> list[Alarm]:
    return decode(value) if value[:1] == b"\xc3" else []


def transition(**fields: Any) -> dict[str, Any]:
    row = {
        "alarm_key": "complaint_rate:campaign:spring",
        "seq": 1,
        "revision": 0,
        "time": (HOUR + 3600) * 1000,
        "state": "firing",
        "severity": "warning",
        "signal": "complaint_rate",
        "dimension": "campaign",
        "value": "spring",
        "rate": 0.02,
        "limit": 0.001,
        "e_value": 9e9,
        "evidence": '{"hits": 4, "since": "2026-01-01T00:00:00+00:00"}',
        "rule": "complaint_rate",
        "incident": 1,
        "opened_time": (HOUR + 3600) * 1000,
        "cause": "evidence",
        "written_time": 1_767_229_000_000,
        "machine": bytes(range(256)),
    }
    return row | fields


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def place(kafka: Kafka, engine: Path, database: str, send: Any, beside: Any) -> Place:
    return Place(kafka, lambda: open_client(f"chdb://{engine}", database=database), send, beside)


def bad(event: Any, to: Any) -> list[dict[str, Any]]:
    """Half of the deliveries go to yahoo, and there all complaints are."""
    rows = [event(n, event_type="Delivery", recipients=[to(("yahoo", "gmx")[n % 2])]) for n in range(400)]
    return rows + [event(n, event_type="Complaint", recipients=[to("yahoo")]) for n in range(1000, 1020)]


def test_a_transition_is_explained_once_its_events_have_landed(
    place: Place, event: Any, to: Any, insert: Any
) -> None:
    place.send(topics.EVENTS, encode("ses_event", [event(1)]))
    place.tell(partition=1)
    running = place.start()
    until(lambda: running.part.numbers.waiting == 1)
    insert(topics.EVENTS, bad(event, to))
    assert place.told() == []
    place.land(1)
    until(lambda: place.committed() == 2)
    ((partition, key, row),) = place.told()
    assert (partition, key) == (1, b"complaint_rate:campaign:spring\0evidence")
    told, sent = dict(row), transition(revision=1)
    assert told == sent | {"evidence": row["evidence"], "operator": "", "silenced_until": 0}
    evidence = json.loads(row["evidence"])
    assert (evidence["hits"], evidence["since"]) == (4, "2026-01-01T00:00:00+00:00")
    assert [(each["factor"], each["value"], each["hits"]) for each in evidence["drivers"]] == [
        ("provider", "yahoo", 20)
    ]
    assert evidence["explained"]
    assert "unexplained" not in evidence
    numbers = running.part.numbers
    assert (numbers.records, numbers.explained, numbers.waiting) == (2, 1, 0)


def test_what_may_wake_somebody_is_explained_and_the_worst_first(
    place: Place, event: Any, to: Any, insert: Any
) -> None:
    insert(topics.EVENTS, bad(event, to))
    others: list[dict[str, Any]] = [
        {"cause": "acknowledged"},
        {"cause": "clean", "state": "recovering"},
        {"cause": "quiet", "state": "resolved"},
        {"signal": "traffic_stopped"},
    ]
    for seq, fields in enumerate(others, 1):
        place.tell(seq=seq, **fields)
    place.send(topics.ALARMS, b"nonsense")
    place.tell(seq=6, severity="notice")
    place.tell(seq=7, cause="relapse")
    place.tell(seq=8, severity="critical", cause="escalated")
    # This one was explained before a crash.
    place.tell(seq=9)
    place.tell(seq=9, revision=1)
    running = place.start(policy=TOGETHER)
    until(lambda: place.committed() >= 13)
    assert [row["seq"] for _, _, row in place.told()] == [9, 8, 7, 6]
    assert running.part.numbers.unreadable == 1


def test_what_cannot_be_explained_says_why(place: Place) -> None:
    class Refuses:
        """A real client whose queries fail as told: the only way to have ClickHouse refuse on cue."""

        def __init__(self) -> None:
            self.client = place.connect()

        def query(self, *_: Any, **__: Any) -> Any:
            raise DatabaseError("Code: 241. DB::Exception: memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)")

        def close(self) -> None:
            self.client.close()

    place.tell(seq=1)
    place.tell(seq=2, value="(other)")
    place.tell(seq=3, evidence="no JSON")
    running = place.start(Refuses)
    until(lambda: place.committed() == 6)
    evidence = place.evidence()
    assert not any(each["explained"] for each in evidence)
    reasons = sorted(each["unexplained"] for each in evidence)
    assert reasons[0].startswith("(other) stands for all values of campaign")
    assert reasons[1] == reasons[2] == "ClickHouse refuses: memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)"
    assert running.part.numbers.unexplained == 3
    assert running.error is None


def test_events_that_do_not_land_in_time_are_said_to_be_missing(
    place: Place, event: Any, to: Any, insert: Any
) -> None:
    insert(topics.EVENTS, bad(event, to))
    place.send(topics.EVENTS, encode("ses_event", [event(1)]))
    place.tell()
    running = place.start(policy=Policy(gather_s=0.05, landed_s=0.3))
    until(lambda: place.committed() == 2)
    (evidence,) = place.evidence()
    assert evidence["explained"]
    assert evidence["unexplained"] == "not all events had landed when it was explained"
    assert running.part.numbers.unlanded == 1


def test_clickhouse_away_loses_no_transition(place: Place, event: Any, to: Any, insert: Any) -> None:
    insert(topics.EVENTS, bad(event, to))
    away = threading.Event()
    away.set()
    attempts: list[int] = []

    def connect() -> Any:
        if away.is_set():
            attempts.append(1)
            raise OperationalError("connection refused")
        return place.connect()

    place.tell(seq=1)
    running = place.start(connect)
    until(lambda: len(attempts) >= 3)
    place.tell(seq=2)
    until(lambda: running.part.numbers.waiting == 2)
    assert running.part.numbers.trouble == "connection refused"
    assert place.committed() == 0
    away.clear()
    until(lambda: place.committed() == 4)
    assert [row["seq"] for _, _, row in place.told()] == [1, 2]


class Killed(Exception):  # noqa: N818 - what ends a process is no mistake of ours
    pass


class NeverPaid(Commits):
    def pay(self, consumer: Any) -> None:
        raise Killed


class DiesBeforeItsCommit(Explainer):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._commits = NeverPaid()


def test_killed_between_send_and_commit_it_says_nothing_new(
    place: Place, event: Any, to: Any, insert: Any, contents: Any
) -> None:
    insert(topics.EVENTS, bad(event, to))
    place.tell()
    first = place.start(kind=DiesBeforeItsCommit)
    first.ends()
    assert isinstance(first.error, Killed)
    ((_, _, row),) = place.told()
    insert(topics.ALARMS, [transition(), row])
    before = contents("alarms")
    place.start()
    until(lambda: place.committed() == 2)
    insert(topics.ALARMS, [each for _, _, each in place.told()])
    insert(topics.ALARMS, [transition()])
    assert contents("alarms") == before
    assert '"drivers":[{' in before.replace("\\", "")


def test_what_a_broker_forgot_is_explained_all_the_same(
    place: Place, event: Any, to: Any, insert: Any, client: Any
) -> None:
    insert(topics.EVENTS, bad(event, to))
    over = {"alarm_key": "complaint_rate:campaign:winter", "value": "winter"}
    told = transition(seq=2, cause="escalated")
    insert(
        topics.ALARMS,
        [
            transition(operator="", silenced_until=0),
            told,
            told | {"revision": 1},
            transition(seq=3, cause="acknowledged"),
            transition(**over),
            transition(**over, seq=2, cause="clean", state="resolved"),
        ],
    )
    left = left_unexplained(client)
    assert left == [transition(operator="", silenced_until=0)]
    place.beside(Explainer(place.kafka, place.connect, policy=POLICY, left=left))
    until(lambda: place.committed() == 1)
    ((partition, _, row),) = place.told()
    assert partition == of_key("campaign", "spring", 2)
    assert (row["seq"], row["machine"]) == (1, bytes(range(256)))


def test_stopped_while_it_waits_it_stops_and_commits_nothing(place: Place, event: Any) -> None:
    place.send(topics.EVENTS, encode("ses_event", [event(1)]))
    place.tell()
    running = place.start()
    until(lambda: running.part.numbers.waiting == 1)
    running.join()
    assert running.error is None
    assert (place.committed(), place.told()) == (0, [])


def test_what_leads_later_is_told_when_hits_have_doubled(
    place: Place, event: Any, to: Any, insert: Any, client: Any
) -> None:
    few = transition(revision=1, evidence=FEW)
    acknowledged = transition(seq=2, cause="acknowledged", operator="kim", evidence="{}")
    insert(topics.ALARMS, [transition(), few, acknowledged])
    insert(topics.EVENTS, bad(event, to))
    counted = {"dimension": "campaign", "value": "spring", "hour": HOUR, "version": 1}
    insert(topics.RATES, [counted | {"complaints": 7, "eligible": 400}])
    running = place.start(policy=AGAIN)
    until(lambda: running.part.numbers.looks >= 3)
    assert place.told() == [], "7 are not twice 4"
    insert(topics.RATES, [counted | {"version": 2, "complaints": 20, "eligible": 400}])
    until(lambda: running.part.numbers.anew == 1)
    looks = running.part.numbers.looks
    until(lambda: running.part.numbers.looks >= looks + 3)
    ((partition, key, row),) = place.told()
    assert (partition, key) == (of_key("campaign", "spring", 2), b"complaint_rate:campaign:spring\0evidence")
    assert (row["seq"], row["revision"], row["state"]) == (1, 2, "firing")
    evidence = json.loads(row["evidence"])
    assert evidence["drivers"][0]["value"] == "yahoo"
    assert (evidence["hits"], evidence["explained_hits"]) == (4, 20)
    insert(topics.ALARMS, [row])
    shown = client.query("SELECT driver, acknowledged_by FROM incidents").result_rows
    assert shown == [("provider yahoo", "kim")]


def test_what_ended_or_is_told_already_is_not_told_again(
    place: Place, event: Any, to: Any, insert: Any
) -> None:
    known = FEW.replace('"drivers": []', '"drivers": [{"factor": "provider", "value": "yahoo"}]')
    over = {"alarm_key": "complaint_rate:campaign:winter", "value": "winter"}
    insert(
        topics.ALARMS,
        [
            transition(revision=1, evidence=known),
            transition(**over, revision=1, evidence=FEW),
            transition(**over, seq=2, cause="clean", state="resolved"),
        ],
    )
    insert(topics.EVENTS, bad(event, to))
    for value in ("spring", "winter"):
        row = {"dimension": "campaign", "value": value, "hour": HOUR, "version": 1}
        insert(topics.RATES, [row | {"complaints": 20, "eligible": 400}])
    running = place.start(policy=AGAIN)
    until(lambda: running.part.numbers.looks >= 3)
    assert place.told() == []
