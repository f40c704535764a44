"""The endpoint, and that everything it serves is in the list and in the documentation."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from connectors.alarms.explainer import Numbers as ExplainerNumbers
from connectors.clickhouse.latency import Latencies, event_times
from connectors.clickhouse.recounter import Numbers as RecounterNumbers
from connectors.clickhouse.sink import Numbers as SinkNumbers
from connectors.errors import SettingsError
from connectors.metrics.catalogue import METRICS, PREFIX, markdown
from connectors.metrics.readings import Sample, of_explainer, of_recounter, of_sink, of_worker
from connectors.metrics.serving import moved, serving
from pipelines.counting.caps import Capped
from pipelines.worker.numbers import Numbers
from schemas.blocks import encode, open_block

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"

pytestmark = pytest.mark.sockets


def scrape(address: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.status == 200
        text = response.read().decode()
    finally:
        connection.close()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_documentation_has_the_list_as_it_is() -> None:
    assert markdown() in DOCS.read_text("utf-8")


def test_no_two_metrics_have_one_name_and_each_says_all_there_is_to_say() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.startswith(metric.process + "_")
        assert not metric.name.endswith("_total")
        assert all((metric.unit, metric.meaning, metric.cure))
        assert "|" not in metric.meaning + metric.cure


def test_a_workers_figures_move() -> None:
    numbers = Numbers()
    with serving("127.0.0.1:0", lambda: of_worker(numbers)) as address:
        before = scrape(address)
        assert before["ses_streams_worker_events_total", ()] == 0
        numbers.events, numbers.duplicates, numbers.lag = 30, 4, 7
        numbers.count.rejected += 1
        with numbers.count.timed(5):
            pass
        numbers.capped = {"tag:user": Capped(10, 90)}
        after = scrape(address)
    assert after["ses_streams_worker_events_total", ()] == 30
    assert after["ses_streams_worker_duplicates_total", ()] == 4
    assert after["ses_streams_worker_lag_records", ()] == 7
    count = (("agent", "count"),)
    assert after["ses_streams_worker_records_total", count] == 5
    assert after["ses_streams_worker_rejected_total", count] == 1
    assert after["ses_streams_worker_batch_seconds_count", count] == 1
    assert after["ses_streams_worker_batch_seconds_sum", count] >= 0
    assert after["ses_streams_worker_dimension_refused", (("dimension", "tag:user"),)] == 90
    assert any(name == "process_resident_memory_bytes" for name, _ in after)


def test_a_sinks_figures_move() -> None:
    numbers, recounts = SinkNumbers(rows=8, trouble="it is away"), RecounterNumbers(waiting=3, passes=2)
    numbers.event_latencies.observe(np.array([-5.0, 0.5, 0.6, 45.0, 1e9]))

    def read() -> Iterator[Sample]:
        yield from of_sink(numbers)
        yield from of_recounter(recounts)

    with serving("127.0.0.1:0", read) as address:
        found = scrape(address)
    assert found["ses_streams_sink_rows_total", ()] == 8
    assert found["ses_streams_sink_refused", ()] == 1
    assert found["ses_streams_sink_recounts_pending", ()] == 3
    assert found["ses_streams_sink_recount_passes_total", ()] == 2
    name = "ses_streams_sink_event_latency_seconds"
    # What is of the future took no time.
    buckets = {
        bound: found[f"{name}_bucket", (("le", bound),)] for bound in ("0.5", "1.0", "30.0", "60.0", "+Inf")
    }
    assert buckets == {"0.5": 2, "1.0": 3, "30.0": 3, "60.0": 4, "+Inf": 5}
    assert found[f"{name}_sum", ()] == pytest.approx(1e9 + 46.1)


def test_what_is_served_is_listed() -> None:
    listed = {metric.name for metric in METRICS}
    worker, sink = of_worker(Numbers(capped={"a": Capped(1, 1)})), of_sink(SinkNumbers())
    beside = (*of_recounter(RecounterNumbers()), *of_explainer(ExplainerNumbers()))
    read = {sample.name for sample in (*worker, *sink, *beside)}
    assert read == {name for name in listed if not name.startswith(("bridge_", "notify_"))}


def test_an_address_that_is_taken_or_none_is_a_sentence() -> None:
    with serving("", lambda: ()) as address:
        assert address == ""
    taken = pytest.raises(SettingsError, match=r"cannot listen on .* set metrics\.bind to a free address")
    with serving("127.0.0.1:0", lambda: ()) as address, taken:
        _enter(address)
    assert [moved(bind, 2) for bind in ("", "[::1]:9464", "localhost:0")] == ["", "::1:9466", "localhost:0"]
    for wrong in ("9464", "host:", ":9464", "host:99999"):
        with pytest.raises(SettingsError, match="write host:port"):
            _enter(wrong)


def _enter(bind: str) -> None:
    with serving(bind, lambda: ()):
        pass


def test_latencies_are_of_when_events_happened() -> None:
    made: dict[str, Any] = {
        "event_type": "Send",
        "sent_time": 0,
        "message_id": "m",
        "path": "sns",
        "arrival_id": 1,
    }
    rows = [made | {"event_id": bytes([n]) * 16, "event_time": 1_767_225_600_000 + n * 250} for n in range(3)]
    times = event_times(open_block(encode("ses_event", rows)))
    assert times.tolist() == [1_767_225_600.0, 1_767_225_600.25, 1_767_225_600.5]
    latencies = Latencies()
    latencies.observe(1_767_225_601.0 - times)
    assert latencies.counts[:3] == [1, 2, 0]
    assert PREFIX.endswith("_")
