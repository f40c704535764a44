from __future__ import annotations

import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

with warnings.catch_warnings():
    # kafka-python reads its schemas through deprecated functions of importlib.resources while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaAdminClient, TopicPartition

from connectors import kafka as kafka_clients
from connectors.clickhouse.landing import Landed, Lander, Limits, Retry, receive
from connectors.clickhouse.sink import Policy, Sink
from connectors.errors import ClickHouseError
from schemas import topics
from schemas.blocks import SINGLE_OBJECT, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.settings import Kafka

pytestmark = pytest.mark.embedded

POLICY = Policy(linger_s=0.05, stop_s=5, retry=Retry(first_s=0.02, longest_s=0.1))


class Moody:
    """A real client whose inserts fail as told: the only way to have ClickHouse fail on cue."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.away = False
        self.poison = b"\0never"
        self.failures = 0

    def raw_insert(self, table: str, **options: Any) -> Any:
        if self.away:
            self.failures += 1
            raise OperationalError("connection refused")
        if self.poison in options["insert_block"] and table == "event_rows":
            raise DatabaseError("Code: 117. DB::Exception: too strange. (INCORRECT_DATA)", code=117)
        return self.client.raw_insert(table, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


@pytest.fixture
def start(kafka: Kafka, beside: Any) -> Callable[[Any], Any]:
    return lambda client: beside(Sink(kafka, client, policy=POLICY))


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def committed(kafka: Kafka) -> dict[str, int]:
    """Records committed by the sink's group, by topic."""
    admin = KafkaAdminClient(**kafka_clients.client_options(kafka))
    try:
        offsets = admin.list_group_offsets(topics.SINK_GROUP)
        if topics.SINK_GROUP in offsets:
            offsets = offsets[topics.SINK_GROUP]
    finally:
        admin.close()
    sums: dict[str, int] = {}
    for where, found in offsets.items():
        assert isinstance(where, TopicPartition)
        sums[where.topic] = sums.get(where.topic, 0) + max(found.offset, 0)
    return sums


def number(client: Any, table: str) -> int:
    return int(client.command(f"SELECT count() FROM {table}"))


def test_an_outage_loses_nothing_and_commits_nothing(
    kafka: Kafka, send: Any, start: Any, client: Any, event: Any
) -> None:
    moody = Moody(client)
    moody.away = True
    running = start(moody)
    for block in range(6):
        send(topics.EVENTS, encode("ses_event", [event(block * 3 + n) for n in range(3)]), block % 2)
    send(
        topics.RATES,
        encode("rate_row", [{"dimension": "d", "value": "v", "hour": 0, "version": 1, "sends": 1}]),
    )
    until(lambda: moody.failures >= 3)
    assert running.part.numbers.commits == 0
    moody.away = False
    until(lambda: committed(kafka).get(topics.EVENTS) == 6 and committed(kafka).get(topics.RATES) == 1)
    assert number(client, "events") == 18
    assert number(client, "rates") == 1
    assert running.part.numbers.trouble == ""


def test_what_a_stopped_sink_had_not_landed_comes_to_the_next(
    kafka: Kafka, send: Any, start: Any, client: Any, event: Any
) -> None:
    moody = Moody(client)
    moody.away = True
    first = start(moody)
    send(topics.EVENTS, encode("ses_event", [event(1), event(2)]))
    until(lambda: moody.failures >= 1)
    first.join()
    assert first.error is None
    assert number(client, "events") == 0
    second = start(client)
    until(lambda: number(client, "events") == 2)
    second.join()
    assert committed(kafka)[topics.EVENTS] == 1


def test_poison_is_found_down_to_the_row_and_the_rest_lands(
    kafka: Kafka, send: Any, start: Any, client: Any, event: Any
) -> None:
    running = start(Moody(client))
    rows = [event(n) for n in range(40)]
    rows[17]["user_agent"] = "\0never"
    send(topics.EVENTS, encode("ses_event", rows[:20]))
    send(topics.EVENTS, encode("ses_event", rows[20:]))
    send(topics.EVENTS, b"\xc3\x01unknown!\x02\0")
    send(topics.RATES, encode("ses_event", rows[:1]))
    send(topics.EVENTS, encode("ses_event", [event(99)]))
    until(lambda: committed(kafka).get(topics.EVENTS) == 4 and committed(kafka).get(topics.RATES) == 1)
    running.join()
    assert running.error is None
    assert number(client, "events") == 40
    letters = client.query(
        "SELECT cause, source, payload_size FROM dead_letters ORDER BY cause, source"
    ).result_rows
    assert [row[0] for row in letters] == ["refused_by_clickhouse", "unreadable_block", "unreadable_block"]
    assert letters[0][1] == "kafka://ses.events/0/0"
    assert letters[0][2] == len(encode("ses_event", rows[17:18])) - 12
    assert letters[1][1:] == ("kafka://ses.events/0/2", 12)


