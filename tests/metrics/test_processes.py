"""The real commands: each serves figures that move when an event comes through."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from connectors.embedded import broker as embedded
from connectors.embedded import lifeline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.embedded, pytest.mark.sockets]

COMMAND = (sys.executable, "-P", "-m", "connectors.cli.main")


def event(sent: datetime) -> str:
    """A Send, as SES publishes it."""
    mail = {
        "timestamp": f"{sent:%Y-%m-%dT%H:%M:%S}.000Z",
        "messageId": "m1",
        "source": "news@shop.example",
        "sendingAccountId": "123456789012",
        "destination": ["reader@mail.example"],
        "tags": {"ses:feedback-id-a": ["spring"]},
    }
    return json.dumps({"eventType": "Send", "mail": mail, "send": {}})


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Settings of a pipeline on a broker of its own, for its topics are those of production."""
    port = embedded.free_port()
    process = subprocess.Popen(
        lifeline.wrap(embedded.command(port)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("SES_STREAMS_", "AWS_"))
    }
    try:
        assert embedded.wait_for(port, process)
        yield ours | {
            "SES_STREAMS_KAFKA__BROKERS": f"{embedded.HOST}:{port}",
            "SES_STREAMS_KAFKA__PARTITIONS": "1",
            "SES_STREAMS_KAFKA__REPLICATION": "1",
            "SES_STREAMS_KAFKA__REBALANCE_TIMEOUT_MS": "3000",
            "SES_STREAMS_CLICKHOUSE__DSN": f"chdb://{tmp_path}/clickhouse",
            "SES_STREAMS_PRIVACY__PII": "plain",
        }
    finally:
        process.kill()
        process.communicate()


def _all_landed(sink: dict[str, float], worker: dict[str, float]) -> bool:
    return (
        sink["ses_streams_sink_rows_total"] >= 4
        and sink["ses_streams_sink_event_latency_seconds_count"] == 2
        and worker["ses_streams_worker_rows_total"] >= 1
    )


class Running:
    """A command with an endpoint."""

    def __init__(self, name: str, environment: dict[str, str], data: Path, **more: str) -> None:
        self.at = f"127.0.0.1:{embedded.free_port()}"
        settings = environment | {"SES_STREAMS_METRICS__BIND": self.at} | more
        self.process = subprocess.Popen(
            [*COMMAND, name, "--data", str(data)],
            env=settings,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def figures(self) -> dict[str, float]:
        """Those without labels, or of one label."""
        with urllib.request.urlopen(f"http://{self.at}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        return {
            sample.name + "".join(f":{value}" for value in sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def becomes(self, **wanted: float) -> None:
        """Wait until the figures are so."""
        deadline = time.monotonic() + 90
        found: Any = None
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.process.communicate()
            try:
                figures = self.figures()
            except (OSError, urllib.error.URLError) as error:
                found = error
            else:
                found = {name: figures.get(f"ses_streams_{name}") for name in wanted}
            if found == wanted:
                return
            time.sleep(0.1)
        raise AssertionError(f"{found} is not {wanted}")


def test_an_event_moves_the_figures_of_every_process(environment: dict[str, str], tmp_path: Path) -> None:
    migrated = subprocess.run(
        [*COMMAND, "migrate", "--data", str(tmp_path)],
        env=environment,
        capture_output=True,
        check=False,
        timeout=90,
    )
    assert migrated.returncode == 0, migrated.stderr
    http = f"127.0.0.1:{embedded.free_port()}"
    bridge = Running("bridge", environment, tmp_path, SES_STREAMS_BRIDGE__HTTP__BIND=http)
    worker, sink = (Running(name, environment, tmp_path) for name in ("worker", "sink"))
    try:
        bridge.becomes(bridge_accepted_total=0, bridge_rejected_total=0, bridge_in_flight_bytes=0)
        worker.becomes(worker_events_total=0, worker_rows_total=0)
        sink.becomes(sink_rows_total=0, sink_refused=0)
        # The event twice, and something that is none.
        once = event(datetime.now(UTC) - timedelta(hours=3))
        lines = (once, once, '{"neither": 1}')
        records = [{"data": base64.b64encode(line.encode()).decode()} for line in lines]
        body = json.dumps({"requestId": "r1", "timestamp": 1_793_527_200_000, "records": records}).encode()
        sent = urllib.request.Request(f"http://{http}/firehose", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(sent, timeout=60) as answer:
            assert answer.status == 200
        bridge.becomes(bridge_accepted_total=2, bridge_rejected_total=1, bridge_in_flight_bytes=0)
        counted = {"worker_events_total": 2, "worker_duplicates_total": 1, "worker_records_total:count": 1}
        worker.becomes(**counted, worker_lag_records=0)
        assert worker.figures()["ses_streams_worker_batch_seconds_count:count"] == 1
        # The events, as threads want them too, what the worker made of them, and the dead letter.
        deadline = time.monotonic() + 90
        while not _all_landed(sink.figures(), worker.figures()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert _all_landed(sink.figures(), worker.figures())
        assert sink.figures()["ses_streams_sink_event_latency_seconds_bucket:3600.0"] == 0, (
            "it was sent 3 h ago"
        )
    finally:
        for running in (bridge, worker, sink):
            running.process.kill()
            running.process.communicate()
