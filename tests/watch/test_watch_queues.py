"""What is known of SQS queues, on moto's server."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from connectors.errors import SourceError
from connectors.settings import SqsQueue
from connectors.watch.pipeline import Measured, levels
from connectors.watch.queues import Depth, Queue
from pipelines.alarms.rules import defaults

pytestmark = pytest.mark.embedded

REGION = "eu-west-1"
NOW = int(time.time() * 1000)


@pytest.fixture
def sqs(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)
    return boto3.client("sqs", region_name=REGION, endpoint_url=server)


def test_counts_are_looked_at_and_the_age_is_cloudwatchs(sqs: Any, server: str) -> None:
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    queue = Queue(SqsQueue(url=url, region=REGION, endpoint_url=server), span_s=300)
    assert queue.name == "events"
    assert queue.look(NOW) == Depth(waiting=0, standing=None, age_s=None)
    for each in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=str(each))
    assert queue.look(NOW + 60_000) == Depth(3, None, None)
    assert queue.age_trouble == ""
    cloudwatch = boto3.client("cloudwatch", region_name=REGION, endpoint_url=server)
    at = datetime.fromtimestamp(NOW / 1000, UTC)
    for minutes, age in ((-3, 100.0), (1, 160.0), (30, 900.0)):
        cloudwatch.put_metric_data(
            Namespace="AWS/SQS",
            MetricData=[
                {
                    "MetricName": "ApproximateAgeOfOldestMessage",
                    "Dimensions": [{"Name": "QueueName", "Value": "events"}],
                    "Timestamp": at + timedelta(minutes=minutes),
                    "Value": age,
                }
            ],
        )
    assert queue.look(NOW + 100_000) == Depth(3, None, None), "CloudWatch is asked once a minute"
    assert queue.look(NOW + 130_000) == Depth(3, None, 160.0)
    assert queue.look(NOW + 301_000).standing == 0
    assert queue.look(NOW + 361_000).standing == 3
    sqs.purge_queue(QueueUrl=url)
    assert queue.look(NOW + 400_000) == Depth(0, 0, None), "nothing waits, so nothing is old"


def test_a_queue_that_is_not_there_is_one_sentence(sqs: Any, server: str) -> None:
    queue = Queue(SqsQueue(url=f"{server}/123456789012/gone", region=REGION, endpoint_url=server), span_s=300)
    with pytest.raises(SourceError, match="there is no queue"):
        queue.look(NOW)


def measured(depth: Depth) -> Measured:
    return Measured({}, {"events": depth}, {}, 0.0, "", "", {})


@pytest.mark.parametrize(
    ("depth", "above"),
    [
        (Depth(0, 0, None), set()),
        (Depth(500, None, None), set()),
        (Depth(500, 181, None), {"backlog"}),
        (Depth(500, 180, None), set()),
        (Depth(500, 400, 20.0), set()),
        (Depth(500, 400, 200.0), {"oldest_message"}),
        (Depth(500, 400, 301.0), {"oldest_message", "backlog"}),
        (Depth(2, 1, 181.0), {"oldest_message"}),
    ],
)
def test_a_backlog_is_trouble_unless_its_oldest_is_known_to_be_young(depth: Depth, above: set[str]) -> None:
    rule = defaults().by_name["pipeline"]
    found = [level for level in levels(rule, measured(depth)) if level.value == "queue events"]
    assert {level.check for level in found if level.above} == above
