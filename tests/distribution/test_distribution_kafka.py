"""The distribution as it runs: mail and rows in Kafka, bytes in S3, SES and SNS over HTTP; and killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import closing, contextmanager
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING, Any, Final

import boto3
import msgspec
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

import connectors.cli.wiring  # noqa: F401 - urllib3 opens a socket when it is first imported
from connectors.bridge.producer import producer_options
from connectors.distribution.companion import DistributionCompanion
from connectors.distribution.forwarder import Patience
from connectors.inbound.settings import Inbound
from connectors.kafka import Positions, client_options
from connectors.settings import Settings
from schemas import topics
from schemas.blocks import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connectors.settings import Kafka

pytestmark = pytest.mark.embedded
DEADLINE_S = 60.0
REGION: Final = "eu-west-1"
ENDS = ["sent", "unknown", "unknown"]


@pytest.fixture
def settings(kafka: Kafka, server: str, ses: Any, world: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a Kafka and an AWS of this machine, with buckets, a topic and a queue that hears it."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": server,
        "AWS_ENDPOINT_URL_SESV2": ses.url,
    }.items():
        monkeypatch.setenv(name, value)
    urllib.request.urlopen(
        urllib.request.Request(f"{server}/moto-api/reset", method="POST"), timeout=60
    ).close()
    s3, sns, sqs = boto3.client("s3"), boto3.client("sns"), boto3.client("sqs")
    for bucket in ("mails", "attachments"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    topic = sns.create_topic(Name="undistributed")["TopicArn"]
    queue = sqs.create_queue(QueueName="undistributed")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    for client in (s3, sns, sqs):
        client.close()
    distribution = msgspec.structs.replace(world.settings, fallback_topic=topic)
    inbound = Inbound(attachments="s3://attachments/a", distribution=distribution)
    return Settings(kafka=kafka, inbound=inbound)


@contextmanager
def running(settings: Settings, policy: Any, **patience: float) -> Iterator[DistributionCompanion]:
    companion = DistributionCompanion(settings, policy, patience=Patience(first_s=0.05, **patience))
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            companion.run(stop)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield companion
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    if failures:
        raise failures[0]


def rows(kafka: Kafka) -> list[dict[str, Any]]:
    with closing(KafkaConsumer(**client_options(kafka), enable_auto_commit=False)) as consumer:
        places = [TopicPartition(topics.FORWARDS, each) for each in range(kafka.partitions)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        found = []
        while any(consumer.position(each) < ends[each] for each in places):
            for records in consumer.poll(timeout_ms=100).values():
                found += [(record.key, row) for record in records for row in decode(record.value)]
    assert all(key == f"{row['mail_id'].hex()}:{row['attempt']}".encode() for key, row in found)
    return [row for _, row in found]


def outcomes(kafka: Kafka, mail: Any) -> list[str]:
    return [row["outcome"] for row in rows(kafka) if row["mail_id"] == mail["mail_id"]]


def arrive(settings: Settings, *mails: Any, raw: bytes) -> None:
    """Mails arrive: their bytes in S3, their rows in Kafka."""
    s3 = boto3.client("s3")
    with closing(KafkaProducer(**producer_options(settings.kafka))) as producer:
        for mail in mails:
            bucket, _, key = mail["object"].removeprefix("s3://").partition("/")
            s3.put_object(Bucket=bucket, Key=key, Body=raw)
            block = encode("inbound_mail", [{**mail, "received_time": round(time.time() * 1000)}])
            producer.send(topics.INBOUND, value=block, partition=0).get(timeout=DEADLINE_S)
    s3.close()


def told(settings: Settings) -> list[Any]:
    """What the fallback topic was told since it was last asked."""
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=settings.inbound.distribution.fallback_topic.rpartition(":")[2])[
        "QueueUrl"
    ]
    found = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [json.loads(each["Body"]) for each in messages]
    sqs.close()
    return found


def becomes(look: Callable[[], Any], wanted: Any) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while (found := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found == wanted


def begun(kafka: Kafka) -> int:
    """Partitions of which it is committed where to begin."""
    with closing(KafkaConsumer(**client_options(kafka), group_id=topics.DISTRIBUTION_GROUP)) as consumer:
        places = [TopicPartition(topics.INBOUND, each) for each in range(kafka.partitions)]
        return sum(consumer.committed(each) is not None for each in places)


def test_mail_is_sent_on_and_told_of_and_never_twice(settings: Settings, ses: Any, world: Any) -> None:
    policy, kafka = world.policy(), settings.kafka
    before = world.add(b"", received_time=0)
    arrive(settings, before, raw=world.raw())
    ses.answers = [(429, False), (503, False), (200, True), (500, False), ("cut", True)]
    mails = [world.add(b"") for _ in range(3)]
    other = world.add(b"", recipients=[{"address": "someone@iot.example", "domain": "iot.example"}])
    with running(settings, policy):
        becomes(lambda: begun(kafka), kafka.partitions)
        arrive(settings, *mails, other, raw=world.raw())
        becomes(lambda: sorted(last for mail in mails for last in outcomes(kafka, mail)[-1:]), ENDS)
        arrive(settings, *mails, raw=world.raw())
        with closing(Positions(kafka)) as positions:
            becomes(
                lambda: positions.committed(topics.DISTRIBUTION_GROUP, topics.INBOUND),
                positions.end_offsets(topics.INBOUND),
            )
    assert sum(outcomes(kafka, mail).count("deferred") for mail in mails) == 2
    assert (outcomes(kafka, before), outcomes(kafka, other)) == ([], [])
    assert len(ses.mailbox) == 2  # of one SES cut its answer off
    assert (
        sorted((each["outcome"], each["reason"]) for each in told(settings)) == [("unknown", "unclear")] * 2
    )
    text = message_from_bytes(ses.mailbox[0][1], policy=default).get_content()
    link = next(line for line in text.splitlines() if line.startswith("http"))
    with urllib.request.urlopen(link, timeout=60) as answer:
        assert answer.read() == world.photo
        assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    with running(settings, policy):
        arrive(settings, *mails, raw=world.raw())
        fourth = world.add(b"")
        arrive(settings, fourth, raw=world.raw("no markers"))
        becomes(lambda: outcomes(kafka, fourth), ["fallback"])
    assert len(ses.mailbox) == 2
    assert [each["reason"] for each in told(settings)] == ["markers_missing"]


_PROCESS = """
import sys, threading, msgspec
from connectors.distribution.companion import DistributionCompanion
from connectors.inbound.settings import Inbound
from connectors.settings import Kafka, Settings
from pipelines.intake.providers import Directory
from pipelines.mail.policy import MailPolicy
kafka = Kafka(brokers=sys.argv[1], partitions=int(sys.argv[2]), replication=1)
settings = Settings(kafka=kafka, inbound=msgspec.json.decode(sys.argv[3], type=Inbound))
DistributionCompanion(settings, MailPolicy(directory=Directory(), pii="plain")).run(threading.Event())
"""


def test_killed_while_ses_hangs_it_is_told_and_not_sent_again(
    settings: Settings, ses: Any, world: Any
) -> None:
    kafka, mail = settings.kafka, world.add(b"")
    ses.answers = [("hang", True)]
    given = (kafka.brokers, str(kafka.partitions), msgspec.json.encode(settings.inbound).decode())
    process = subprocess.Popen([sys.executable, "-P", "-c", _PROCESS, *given])
    try:
        becomes(lambda: process.poll() is None and begun(kafka), kafka.partitions)
        arrive(settings, mail, raw=world.raw())
        becomes(lambda: ses.asked, 1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert outcomes(kafka, mail) == ["intended"]
    with running(settings, world.policy(), settle_s=0.5):
        becomes(lambda: outcomes(kafka, mail), ["intended", "unknown"])
    assert len(ses.mailbox) == 1
    assert [(each["outcome"], each["reason"]) for each in told(settings)] == [("unknown", "interrupted")]
