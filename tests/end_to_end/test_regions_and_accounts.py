"""One campaign from two regions and two accounts, through a queue each, into one running instance."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from connectors.clickhouse.sql import Through, run_sql
from connectors.errors import ClickHouseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded

OURS, THEIRS = "123456789012", "444455556666"
"""Ours is moto's own."""
ROLE = f"arn:aws:iam::{THEIRS}:role/ses-events-reader"
EAST, WEST = "us-east-1", "eu-west-1"


class Sender:
    """A topic with a queue behind it in one region of one account, as a sender sets it up there."""

    def __init__(self, server: str, region: str, account: str, keys: dict[str, str]) -> None:
        self.region, self.account = region, account
        sqs, self._sns = (
            boto3.client(name, region_name=region, endpoint_url=server, **keys) for name in ("sqs", "sns")
        )
        self.url = sqs.create_queue(QueueName="ses-events")["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]
        self.topic = self._sns.create_topic(Name="ses-events")["TopicArn"]
        self._sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=found["QueueArn"])

    def event(self, kind: str, number: int, sent: datetime) -> str:
        """As SES publishes it."""
        recipient = f"reader{number}@yahoo.com"
        details: dict[str, Any] = {
            "Send": ("send", {}),
            "Delivery": (
                "delivery",
                {"timestamp": _iso(sent + timedelta(seconds=2)), "recipients": [recipient]},
            ),
            "Complaint": (
                "complaint",
                {
                    "timestamp": _iso(sent + timedelta(seconds=60)),
                    "feedbackId": f"{self.region}-{number}",
                    "complaintFeedbackType": "abuse",
                    "complainedRecipients": [{"emailAddress": recipient}],
                },
            ),
        }
        key, detail = details[kind]
        mail = {
            "timestamp": _iso(sent),
            "messageId": f"{self.region}-{self.account}-{number}",
            "source": "news@shop.example",
            "sourceArn": f"arn:aws:ses:{self.region}:{self.account}:identity/shop.example",
            "sendingAccountId": self.account,
            "destination": [recipient],
            "tags": {
                "ses:configuration-set": ["main"],
                "ses:from-domain": ["shop.example"],
                "ses:feedback-id-a": ["spring"],
            },
        }
        return json.dumps({"eventType": kind, "mail": mail, key: detail})

    def publish(self, *events: str) -> None:
        for event in events:
            self._sns.publish(
                TopicArn=self.topic, Message=event, Subject="Amazon SES Email Event Notification"
            )


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"


@pytest.fixture
def senders(server: str, monkeypatch: pytest.MonkeyPatch) -> list[Sender]:
    """West and east of our account, and east of another whose queue is read by a role."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)
    sts = boto3.client("sts", region_name=EAST, endpoint_url=server)
    lent = sts.assume_role(RoleArn=ROLE, RoleSessionName="setup")["Credentials"]
    theirs = {
        "aws_access_key_id": lent["AccessKeyId"],
        "aws_secret_access_key": lent["SecretAccessKey"],
        "aws_session_token": lent["SessionToken"],
    }
    return [
        Sender(server, WEST, OURS, {}),
        Sender(server, EAST, OURS, {}),
        Sender(server, EAST, THEIRS, theirs),
    ]


@pytest.fixture
def instance(server: str, senders: list[Sender], cli: Any, tmp_path: Path) -> Iterator[Path]:
    """`up` that reads all three queues."""
    roles = ("", "", ROLE)
    settings = "".join(
        f'[[bridge.queues]]\nurl = "{sender.url}"\nregion = "{sender.region}"\nendpoint_url = "{server}"\n'
        f'role_arn = "{role}"\n\n'
        for sender, role in zip(senders, roles, strict=True)
    )
    (tmp_path / "settings.toml").write_text('[metrics]\nbind = "127.0.0.1:0"\n\n' + settings)
    data = tmp_path / "data"
    process = cli.start(
        "up", "--data", str(data), "--http", "127.0.0.1:0", "--config", str(tmp_path / "settings.toml")
    )
    try:
        assert cli.pids(data, process), process.communicate()
        yield data
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _ask(data: Path, sql: str) -> list[tuple[Any, ...]]:
    told = json.loads((data / "instance.json").read_text())
    rows = b"".join(run_sql(sql, "JSONCompactEachRow", Through(told["door"], told["token"])))
    return [tuple(json.loads(line)) for line in rows.splitlines()]


def test_a_campaign_sums_over_regions_and_accounts_and_an_event_of_two_queues_counts_once(
    instance: Path, senders: list[Sender], cli: Any
) -> None:
    west, east, theirs = senders
    assert [url.split("/")[-2] for url in (west.url, east.url, theirs.url)] == [OURS, OURS, THEIRS]
    sent = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
    for sender, number in ((west, 6), (east, 4), (theirs, 3)):
        sender.publish(*(sender.event("Send", n, sent) for n in range(number)))
        sender.publish(*(sender.event("Delivery", n, sent) for n in range(1, number)))
    complaint = west.event("Complaint", 2, sent)
    west.publish(complaint)
    # The same events by a second queue, of another region.
    east.publish(complaint, west.event("Send", 0, sent), west.event("Delivery", 1, sent))

    wanted = {
        ("campaign", "spring", 13, 10, 1),
        ("region", WEST, 6, 5, 1),
        ("region", EAST, 7, 5, 0),
        ("account", OURS, 10, 8, 1),
        ("account", THEIRS, 3, 2, 0),
    }
    sql = (
        "SELECT dimension, value, toInt32(sum(sends)), toInt32(sum(deliveries)), toInt32(sum(complaints)) FROM rates"
        " WHERE dimension IN ('campaign', 'region', 'account') GROUP BY 1, 2"
    )
    arrivals = "SELECT toInt32(count()), toInt32(sum(arrivals)) FROM events"
    found: Any = None
    deadline = time.monotonic() + 120
    while found != (wanted, [(24, 27)]) and time.monotonic() < deadline:
        time.sleep(0.2)
        try:
            found = (set(_ask(instance, sql)), _ask(instance, arrivals))
        except ClickHouseError:
            continue  # another generation is just starting
    assert found == (wanted, [(24, 27)])
    by_region = (
        "SELECT account, region, toInt32(sum(sends)) FROM campaign_regions GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert _ask(instance, by_region) == [(OURS, WEST, 6), (OURS, EAST, 4), (THEIRS, EAST, 3)]

    said = cli.run("report", "--data", str(instance)).stdout.decode()
    assert [line.split()[:3] for line in said.splitlines() if line.startswith((EAST, WEST))] == [
        [EAST, "7", "53.8%"],
        [WEST, "6", "46.2%"],
    ]
    done = cli.run("reconcile", "--data", str(instance))
    assert (done.returncode, b"all 24 events came by sns alone" in done.stdout) == (0, True), done