def test_rows_that_do_not_decode_are_rejected_as_their_block(client: Any, event: Any) -> None:
    good = encode("ses_event", [event(1), event(2)])
    broken = good[:-200] + b"\xff" * 199 + b"\0"
    batch = [receive(topics.EVENTS, 0, n, 1000, data, SINGLE_OBJECT) for n, data in enumerate((broken, good))]
    landed = Lander(client, threading.Event()).land(batch)
    assert landed.rows == 2
    assert client.query("SELECT cause, source FROM dead_letters").result_rows == [
        ("undecodable_rows", "kafka://ses.events/0/0")
    ]
    assert number(client, "events") == 2


def test_each_record_of_a_topic_goes_to_its_table_and_others_are_rejected(client: Any, event: Any) -> None:
    reported = {
        "report_id": "r",
        "reporter": "google.com",
        "policy_domain": "shop.example",
        "mail_id": b"m" * 16,
    }
    times = {"begin_time": 0, "end_time": 1, "received_time": 2}
    dmarc = (
        reported
        | times
        | {"row": 0, "policy": {}, "count": 3, "source_ip": "192.0.2.1", "header_from": "shop.example"}
    )
    tls = reported | times | {"row": 0, "policy_type": "sts", "successful": 5}
    mail = {"mail_id": b"m" * 16, "received_time": 2, "kind": "dmarc", "verdicts": {}, "path": "s3"}
    brought = [
        (topics.REPORTS, encode("dmarc_record", [dmarc])),
        (topics.REPORTS, encode("tls_result", [tls])),
        (topics.REPORTS, encode("dmarc_record", [dmarc | {"row": 1}])),
        (topics.REPORTS, encode("inbound_mail", [mail])),
        (topics.INBOUND, encode("inbound_mail", [mail])),
        (topics.EVENTS, encode("ses_event", [event(1)])),
    ]
    batch = [receive(topic, 0, n, 1000, data, SINGLE_OBJECT) for n, (topic, data) in enumerate(brought)]
    landed = Lander(client, threading.Event()).land(batch)
    assert (landed.rows, landed.inserts, landed.letters) == (5, 4, 1)
    assert [number(client, table) for table in ("dmarc_rows", "tls_rows", "mails", "events")] == [2, 1, 1, 1]
    assert client.query("SELECT cause, detail, source FROM dead_letters").result_rows == [
        (
            "unreadable_block",
            "a block of inbound_mail in a topic of dmarc_record and tls_result",
            "kafka://mail.reports/0/3",
        )
    ]


def test_a_stream_of_rejections_stops_the_sink_uncommitted(
    kafka: Kafka, send: Any, start: Any, client: Any
) -> None:
    running = start(client)
    for _ in range(120):
        send(topics.EVENTS, b"not a block")
    running.ends()
    assert isinstance(running.error, ClickHouseError)
    assert "could not be inserted" in str(running.error)
    assert committed(kafka).get(topics.EVENTS, 0) < 120


def test_two_sinks_share_the_partitions_and_land_everything(
    kafka: Kafka, send: Any, start: Any, client: Any, event: Any
) -> None:
    first = start(client)
    assert first.part.ready.wait(20)
    for n in range(10):
        send(topics.EVENTS, encode("ses_event", [event(n)]), n % 2)
    second = start(client)
    assert second.part.ready.wait(20)
    for n in range(10, 20):
        send(topics.EVENTS, encode("ses_event", [event(n)]), n % 2)
    until(lambda: committed(kafka).get(topics.EVENTS) == 20)
    assert number(client, "events") == 20
    assert (first.error, second.error) == (None, None)


@pytest.mark.parametrize(
    ("landed", "stops"),
    [
        (Landed(rows=10_000, letters=99, longest_run=3), False),
        (Landed(rows=1_000, letters=21, longest_run=3), True),
        (Landed(rows=10, letters=5, longest_run=3), False),
        (Landed(rows=100_000, letters=100, longest_run=100), True),
    ],
)
def test_limits(landed: Landed, *, stops: bool) -> None:
    limits = Limits()
    if stops:
        with pytest.raises(ClickHouseError):
            limits.check(landed, 0)
    else:
        limits.check(landed, 0)
