from __future__ import annotations

import contextlib
import gzip
import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from connectors.aws import Access, session, sqs_client
from connectors.errors import BrokerError, SourceError
from connectors.settings import SqsQueue
from connectors.sources.sqs import SqsSource, region_of
from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.embedded

REGION = "eu-west-1"


@pytest.fixture
def aws(server: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    made: list[Any] = []

    def client(service: str) -> Any:
        made.append(boto3.client(service, region_name=REGION, endpoint_url=server))
        return made[-1]

    return client


class Queue:
    def __init__(self, client: Any, name: str, server: str) -> None:
        self.client = client
        self.url: str = client.create_queue(QueueName=name)["QueueUrl"]
        self.server = server

    def settings(self, **more: Any) -> SqsQueue:
        fields = {"url": self.url, "region": REGION, "endpoint_url": self.server, "visibility_s": 30}
        return SqsQueue(**(fields | more))

    def send(self, body: str) -> str:
        return self.client.send_message(QueueUrl=self.url, MessageBody=body)["MessageId"]

    def counts(self) -> tuple[int, int]:
        """Messages that are visible, and in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(answer[names[0]]), int(answer[names[1]])

    @property
    def empty(self) -> bool:
        """As three answers say: one counts what is visible before what is not, and meanwhile that may change."""
        return all(self.counts() == (0, 0) for _ in range(3))


@pytest.fixture
def queue(aws: Any, server: str, request: pytest.FixtureRequest) -> Queue:
    return Queue(aws("sqs"), f"q-{time.time_ns()}", server)


@pytest.fixture
def start(running: Any, new_intake: Any, mailroom: Any) -> Callable[..., Any]:
    return lambda settings, **more: running(SqsSource(settings, new_intake, mailroom, wait_s=1, **more))


def test_raw_and_enveloped_messages_are_taken_and_deleted(  # noqa: PLR0917 - fixtures
    queue: Queue, start: Any, kafka: Any, until: Any, ses_event: Any, notification: Any
) -> None:
    raw = queue.send(ses_event("m-raw"))
    queue.send(json.dumps(notification(ses_event("m-sns"))))
    queue.send("no JSON")
    start(queue.settings())
    until(lambda: queue.empty)
    assert {(event["message_id"], event["path"]) for event in kafka.events} == {
        ("m-raw", "sns"),
        ("m-sns", "sns"),
    }
    (letter,) = kafka.dead_letters
    assert letter["source"].startswith(f"{queue.url}/")
    assert letter["source"] != f"{queue.url}/{raw}"
    assert abs(letter["time"].timestamp() - time.time()) < 60
    assert letter["payload"] == b"no JSON"


def test_a_message_is_deleted_only_after_the_ack_and_hidden_until_then(
    queue: Queue, start: Any, kafka: Any, until: Any, ses_event: Any
) -> None:
    kafka.hold()
    queue.send(ses_event("m-1"))
    # SQS itself goes down to seconds; the settings do not, because a busy process would lose messages by it.
    start(queue.settings(visibility_s=2))
    until(lambda: kafka.events)
    watched_until = time.monotonic() + 5
    while time.monotonic() < watched_until:
        assert queue.counts() == (0, 1)
        time.sleep(0.1)
    assert len(kafka.events) == 1
    kafka.ack()
    until(lambda: queue.empty)


def test_a_mail_is_deleted_only_after_the_ack(queue: Queue, start: Any, kafka: Any, until: Any) -> None:
    kafka.hold()
    queue.send("Subject: a mail\n\ntext")
    start(queue.settings())
    until(lambda: kafka.rows(topics.INBOUND), 60)
    assert queue.counts() == (0, 1)
    kafka.ack()
    until(lambda: queue.empty, 60)


def test_what_is_not_safe_returns_with_the_same_arrival(
    queue: Queue, start: Any, kafka: Any, until: Any, ses_event: Any
) -> None:
    kafka.hold()
    queue.send(ses_event("m-1"))
    first = start(queue.settings(visibility_s=2), drain_s=0.2)
    until(lambda: kafka.events)
    assert first.stop() is None
    assert queue.counts()[1] == 1
    start(queue.settings())
    until(lambda: len(kafka.events) == 2)
    assert len({event["arrival_id"] for event in kafka.events}) == 1
    kafka.ack()
    until(lambda: queue.empty)


def test_a_stopping_source_finishes_what_is_in_work(
    queue: Queue, start: Any, kafka: Any, until: Any, ses_event: Any
) -> None:
    import threading

    kafka.hold()
    for number in range(25):
        queue.send(ses_event(f"m-{number}"))
    started = start(queue.settings(pollers=3))
    # Several pollers at once may be given a message twice, here as at AWS.
    until(lambda: len({event["message_id"] for event in kafka.events}) == 25)
    threading.Timer(0.3, kafka.ack).start()
    assert started.stop() is None
    assert queue.empty


@pytest.fixture
def bucket(aws: Any) -> tuple[Any, str]:
    s3 = aws("s3")
    name = f"b-{time.time_ns()}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return s3, name


def announce(bucket: str, *keys: str) -> str:
    records = [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": REGION,
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1}},
        }
        for key in keys
    ]
    return json.dumps({"Records": records})


def test_announced_objects_are_read_under_the_receipt_of_their_message(  # noqa: PLR0917 - fixtures
    queue: Queue, start: Any, kafka: Any, until: Any, ses_event: Any, bucket: Any
) -> None:
    s3, name = bucket
    s3.put_object(
        Bucket=name, Key="a b.gz", Body=gzip.compress((ses_event("m-1") + ses_event("m-2")).encode())
    )
    s3.put_object(Bucket=name, Key="c", Body=(ses_event("m-3") + "no JSON\n").encode())
    written = s3.head_object(Bucket=name, Key="c")["LastModified"]
    kafka.hold()
    queue.send(announce(name, "a+b.gz", "c"))
    start(queue.settings())
    until(lambda: len(kafka.events) == 3 and kafka.dead_letters)
    assert queue.counts() == (0, 1)
    assert {(event["message_id"], event["path"]) for event in kafka.events} == {
        ("m-1", "firehose"),
        ("m-2", "firehose"),
        ("m-3", "firehose"),
    }
    (letter,) = kafka.dead_letters
    assert letter["source"].startswith(f"s3://{name}/c#")
    assert letter["time"] == written
    kafka.ack()
    until(lambda: queue.empty)


def test_an_object_that_is_gone_is_a_dead_letter(
    queue: Queue, start: Any, kafka: Any, until: Any, bucket: Any
) -> None:
    body = announce(bucket[1], "gone")
    queue.send(body)
    start(queue.settings())
    until(lambda: queue.empty)
    (letter,) = kafka.dead_letters
    assert (letter["cause"], letter["source"]) == ("object_missing", f"s3://{bucket[1]}/gone")
    assert letter["payload"] == body.encode()


def test_an_object_that_cannot_be_read_returns_and_is_given_up_after_five_receipts(  # noqa: PLR0917 - fixtures
    queue: Queue, start: Any, kafka: Any, until: Any, ses_event: Any, bucket: Any
) -> None:
    s3, name = bucket
    s3.put_object(Bucket=name, Key="frozen", Body=ses_event("m-1").encode(), StorageClass="GLACIER")
    queue.send(announce(name, "frozen"))
    start(queue.settings(visibility_s=1))
    until(lambda: kafka.dead_letters)
    (letter,) = kafka.dead_letters
    assert letter["cause"] == "object_forbidden"
    assert "after 5 receipts" in letter["detail"]
    until(lambda: queue.empty)
    assert not kafka.events


def test_a_message_with_a_bad_signature_is_a_dead_letter(  # noqa: PLR0917 - fixtures
    queue: Queue, start: Any, kafka: Any, until: Any, ses_event: Any, notification: Any
) -> None:
    queue.send(json.dumps(notification(ses_event("m-1"))))
    queue.send(ses_event("m-2"))
    start(queue.settings(verify_signatures=True))
    until(lambda: queue.empty)
    assert [event["message_id"] for event in kafka.events] == ["m-2"]
    assert [letter["cause"] for letter in kafka.dead_letters] == ["bad_signature"]


def test_what_sns_publishes_to_the_queue_is_taken(  # noqa: PLR0917 - fixtures
    queue: Queue, start: Any, kafka: Any, until: Any, ses_event: Any, aws: Any
) -> None:
    sns = aws("sns")
    topic = sns.create_topic(Name="ses")["TopicArn"]
    attributes = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["Attributes"]["QueueArn"])
    for number in range(3):
        sns.publish(
            TopicArn=topic, Message=ses_event(f"m-{number}"), Subject="Amazon SES Email Event Notification"
        )
    start(queue.settings())
    until(lambda: len(kafka.events) == 3 and queue.empty)
    assert {(event["message_id"], event["path"]) for event in kafka.events} == {
        (f"m-{number}", "sns") for number in range(3)
    }
    assert not kafka.dead_letters


def test_a_role_is_assumed_for_the_queue(
    queue: Queue, start: Any, kafka: Any, until: Any, ses_event: Any
) -> None:
    arn = "arn:aws:iam::123456789012:role/reader"
    queue.send(ses_event("m-1"))
    start(queue.settings(role_arn=arn))
    until(lambda: queue.empty)
    assert len(kafka.events) == 1
    assumed = session(Access(REGION, arn, queue.server))
    with contextlib.closing(assumed.client("sts", endpoint_url=queue.server)) as sts:
        assert sts.get_caller_identity()["Arn"].endswith("assumed-role/reader/ses-streams")


def test_a_queue_that_is_not_there_is_one_sentence(queue: Queue, start: Any) -> None:
    url = queue.url + "-absent"
    error = start(queue.settings(url=url)).ended()
    assert isinstance(error, SourceError)
    code = "AWS.SimpleQueueService.NonExistentQueue"
    assert str(error) == f"there is no queue {url} ({code}): check its name, account and region"


def test_no_endpoint_is_one_sentence(queue: Queue, start: Any) -> None:
    settings = queue.settings(url="http://127.0.0.1:1/1/q", endpoint_url="http://127.0.0.1:1")
    error = start(settings).ended(60)
    assert isinstance(error, SourceError)
    assert "queue http://127.0.0.1:1/1/q cannot be reached" in str(error)


def test_no_credentials_is_one_sentence(queue: Queue, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for settings in (queue.settings(), queue.settings(role_arn="arn:aws:iam::123456789012:role/reader")):
        error = start(settings).ended()
        assert isinstance(error, SourceError)
        assert str(error).startswith("no AWS credentials for ")
        assert "AWS_PROFILE" in str(error)


def test_no_region_is_one_sentence(aws: Any) -> None:
    with pytest.raises(SourceError, match="no AWS region for SQS: set its region"):
        sqs_client(Access())


def test_a_broken_bridge_ends_the_source_and_leaves_the_message(
    queue: Queue, start: Any, kafka: Any, ses_event: Any
) -> None:
    kafka.break_down()
    queue.send(ses_event("m-1"))
    assert isinstance(start(queue.settings()).ended(), BrokerError)
    assert queue.counts()[1] == 1


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q", "eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", "cn-north-1"),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/q", "eu-west-1"),
        ("http://127.0.0.1:5000/123456789012/q", ""),
        ("https://queue.amazonaws.com/123456789012/q", ""),
    ],
)
def test_region_of_a_queue(url: str, region: str) -> None:
    assert region_of(url) == region
