"""The response as it runs: transitions and actions in Kafka, SES over HTTP, and the commands beside it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaProducer

import connectors.cli.wiring  # noqa: F401 - urllib3 opens a socket when it is first imported
from connectors.cli.main import main
from connectors.embedded import broker as embedded
from connectors.embedded import lifeline
from connectors.kafka import client_options, ensure_topics
from connectors.response.by_hand import past_of
from connectors.response.companion import ResponseCompanion
from connectors.response.responder import Patience
from connectors.settings import Kafka
from pipelines.alarms.transition import encode, partition_of, record_key
from schemas import topics
from schemas.blocks import SINGLE_OBJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.embedded
PARTITIONS = 2
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def kafka() -> Iterator[Kafka]:
    port = embedded.free_port()
    process = subprocess.Popen(
        lifeline.wrap(embedded.command(port)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if not embedded.wait_for(port, process):
            pytest.fail("the embedded broker did not start")
        settings = Kafka(brokers=f"{embedded.HOST}:{port}", partitions=PARTITIONS, replication=1)
        ensure_topics(settings)
        yield settings
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def tell(kafka: Kafka) -> Iterator[Callable[[Any], None]]:
    """Writes a transition."""
    producer = KafkaProducer(**client_options(kafka), acks="all", batch_size=0, metrics_enabled=False)

    def send(alarm: Any) -> None:
        key = alarm["alarm_key"]
        producer.send(
            topics.ALARMS, key=record_key(key), value=encode(alarm), partition=partition_of(key, PARTITIONS)
        ).get(timeout=30)

    yield send
    producer.close()


@pytest.fixture
def start(kafka: Kafka, ses: Any, credentials: None, make_response: Any) -> Iterator[Callable[..., Any]]:
    """Starts companions; gives what stops one. Time is the clock's, and moves on by itself."""
    stops: list[Callable[[], None]] = []

    def run(clock: Any, **fields: Any) -> Callable[[], None]:
        companion = ResponseCompanion(
            kafka,
            make_response(ses.url, **fields),
            max_age_s=6 * 3600,
            clock=clock,
            patience=Patience(first_s=0.0, settle_s=0.0),
        )
        halt = threading.Event()
        failed: list[BaseException] = []

        def work() -> None:
            try:
                companion.run(halt)
            except BaseException as error:  # noqa: BLE001 - raised below
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()

        def stop() -> None:
            halt.set()
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
            if failed:
                raise failed.pop()

        stops.append(stop)
        return stop

    yield run
    for stop in stops:
        stop()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.02)


def outcomes(kafka: Kafka, target: str) -> list[tuple[str, str]]:
    """Action and outcome of every row about a target, by time."""
    rows = [row for row in past_of(kafka, SINGLE_OBJECT) if row["target"] == target]
    return [(row["action"], row["outcome"]) for row in sorted(rows, key=lambda each: each["time"])]


def test_an_alarm_in_kafka_pauses_and_the_next_companion_resumes(
    kafka: Kafka, tell: Any, start: Any, make_alarm: Any, world: Any
) -> None:
    ses, clock = world.ses, world.clock
    tell(make_alarm("news"))
    stop = start(clock, expires_h=1)
    until(lambda: ses.sets["news"] is False)
    tell(make_alarm("offers", time=0))
    tell(make_alarm("more", seq=7))
    until(lambda: ses.sets["more"] is False)
    stop()
    clock.now += 2 * 3600
    stop = start(clock, expires_h=1)
    until(lambda: ses.sets["news"] and ses.sets["more"])
    stop()
    done = [("pause", "intended"), ("pause", "done"), ("resume", "intended"), ("resume", "done")]
    assert outcomes(kafka, "configuration_set:news") == done
    assert outcomes(kafka, "configuration_set:offers") == []
    assert sorted(ses.changes) == [("more", False), ("more", True), ("news", False), ("news", True)]


@pytest.fixture
def command(
    kafka: Kafka,
    ses: Any,
    credentials: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """Runs `ses-streams …`; gives the code, standard output and error."""
    for name, value in {
        "KAFKA__BROKERS": kafka.brokers,
        "KAFKA__PARTITIONS": str(PARTITIONS),
        "CLICKHOUSE__DSN": "clickhouse://nobody@127.0.0.1:9/ses",
        "RESPONSE__REGION": "eu-west-1",
        "RESPONSE__ENDPOINT_URL": ses.url,
    }.items():
        monkeypatch.setenv(f"SES_STREAMS_{name}", value)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ses-streams", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return run


def test_a_person_pauses_sees_and_resumes(command: Any, ses: Any, kafka: Kafka) -> None:
    code, out, err = command("pause", "tenant:acme", "--for", "90m", "--reason", "odd replies", "--by", "ann")
    assert (code, ses.tenants["acme"]) == (0, "DISABLED"), err
    assert out.startswith("tenant:acme is paused until ")
    code, out, _ = command("pause", "--list")
    assert "tenant:acme" in out
    assert "ann" in out
    assert "odd replies" in out
    code, _, err = command("pause", "tenant:acme")
    assert (code, err.count("\n")) == (1, 1)
    assert "is paused already, by ann" in err
    code, out, _ = command("resume", "tenant:acme", "--by", "bob")
    assert (code, out) == (0, "tenant:acme is resumed\n")
    assert "tenant:acme" not in command("pause", "--list")[1]
    assert ses.changes == [("acme", "DISABLED"), ("acme", "ENABLED")]
    [resumed] = [
        row for row in past_of(kafka, SINGLE_OBJECT) if row["operator"] == "bob" and row["outcome"] == "done"
    ]
    assert (resumed["action"], resumed["target"]) == ("resume", "tenant:acme")


def test_a_pause_by_a_person_expires_too_whether_or_not_alarms_pause(
    command: Any, start: Any, ses: Any, clock: Any
) -> None:
    assert command("pause", "configuration_set:bulk", "--for", "30m")[0] == 0
    assert ses.sets["bulk"] is False
    clock.now = time.time() + 31 * 60
    stop = start(clock, enabled=False)
    until(lambda: ses.sets["bulk"] is True)
    stop()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("pause", "account:1"), "would stop all mail"),
        (("pause", "campaign:x"), "cannot be paused"),
        (("pause",), "name what to pause"),
        (("pause", "tenant:acme", "--for", "soon"), "is no span of time"),
        (("pause", "tenant:gone"), "tenant:gone is not paused: "),
        (("pause", "configuration_set:off"), "is disabled already, by somebody else"),
        (("resume", "configuration_set:off"), "was not paused by ses-streams"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said_in_a_sentence_and_changes_nothing(
    command: Any, ses: Any, words: tuple[str, ...], sentence: str
) -> None:
    code, out, err = command(*words)
    assert code in {1, 2}
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err
    assert ses.changes == []


def test_where_nothing_is_new_enough_it_is_caught_up_with_all_the_same(kafka: Kafka) -> None:
    from connectors.response.topics import Topics

    with closing(Topics(kafka)) as read:
        read.start(alarms_since=int(time.time() * 1000) + 10_000_000)
        until(lambda: _advance(read))


def _advance(read: Any) -> bool:
    read.poll(lambda _: None, lambda _: None, 50)
    return bool(read.caught_up)
