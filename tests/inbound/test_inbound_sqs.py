"""Mails that queues tell of: by whatever notification, fetched, read, and deleted only once they are safe."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from msgspec.structs import replace

from connectors.inbound.mailroom import Mailroom
from connectors.inbound.settings import policy_of
from connectors.settings import SqsQueue
from connectors.sources.sqs import SqsSource
from pipelines.intake.policy import NormalisePolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connectors.bridge import Bridge
    from connectors.inbound.settings import Inbound

pytestmark = pytest.mark.embedded

REGION = "eu-west-1"
TOPIC = f"arn:aws:sns:{REGION}:111122223333:received"
SES_ID = "o3vrnil0e2ic28trm7dfhrc2v0clambda4nb0001"


class Aws:
    """A queue and a bucket of their own."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.sqs: Any = boto3.client("sqs", region_name=REGION, endpoint_url=server)
        self.s3: Any = boto3.client("s3", region_name=REGION, endpoint_url=server)
        self.bucket = f"mails-{time.time_ns()}"
        place: Any = {"LocationConstraint": REGION}
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration=place)
        self.url: str = self.sqs.create_queue(QueueName=f"q-{time.time_ns()}")["QueueUrl"]

    def settings(self, **more: Any) -> SqsQueue:
        # moto may give one message to two that ask at the same time.
        fields: dict[str, Any] = {
            "url": self.url,
            "region": REGION,
            "endpoint_url": self.server,
            "visibility_s": 30,
        }
        fields["pollers"] = 1
        return SqsQueue(**(fields | more))

    def put(self, key: str, data: bytes, **more: Any) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=data, **more)

    def send(self, document: Any) -> None:
        text = document if isinstance(document, str) else json.dumps(document)
        self.sqs.send_message(QueueUrl=self.url, MessageBody=text)

    def counts(self) -> tuple[int, int]:
        """Messages that are visible, and in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(answer[names[0]]), int(answer[names[1]])

    @property
    def empty(self) -> bool:
        """As three answers say: one counts what is visible before what is not, and meanwhile that may change."""
        return all(self.counts() == (0, 0) for _ in range(3))

    def s3_event(self, key: str) -> dict[str, Any]:
        thing = {"bucket": {"name": self.bucket}, "object": {"key": key.replace(" ", "+"), "size": 9}}
        record = {"eventSource": "aws:s3", "awsRegion": REGION, "eventName": "ObjectCreated:Put", "s3": thing}
        return {"Records": [record]}

    def eventbridge(self, key: str) -> dict[str, Any]:
        detail = {"bucket": {"name": self.bucket}, "object": {"key": key, "size": 9}}
        return {"detail-type": "Object Created", "source": "aws.s3", "region": REGION, "detail": detail}

    def in_s3(self, key: str) -> dict[str, Any]:
        return {"type": "S3", "topicArn": TOPIC, "bucketName": self.bucket, "objectKey": key}


@pytest.fixture
def aws(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    made = Aws(server)
    yield made
    made.sqs.close()
    made.s3.close()


@pytest.fixture
def run(
    bridge: Bridge, mailroom: Mailroom, new_intake: Any, inbound: Inbound
) -> Iterator[Callable[..., tuple[SqsSource, Callable[[], None]]]]:
    ends: list[Callable[[], None]] = []

    def start(settings: SqsQueue, **more: Any) -> tuple[SqsSource, Callable[[], None]]:
        given = {"mailroom": mailroom, "inbound": inbound, "wait_s": 1} | more
        source, stop = SqsSource(settings, new_intake, **given), threading.Event()
        thread = threading.Thread(target=source.run, args=(bridge, stop))
        thread.start()

        def end() -> None:
            stop.set()
            thread.join(60)
            assert not thread.is_alive()

        ends.append(end)
        return source, end

    yield start
    for end in ends:
        end()


def received(
    action: dict[str, Any], recipient: str = "in@acme.in.example.com", **more: Any
) -> dict[str, Any]:
    told = {"timestamp": "2026-11-20T10:00:00.000Z", "source": "a@example.org", "messageId": SES_ID}
    receipt = {"timestamp": "2026-11-20T10:00:01.000Z", "recipients": [recipient], "action": action}
    return {"notificationType": "Received", "mail": told, "receipt": receipt} | more


def in_sns(message: Any) -> dict[str, Any]:
    return {"Type": "Notification", "TopicArn": TOPIC, "MessageId": "m", "Message": json.dumps(message)}


def test_one_mail_by_every_notification_is_one_mail(
    aws: Aws, run: Any, kafka: Any, until: Any, mail: Any
) -> None:
    raw, key = mail(1), f"in/of acme/{SES_ID}"
    aws.put(key, raw)
    aws.send(in_sns(received(aws.in_s3(key))))
    aws.send(received(aws.in_s3(key)))
    aws.send(aws.s3_event(key))
    aws.send(in_sns(aws.s3_event(key)))
    aws.send(aws.eventbridge(key))
    aws.send(in_sns(received({"type": "SNS", "topicArn": TOPIC, "encoding": "UTF8"}, content=raw.decode())))
    encoded = base64.b64encode(raw).decode()
    aws.send(in_sns(received({"type": "SNS", "topicArn": TOPIC, "encoding": "BASE64"}, content=encoded)))
    aws.send(encoded)
    run(aws.settings())
    until(lambda: aws.empty)
    assert kafka.dead_letters == []
    rows = kafka.mails
    assert len(rows) == 8
    assert len({row["mail_id"] for row in rows}) == 1
    assert {row["object"] for row in rows if row["path"] == "s3"} == {f"s3://{aws.bucket}/{key}"}
    assert sorted(row["path"] for row in rows) == ["s3"] * 5 + ["sns"] * 3
    # Told by five messages, an object is one arrival.
    assert len({row["arrival_id"] for row in rows}) == 4
    digest = hashlib.sha256(b"%PDF-1.4").hexdigest()
    assert all(row["attachments"][0]["key"].endswith(digest) for row in rows)
    assert {row["tenant"] for row in rows} == {"acme"}


def test_objects_that_cannot_be_read_are_dead_letters_with_their_causes(
    aws: Aws, run: Any, kafka: Any, until: Any, mail: Any
) -> None:
    secret = {
        "x-amz-key-v2": "AAAA",
        "x-amz-iv": "BBBB",
        "x-amz-wrap-alg": "kms+context",
        "x-amz-matdesc": "{}",
    }
    aws.put("in/encrypted", b"\x00" * 100, Metadata=secret)
    aws.put("in/damaged", b"\x1f\x8b\x08\x00")
    for key in ("in/encrypted", "in/gone", "in/damaged"):
        aws.send(in_sns(received(aws.in_s3(key))))
        aws.send(aws.s3_event(key))
    run(aws.settings())
    until(lambda: aws.empty)
    causes = {letter["source"].rpartition("/")[2]: letter["cause"] for letter in kafka.dead_letters}
    assert causes["encrypted"] == "client_side_encrypted"
    assert causes["gone"] == "object_missing"
    (detail,) = {each["detail"] for each in kafka.dead_letters if each["cause"] == "client_side_encrypted"}
    assert "kms+context" in detail
    assert "SSE-KMS" in detail
    assert aws.s3.list_objects_v2(Bucket=aws.bucket)["KeyCount"] == 2


def test_a_mail_that_may_not_be_read_is_given_up_after_five_failures(
    aws: Aws, run: Any, kafka: Any, until: Any, mail: Any
) -> None:
    aws.put("in/frozen", mail(1), StorageClass="GLACIER")
    aws.send(received(aws.in_s3("in/frozen")))
    source, _ = run(aws.settings(visibility_s=1))
    until(lambda: aws.empty)
    assert source.numbers.returned >= 4
    assert kafka.mails == []
    letters = {(letter["cause"], letter["source"]) for letter in kafka.dead_letters}
    assert letters == {("object_forbidden", f"s3://{aws.bucket}/in/frozen")}
    letter = kafka.dead_letters[0]
    assert letter["detail"].startswith("given up after")
    assert json.loads(letter["payload"])["mail"]["messageId"] == SES_ID


def test_while_attachments_cannot_be_stored_the_message_returns_and_nothing_is_lost(  # noqa: PLR0917 - fixtures
    aws: Aws, run: Any, kafka: Any, until: Any, mail: Any, store: Any
) -> None:
    aws.put("in/1", mail(1))
    shutil.rmtree(store.path)
    store.path.write_bytes(b"in the way")
    aws.send(aws.s3_event("in/1"))
    source, _ = run(aws.settings(visibility_s=1))
    until(lambda: source.numbers.returned >= 6)
    assert (kafka.mails, kafka.dead_letters) == ([], [])
    store.path.unlink()
    (store.path / "writing").mkdir(parents=True)
    (store.path / "lock").touch()
    until(lambda: aws.empty)
    (row,) = kafka.mails
    assert row["attachments"][0]["key"]
    assert kafka.dead_letters == []


def test_events_and_mails_mixed_in_one_queue_and_one_message(
    aws: Aws, run: Any, kafka: Any, until: Any, mail: Any
) -> None:
    from schemas import topics

    event = {
        "eventType": "Send",
        "send": {},
        "mail": {"timestamp": "2026-10-05T09:00:00.000Z", "messageId": "m", "destination": ["a@b.example"]},
    }
    aws.put("events/1", json.dumps(event).encode())
    aws.put("in/1", mail(1))
    both = {"Records": aws.s3_event("in/1")["Records"] + aws.s3_event("events/1")["Records"]}
    for document in (event, both, aws.s3_event("in/1"), in_sns({"nothing": 1})):
        aws.send(document)
    run(aws.settings())
    until(lambda: aws.empty)
    assert len(kafka.rows(topics.EVENTS)) == 2
    assert len(kafka.mails) == 2
    assert [letter["cause"] for letter in kafka.dead_letters] == ["not_an_ses_event"]


def of_tenant(tenant: str, number: int) -> str:
    content = {"type": "SNS", "topicArn": TOPIC, "encoding": "UTF8"}
    raw = f"Subject: {tenant} {number}\r\n\r\nx"
    return json.dumps(received(content, f"x@{tenant}.in.example.com", content=raw))


def test_a_tenant_beyond_its_share_is_given_back_and_comes_again(
    aws: Aws, run: Any, kafka: Any, until: Any, inbound: Inbound
) -> None:
    for number in range(20):
        aws.send(of_tenant("flood", number))
    for number in range(5):
        aws.send(of_tenant("few", number))
    source, _ = run(aws.settings(), inbound=replace(inbound, readers=1, in_hand=10))
    until(lambda: aws.empty, 120)
    assert len({row["subject"] for row in kafka.mails}) == 25
    assert kafka.dead_letters == []
    assert source.lobby_numbers.read == {"flood": 20, "few": 5}


@pytest.mark.chaos
@pytest.mark.usefixtures("aws")
def test_the_flood_of_one_tenant_leaves_the_others_their_turn(  # noqa: PLR0917 - fixtures
    bridge: Bridge, run: Any, kafka: Any, until: Any, inbound: Inbound, local_queue: Any
) -> None:
    flood, few = 2000, 20
    bodies = [of_tenant("flood", number) for number in range(flood)]
    bodies += [of_tenant("few", number) for number in range(few)]

    class Slow(Mailroom):
        """Reads a hundred a second, as a mail of some megabytes takes."""

        def read_content(self, *args: Any) -> Any:
            time.sleep(0.01)
            return super().read_content(*args)

    room = Slow(policy_of(inbound, NormalisePolicy(pii="plain")))
    with local_queue(bodies) as queue:
        settings = SqsQueue(url=queue.url, region=REGION, endpoint_url=queue.endpoint)
        source, end = run(settings, mailroom=room, inbound=replace(inbound, readers=1, in_hand=100))
        until(lambda: source.lobby_numbers is not None)
        numbers = source.lobby_numbers
        until(lambda: numbers.read["few"] == few, 120)
        at_that_time = numbers.read["flood"]
        end()
        bridge.flush(60)
        left = len(queue)
    assert at_that_time < flood / 2
    assert (numbers.put_off["few"], numbers.put_off["flood"] > flood / 2) == (0, True)
    read = {row["subject"] for row in kafka.mails}
    assert len(read) >= flood + few - left >= few, "what is not read is still in the queue"
    assert kafka.dead_letters == []
