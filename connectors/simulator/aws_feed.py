"""Feeds simulated events through AWS, or a stand-in for it, by two paths at once.

As a careful sender sets it up:

    SNS topic → SQS queue
    Firehose  → S3 objects → S3 notifications → another SQS queue

So each event comes twice, and some more often. Received mail comes as receipt rules send it on:

    S3 action → object → S3 notification → the second queue, for some with a notification of SES's own → SNS → SQS
    SNS action with the mail in the notification → SQS
"""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

from connectors.simulator import broken, wire
from connectors.simulator.batches import batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from connectors.simulator.payloads import Event
    from connectors.simulator.replies import Mail
    from connectors.simulator.truth import Truth

_NAME: Final = "ses-events"
_BUCKET: Final = "ses-events-archive"
_MAIL_BUCKET: Final = "ses-inbound"
_WAYS: Final = 3
"""Of mail, in turn."""
_PUBLISH: Final = 10
"""Messages of an SNS PublishBatch at the most."""
_RECORDS: Final = 200
"""Events of a Firehose object here."""
BROKEN_EVERY: Final = 150
"""Copies by Firehose, of which then one is followed by a record that cannot be used."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What was set up."""

    topic_arn: str
    events_queue: str
    objects_queue: str


class AwsFeed:
    """Publishes events by both paths. Its clients are of one thread."""

    def __init__(self, endpoint_url: str, region: str, seed: int) -> None:
        options: dict[str, Any] = {
            "endpoint_url": endpoint_url,
            "region_name": region,
            "aws_access_key_id": "testing",
            "aws_secret_access_key": "testing",  # the stand-in takes any
            "config": Config(s3={"addressing_style": "path"}, retries={"mode": "standard"}),
        }
        self._sns = boto3.client("sns", **options)
        self._sqs = boto3.client("sqs", **options)
        self._s3 = boto3.client("s3", **options)
        self._firehose = boto3.client("firehose", **options)
        self._rng = Random(seed + 3)  # noqa: S311 - a simulation
        self._broken_every = BROKEN_EVERY
        self._lines_written = 0
        self._objects = 0
        self._published = 0
        self._layout: Layout | None = None

    def set_up(self) -> Layout:
        """Topic, queues, bucket with notifications, delivery stream."""
        topic = self._sns.create_topic(Name=_NAME)["TopicArn"]
        events, events_arn = self._queue(_NAME)
        objects, objects_arn = self._queue(f"{_NAME}-objects")
        self._sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=events_arn)
        for bucket in (_BUCKET, _MAIL_BUCKET):
            self._s3.create_bucket(Bucket=bucket)
            self._s3.put_bucket_notification_configuration(
                Bucket=bucket,
                NotificationConfiguration={
                    "QueueConfigurations": [{"QueueArn": objects_arn, "Events": ["s3:ObjectCreated:*"]}]
                },
            )
        self._firehose.create_delivery_stream(
            DeliveryStreamName=_NAME,
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/firehose",
                "BucketARN": f"arn:aws:s3:::{_BUCKET}",
                "Prefix": "ses/",
            },
        )
        self._layout = Layout(topic, events, objects)
        return self._layout

    def feed(
        self,
        events: Iterable[Event],
        truth: Truth,
        progress: Callable[[int], None],
        broken_every: int = BROKEN_EVERY,
    ) -> None:
        """Publish events by both paths, some of them again, with broken records among them.

        Args:
            events: in the order of arrival.
            truth: gets the copies and the broken records.
            progress: told the number of events published.
            broken_every: copies between records that cannot be used.
        """
        self._broken_every = broken_every
        for batch in batches(events, _RECORDS):
            self._deliver([line for event in batch for line in self._lines(event, truth)], batch[0])
            self._again(self._rng.sample(batch, len(batch) // 25), truth)
            for part in batches(batch, _PUBLISH):
                self._publish(part, truth)
                self._published += len(part)
                progress(self._published)

    def receive(self, mails: Iterable[Mail]) -> None:
        """Let mail come in, by each way in turn."""
        for number, mail in enumerate(mails):
            way = number % _WAYS
            key = f"inbound/{mail.ses_id}"
            if way != _WAYS - 1:
                self._s3.put_object(Bucket=_MAIL_BUCKET, Key=key, Body=mail.raw)
            if way:
                self._announce(wire.received(mail, _MAIL_BUCKET if way == 1 else "", key))

    def cut_off(self, event: Event, truth: Truth) -> None:
        """Put an object whose upload broke off: no whole record is in it."""
        packed = gzip.compress(wire.bare(event))
        self._s3.put_object(Bucket=_BUCKET, Key="ses/broken-upload.gz", Body=packed[:60])
        truth.broken[broken.TRUNCATED_GZIP] += 1

    def waiting(self) -> int:
        """Messages in both queues that nobody has deleted yet."""
        if self._layout is None:
            return 0
        total = 0
        for url in (self._layout.events_queue, self._layout.objects_queue):
            found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            total += int(found["ApproximateNumberOfMessages"])
            total += int(found["ApproximateNumberOfMessagesNotVisible"])
        return total

    def _queue(self, name: str) -> tuple[str, str]:
        url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, found["Attributes"]["QueueArn"]

    def _lines(self, event: Event, truth: Truth) -> Iterator[bytes]:
        """What of an event goes into a Firehose object."""
        yield wire.bare(event)
        truth.copies += 1
        self._lines_written += 1
        if self._lines_written % self._broken_every == 0:
            kinds = list(broken.KINDS)
            kind = kinds[truth.broken.total() % len(kinds)]
            yield broken.KINDS[kind](event)
            truth.broken[kind] += 1

    def _deliver(self, lines: list[bytes], first: Event) -> None:
        """One object.

        By Firehose itself as plain text, every other time compressed as Firehose may be told to.
        """
        self._objects += 1
        if self._objects % 2:
            self._firehose.put_record_batch(
                DeliveryStreamName=_NAME, Records=[{"Data": line} for line in lines]
            )
            return
        key = wire.object_key("ses/", _NAME, first.arrival_ms, self._rng) + ".gz"
        self._s3.put_object(Bucket=_BUCKET, Key=key, Body=gzip.compress(b"".join(lines)))

    def _publish(self, events: list[Event], truth: Truth) -> None:
        topic = self._layout.topic_arn if self._layout else ""
        self._sns.publish_batch(
            TopicArn=topic,
            PublishBatchRequestEntries=[
                {
                    "Id": str(index),
                    "Subject": "Amazon SES Email Event Notification",
                    "Message": wire.bare(event).decode(),
                }
                for index, event in enumerate(events)
            ],
        )
        truth.copies += len(events)

    def _announce(self, message: str) -> None:
        topic = self._layout.topic_arn if self._layout else ""
        self._sns.publish(TopicArn=topic, Subject="Amazon SES Email Receipt Notification", Message=message)

    def _again(self, events: list[Event], truth: Truth) -> None:
        """SNS delivers at least once."""
        for part in batches(events, _PUBLISH):
            self._publish(part, truth)


def now_ms() -> int:
    """The time at which simulated events arrive."""
    return time.time_ns() // 1_000_000
