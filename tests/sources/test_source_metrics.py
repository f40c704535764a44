"""What a bridge and its queues say of themselves, as it is served."""

from __future__ import annotations

import time
import urllib.request
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from prometheus_client.parser import text_string_to_metric_families

from connectors.metrics.catalogue import METRICS
from connectors.metrics.of_inbound import of_mailroom
from connectors.metrics.readings import of_bridge
from connectors.metrics.serving import serving
from connectors.settings import SqsQueue
from connectors.sources.sqs import SqsSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connectors.metrics.readings import Sample

pytestmark = pytest.mark.embedded

REGION = "eu-west-1"
OF_TENANTS = {"bridge_mails_read", "bridge_mails_waiting", "bridge_mails_put_off"}


@pytest.fixture
def queue(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, SqsQueue]]:
    """A client and the settings of an empty queue."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    client = boto3.client("sqs", region_name=REGION, endpoint_url=server)
    url = client.create_queue(QueueName=f"metrics-{time.time_ns()}")["QueueUrl"]
    yield client, SqsQueue(url=url, region=REGION, endpoint_url=server, visibility_s=30)
    client.close()


def scrape(address: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {
        sample.name.removeprefix("ses_streams_").removesuffix("_total"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("ses_streams_")
    }


def test_the_figures_of_a_queue_and_its_bridge(  # noqa: PLR0917 - fixtures
    queue: tuple[Any, SqsQueue],
    bridge: Any,
    kafka: Any,
    running: Any,
    new_intake: Any,
    mailroom: Any,
    until: Any,
    ses_event: Any,
) -> None:
    client, settings = queue
    kafka.hold()
    client.send_message(QueueUrl=settings.url, MessageBody=ses_event("a") + "{]")
    source = SqsSource(settings, new_intake, mailroom, wait_s=1)

    def read() -> Iterator[Sample]:
        yield from of_bridge(bridge, [(source.url, source.numbers)])
        yield from of_mailroom(mailroom.numbers, [(source.url, source.lobby_numbers)])

    with serving("127.0.0.1:0", read) as address:
        before = scrape(address)
        of_bridges = {metric.name for metric in METRICS if metric.process == "bridge"}
        assert set(before) == {name for name in of_bridges if name not in OF_TENANTS}
        assert not any(before.values())
        running(source)
        until(lambda: scrape(address)["bridge_in_flight_bytes"] and scrape(address)["bridge_in_work"], 60)
        held = scrape(address)
        assert (held["bridge_taken"], held["bridge_accepted"], held["bridge_rejected"]) == (1, 1, 1)
        assert 0 < held["bridge_source_lag_seconds"] < 600
        kafka.ack()
        until(lambda: not scrape(address)["bridge_in_work"], 60)
        after = scrape(address)
        assert after["bridge_in_flight_bytes"] == after["bridge_returned"] == 0
        assert after["bridge_blocks"] == 2
        client.send_message(QueueUrl=settings.url, MessageBody="Subject: a mail\n\ntext")
        until(lambda: scrape(address).get("bridge_mails_read") and not scrape(address)["bridge_in_work"], 60)
        last = scrape(address)
    assert set(last) == of_bridges - {"bridge_mails_put_off"}
    assert (last["bridge_mails"], last["bridge_mails_waiting"], last["bridge_mail_bytes"]) == (1, 0, 21)
