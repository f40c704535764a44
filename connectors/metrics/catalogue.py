"""`METRICS`: every metric there is. Nothing else can be served, and docs/operations.md shows it as a table."""

from __future__ import annotations

from typing import Final

from connectors.metrics.metric import PREFIX, Metric
from connectors.metrics.of_bridge import BRIDGE, MAIL
from connectors.metrics.of_notify import DISTRIBUTION, NOTIFY, RESPONSE, WATCH

__all__ = ("BY_NAME", "METRICS", "PREFIX", "Metric", "markdown")

_WORKER: Final = (
    Metric(
        "worker_events",
        "worker",
        "counter",
        "events",
        "read by the count agent, each copy counted",
        "flat while bridge_accepted grows: the worker is down or stuck; its log says why",
    ),
    Metric(
        "worker_duplicates",
        "worker",
        "counter",
        "events",
        "of them counted before: second paths, repeated deliveries",
        "an unexpected share: compare the paths with `ses-streams reconcile`",
    ),
    Metric(
        "worker_closed_events",
        "worker",
        "counter",
        "events",
        "of them of closed hours (too old, or of the future), whose hours are recounted",
        "high for long without a replay: a source is days behind, or clocks are wrong; raise counting.open_hours",
    ),
    Metric(
        "worker_recounts_asked",
        "worker",
        "counter",
        "key-hours",
        "asked to be recounted from ClickHouse",
        "as worker_closed_events; sink_recounts_pending says whether they are kept up with",
    ),
    Metric(
        "worker_rows",
        "worker",
        "counter",
        "rows",
        "of rates sent to the sink",
        "flat while worker_events grows: see the rate agent's batches and dead letters",
    ),
    Metric(
        "worker_records",
        "worker",
        "counter",
        "Kafka records",
        "done by an agent",
        "flat while worker_lag_records grows: the worker is stuck and will end itself",
        ("agent",),
    ),
    Metric(
        "worker_rejected",
        "worker",
        "counter",
        "Kafka records",
        "of them unreadable, now dead letters",
        "any: a producer writes what this release cannot read; upgrade the worker first",
        ("agent",),
    ),
    Metric(
        "worker_batch_seconds",
        "worker",
        "summary",
        "s",
        "that batches took until all their effects were safe",
        "a mean above a second: the broker acknowledges slowly, or the machine is full; add a worker",
        ("agent",),
    ),
    Metric(
        "worker_lag_records",
        "worker",
        "gauge",
        "Kafka records",
        "of this worker's partitions that are not done yet",
        "grows for minutes: add workers, up to kafka.partitions",
    ),
    Metric(
        "worker_remembered_ids",
        "worker",
        "gauge",
        "ids",
        "of events of open hours, in memory (at most 16 bytes each)",
        "near the memory there is: lower counting.open_hours, or add workers",
    ),
    Metric(
        "worker_mails",
        "worker",
        "counter",
        "mails",
        "received that the thread agent joined, each copy counted",
        "flat while mail comes in: the worker is stuck, or the bridge puts nothing on mail.inbound",
    ),
    Metric(
        "worker_outbound",
        "worker",
        "counter",
        "messages",
        "sent that were remembered for replies and reports, each copy counted",
        "flat while mail is sent: inbound.threads is off, or Send events are not published",
    ),
    Metric(
        "worker_thread_members",
        "worker",
        "counter",
        "rows",
        "of mail.threads sent",
        "far above worker_mails: threads that grow together again and again",
    ),
    Metric(
        "worker_feedback_events",
        "worker",
        "counter",
        "events",
        "made of received bounces and complaints about messages of ours",
        "none while such mails come: they name no message sent in the last inbound.outbound_days",
    ),
    Metric(
        "worker_strays",
        "worker",
        "counter",
        "rows",
        "of mails and messages sent on to the partition they belong to",
        "grows for long: a bridge has other inbound.tenants than the worker",
    ),
    Metric(
        "worker_indexed_messages",
        "worker",
        "gauge",
        "messages",
        "sent, remembered in this worker's partitions (about 60 bytes each, 85 with a Message-ID of the caller's)",
        "near the memory there is: lower inbound.outbound_days",
    ),
    Metric(
        "worker_threaded_messages",
        "worker",
        "gauge",
        "messages",
        "in threads of this worker's partitions (about 1.5 KB each)",
        "near the memory there is: lower inbound.thread_days",
    ),
    Metric(
        "worker_dimension_values",
        "worker",
        "gauge",
        "values",
        "of a capped dimension that have counters of their own, in this worker's partitions",
        "shown at all: the dimension has more values than counting.dimension_cap",
        ("dimension",),
    ),
    Metric(
        "worker_dimension_refused",
        "worker",
        "gauge",
        "values",
        "of a capped dimension that were counted to `(other)` since the start, about",
        "many: raise counting.dimension_cap, or take the dimension out of counting.dimensions",
        ("dimension",),
    ),
    Metric(
        "worker_alarm_evaluations",
        "worker",
        "counter",
        "evaluations",
        "of alarm keys: of those that got hits, and of open incidents",
        "flat while bounces and complaints come in: the worker is stuck, or no rule is for them (`alarms check`)",
    ),
    Metric(
        "worker_alarm_transitions",
        "worker",
        "counter",
        "transitions",
        "of alarms sent to Kafka",
        "hundreds a minute: rules that are too narrow for what they are about; see the view alarms",
    ),
    Metric(
        "worker_alarms_open",
        "worker",
        "gauge",
        "incidents",
        "open in this worker's partitions, of signals that are rates",
        "any: `ses-streams alarms list`",
    ),
    Metric(
        "worker_rules_refused",
        "worker",
        "gauge",
        "0 or 1",
        "1 while alarms.rules cannot be used as it is, and the rules read before stay in force",
        "1: `ses-streams alarms check` names the line; a worker that starts now would end",
    ),
)
_SINK: Final = (
    Metric(
        "sink_rows",
        "sink",
        "counter",
        "rows",
        "inserted",
        "flat while sink_lag_records grows: see sink_refused",
    ),
    Metric(
        "sink_inserts",
        "sink",
        "counter",
        "inserts",
        "that ClickHouse took",
        "more than a few a second and sink: run fewer sinks, or parts pile up faster than they merge",
    ),
    Metric(
        "sink_rejected",
        "sink",
        "counter",
        "rows",
        "that ClickHouse will never take, now dead letters",
        "any: `ses-streams dead-letters list --stage sink`",
    ),
    Metric(
        "sink_retries",
        "sink",
        "counter",
        "inserts",
        "that ClickHouse did not take at the first time",
        "grows: the sink's log has ClickHouse's words; nothing is lost",
    ),
    Metric(
        "sink_refused",
        "sink",
        "gauge",
        "0 or 1",
        "1 while ClickHouse takes nothing",
        "1 for minutes: ClickHouse is down, full, or refuses the password",
    ),
    Metric(
        "sink_lag_records",
        "sink",
        "gauge",
        "Kafka records",
        "of this sink's partitions that have not landed",
        "grows for minutes: ClickHouse is slow or away",
    ),
    Metric(
        "sink_event_latency_seconds",
        "sink",
        "histogram",
        "s",
        "from when an event happened until it could be queried (of each insert, the oldest block's events)",
        "the median rises: look at bridge_source_lag_seconds, then at sink_lag_records; SES's own delay is in it",
    ),
    Metric(
        "sink_recounts_pending",
        "sink",
        "gauge",
        "key-hours",
        "that wait to be recounted",
        "grows for an hour without a replay: ClickHouse is slow; see sink_recount_seconds",
    ),
    Metric("sink_recount_passes", "sink", "counter", "passes", "of recounting done", "none by itself"),
    Metric("sink_recounts", "sink", "counter", "key-hours", "recounted", "none by itself"),
    Metric(
        "sink_recount_seconds",
        "sink",
        "gauge",
        "s",
        "that the last pass of recounting took",
        "minutes: replay archives in smaller pieces, or give ClickHouse more cores",
    ),
    Metric(
        "sink_recount_rejected",
        "sink",
        "counter",
        "Kafka records",
        "that were no requests for a recount, now dead letters",
        "any: `ses-streams dead-letters list --stage recount`",
    ),
)
_EXPLAINER: Final = (
    Metric(
        "sink_alarms_explained",
        "sink",
        "counter",
        "transitions",
        "of alarms sent again with what drives them",
        "none by itself",
    ),
    Metric(
        "sink_alarms_unexplained",
        "sink",
        "counter",
        "transitions",
        "of alarms sent again with why nothing is known of what drives them",
        "grows: the evidence of the alarm says why; where ClickHouse refused, so does the sink's log",
    ),
    Metric(
        "sink_alarms_explained_anew",
        "sink",
        "counter",
        "transitions",
        "of alarms sent again later, for another driver leads now, or one at last",
        "none by itself",
    ),
    Metric(
        "sink_alarms_unlanded",
        "sink",
        "counter",
        "times",
        "that alarms were explained though not all events had landed",
        "grows: the sink is behind; see sink_lag_records",
    ),
    Metric(
        "sink_alarms_waiting",
        "sink",
        "gauge",
        "transitions",
        "of alarms that wait to be explained",
        "hundreds for minutes: ClickHouse is slow or away, and pages go out without drivers",
    ),
    Metric(
        "sink_alarm_explanation_seconds",
        "sink",
        "gauge",
        "s",
        "from when the oldest of the alarms explained last was written until it was explained",
        "above 10: pages go out before it (notify.evidence_wait_s); give ClickHouse more cores",
    ),
)
METRICS: Final = (*BRIDGE, *MAIL, *_WORKER, *_SINK, *_EXPLAINER, *NOTIFY, *RESPONSE, *WATCH, *DISTRIBUTION)
BY_NAME: Final = {metric.name: metric for metric in METRICS}


def markdown() -> str:
    """The list as a table, as docs/operations.md has it."""
    head = "| metric | kind, unit | is | trouble when, and then |\n|---|---|---|---|\n"
    return head + "".join(
        f"| `{each.shown}`{''.join(f' {{{label}}}' for label in each.labels)} | {each.kind}, {each.unit} |"
        f" {each.meaning} | {each.cure} |\n"
        for each in METRICS
    )
