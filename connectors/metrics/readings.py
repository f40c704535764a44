"""What the parts of a process say of themselves now, as samples of the metrics in the catalogue.

Each function only reads plain attributes: it is called by the endpoint's thread while the part goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.alarms.explainer import Numbers as ExplainerNumbers
    from connectors.bridge import Bridge
    from connectors.clickhouse.latency import Latencies
    from connectors.clickhouse.recounter import Numbers as RecounterNumbers
    from connectors.clickhouse.sink import Numbers as SinkNumbers
    from connectors.distribution.forwarder import Numbers as DistributionNumbers
    from connectors.notify.notifier import Notifier
    from connectors.response.responder import Numbers as ResponseNumbers
    from connectors.sources.numbers import Numbers as SourceNumbers
    from connectors.watch.numbers import Numbers as WatchNumbers
    from pipelines.worker.numbers import Numbers as WorkerNumbers


@dataclass(frozen=True, slots=True)
class Spread:
    """Observations of a summary or a histogram."""

    count: int
    total: float
    buckets: tuple[tuple[str, float], ...] = ()
    """Of a histogram: upper bounds and how many were not above them, the last one `+Inf`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric."""

    name: str
    value: float | Spread
    labels: tuple[str, ...] = ()


Read = Callable[[], Iterable[Sample]]


def of_bridge(bridge: Bridge, sources: Sequence[tuple[str, SourceNumbers]]) -> Iterator[Sample]:
    """Of a bridge and its sources (their names and numbers)."""
    counters = bridge.counters
    yield Sample("bridge_accepted", counters.events)
    yield Sample("bridge_rejected", counters.dead_letters)
    yield Sample("bridge_blocks", counters.blocks)
    yield Sample("bridge_in_flight_bytes", bridge.in_flight)
    for name, numbers in sources:
        yield Sample("bridge_taken", numbers.taken, (name,))
        yield Sample("bridge_returned", numbers.returned, (name,))
        yield Sample("bridge_source_lag_seconds", numbers.lag_s, (name,))
        yield Sample("bridge_in_work", numbers.in_work, (name,))


def of_worker(numbers: WorkerNumbers) -> Iterator[Sample]:
    """Of a worker."""
    yield Sample("worker_events", numbers.events)
    yield Sample("worker_duplicates", numbers.duplicates)
    yield Sample("worker_closed_events", numbers.closed)
    yield Sample("worker_recounts_asked", numbers.recounts_asked)
    yield Sample("worker_rows", numbers.rows)
    yield Sample("worker_lag_records", numbers.lag)
    yield Sample("worker_remembered_ids", numbers.remembered)
    yield Sample("worker_alarm_evaluations", numbers.evaluations)
    yield Sample("worker_alarm_transitions", numbers.transitions)
    yield Sample("worker_alarms_open", numbers.alarms_open)
    yield Sample("worker_rules_refused", numbers.rules_refused)
    yield Sample("worker_mails", numbers.mails)
    yield Sample("worker_outbound", numbers.outbound)
    yield Sample("worker_thread_members", numbers.members)
    yield Sample("worker_feedback_events", numbers.feedback)
    yield Sample("worker_strays", numbers.strays)
    yield Sample("worker_indexed_messages", numbers.indexed)
    yield Sample("worker_threaded_messages", numbers.threaded)
    for agent, steps in (
        ("count", numbers.count),
        ("rate", numbers.rate),
        ("orders", numbers.orders),
        ("thread", numbers.thread),
        ("sent", numbers.sent),
    ):
        yield Sample("worker_records", steps.records, (agent,))
        yield Sample("worker_rejected", steps.rejected, (agent,))
        yield Sample("worker_batch_seconds", Spread(steps.batches, steps.seconds), (agent,))
    for dimension, capped in numbers.capped.items():
        yield Sample("worker_dimension_values", capped.admitted, (dimension,))
        yield Sample("worker_dimension_refused", capped.refused, (dimension,))


def of_sink(numbers: SinkNumbers) -> Iterator[Sample]:
    """Of a sink."""
    yield Sample("sink_rows", numbers.rows)
    yield Sample("sink_inserts", numbers.inserts)
    yield Sample("sink_rejected", numbers.letters)
    yield Sample("sink_retries", numbers.retries)
    yield Sample("sink_refused", bool(numbers.trouble))
    yield Sample("sink_lag_records", numbers.lag)
    yield Sample("sink_event_latency_seconds", _spread(numbers.event_latencies))


def of_recounter(numbers: RecounterNumbers) -> Iterator[Sample]:
    """Of the recounter beside a sink."""
    yield Sample("sink_recounts_pending", numbers.waiting)
    yield Sample("sink_recount_passes", numbers.passes)
    yield Sample("sink_recounts", numbers.answers)
    yield Sample("sink_recounts_kept", numbers.kept)
    yield Sample("sink_recount_seconds", numbers.seconds)
    yield Sample("sink_recount_rejected", numbers.letters)


def of_notifier(notifier: Notifier, now: float) -> Iterator[Sample]:
    """Of a notifier; `now`: seconds since the epoch."""
    if (numbers := notifier.numbers) is not None:
        for (route, outcome), count in sorted(numbers.outcomes.items()):
            yield Sample("notify_messages", count, (route, outcome))
        for route, count in sorted(numbers.retrying.items()):
            yield Sample("notify_retrying", count, (route,))
        yield Sample("notify_oldest_undelivered_seconds", numbers.oldest_s)
    failing = {each.route: max(0.0, now - each.since / 1000) for each in notifier.failures()}
    for route in notifier.routes:
        yield Sample("notify_route_failing_seconds", failing.get(route, 0.0), (route,))
    for name, count in notifier.companion_failures.items():
        yield Sample("notify_companion_failures", count, (name,))
    # Heavy, and for this process alone.
    from connectors.distribution.companion import DistributionCompanion  # noqa: PLC0415
    from connectors.response.companion import ResponseCompanion  # noqa: PLC0415
    from connectors.watch.watch import Watch  # noqa: PLC0415

    for each in notifier.companions:
        if isinstance(each, ResponseCompanion):
            yield from of_response(each.numbers)
        elif isinstance(each, Watch):
            yield from of_watch(each.numbers)
        elif isinstance(each, DistributionCompanion):
            yield from of_distribution(each.numbers)


def of_distribution(numbers: DistributionNumbers) -> Iterator[Sample]:
    """Of the distribution beside a notifier."""
    for outcome, count in sorted(numbers.outcomes.items()):
        yield Sample("notify_mails_forwarded", count, (outcome,))
    yield Sample("notify_mails_to_forward", numbers.waiting)
    yield Sample("notify_oldest_mail_to_forward_seconds", numbers.oldest_s)


def of_watch(numbers: WatchNumbers) -> Iterator[Sample]:
    """Of the watch beside a notifier."""
    yield Sample("notify_watch_firing", numbers.firing)
    yield Sample("notify_watch_blind", len(numbers.troubles))
    yield Sample("notify_watch_looks", numbers.looks)
    yield Sample("notify_watch_survey_seconds", numbers.survey_seconds)


def of_response(numbers: ResponseNumbers) -> Iterator[Sample]:
    """Of the response beside a notifier."""
    yield Sample("notify_paused", numbers.paused)
    yield Sample("notify_pause_overdue_seconds", numbers.overdue_s)
    for (action, outcome), count in sorted(numbers.outcomes.items()):
        yield Sample("notify_pauses", count, (action, outcome))


def of_explainer(numbers: ExplainerNumbers) -> Iterator[Sample]:
    """Of the explainer beside a sink."""
    yield Sample("sink_alarms_explained", numbers.explained)
    yield Sample("sink_alarms_unexplained", numbers.unexplained)
    yield Sample("sink_alarms_explained_anew", numbers.anew)
    yield Sample("sink_alarms_unlanded", numbers.unlanded)
    yield Sample("sink_alarms_waiting", numbers.waiting)
    yield Sample("sink_alarm_explanation_seconds", numbers.lag_s)


def _spread(latencies: Latencies) -> Spread:
    counts, total = latencies.counts, latencies.total
    buckets, so_far = [], 0
    for bound, count in zip([*map(str, latencies.bounds), "+Inf"], counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    return Spread(so_far, total, tuple(buckets))
