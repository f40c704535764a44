"""The metrics of `notify` and of what runs beside it."""

from __future__ import annotations

from typing import Final

from connectors.metrics.metric import Metric

NOTIFY: Final = (
    Metric(
        "notify_messages",
        "notify",
        "counter",
        "messages",
        "about alarms (outcome: delivered, failed, skipped), and tries that are repeated (retried)",
        "failed grows: a page was given up; `alarm_actions` has the receiver's words",
        ("route", "outcome"),
    ),
    Metric(
        "notify_retrying",
        "notify",
        "gauge",
        "messages",
        "that were tried and are not delivered yet",
        "above 0 for minutes: the route's endpoint is away or refuses; notify's log has its words",
        ("route",),
    ),
    Metric(
        "notify_oldest_undelivered_seconds",
        "notify",
        "gauge",
        "s",
        "that the oldest message which may be delivered is not",
        "minutes: see notify_retrying for the route",
    ),
    Metric(
        "notify_route_failing_seconds",
        "notify",
        "gauge",
        "s",
        "since the first failure after a route's last delivery; 0: none",
        "minutes: nobody is told by that route; `ses-streams notify --test ROUTE` says why",
        ("route",),
    ),
    Metric(
        "notify_companion_failures",
        "notify",
        "counter",
        "failures",
        "of what runs beside the delivery (the watch, the response, the distribution), each of which starts it again",
        "grows: notify's log has the traceback",
        ("companion",),
    ),
)
RESPONSE: Final = (
    Metric(
        "notify_paused",
        "notify",
        "gauge",
        "targets",
        "configuration sets and tenants that ses-streams has paused; in whoever runs the response",
        "any: `ses-streams pause --list`",
    ),
    Metric(
        "notify_pause_overdue_seconds",
        "notify",
        "gauge",
        "s",
        "since the oldest pause should have been resumed",
        "minutes: SES does not take it; `ses-streams pause --list` has its words",
    ),
    Metric(
        "notify_pauses",
        "notify",
        "counter",
        "deeds",
        "of the response: pauses and resumes, by how they went (docs/response.md)",
        "failed grows: see notify's log, and the permissions of response.role_arn",
        ("action", "outcome"),
    ),
)
WATCH: Final = (
    Metric(
        "notify_watch_firing",
        "notify",
        "gauge",
        "alarms",
        "of the watch (latency, stopped traffic, the pipeline) with an open incident; in whoever runs it",
        "any: `ses-streams alarms list`",
    ),
    Metric(
        "notify_watch_blind",
        "notify",
        "gauge",
        "things",
        "that the watch cannot look at, or puts off; docs/watch.md",
        "above 0 for an hour: notify's log has the sentence",
    ),
    Metric(
        "notify_watch_looks",
        "notify",
        "counter",
        "looks",
        "of the watch at the pipeline",
        "flat in all copies of notify: nobody watches; see notify_companion_failures",
    ),
    Metric(
        "notify_watch_survey_seconds",
        "notify",
        "gauge",
        "s",
        "that the watch last took to ask ClickHouse",
        "minutes: name fewer values in the rules of delivery_latency and traffic_stopped",
    ),
)
DISTRIBUTION: Final = (
    Metric(
        "notify_mails_forwarded",
        "notify",
        "counter",
        "steps",
        "of sending mail on, by outcome (docs/distribution.md); in whoever runs the distribution",
        "unknown or untold grows: see `mail_forwards`; deferred grows: SES throttles",
        ("outcome",),
    ),
    Metric(
        "notify_mails_to_forward",
        "notify",
        "gauge",
        "mails",
        "that are to be sent on and are not settled",
        "grows: SES, S3 or SNS do not take it; notify's log has the sentence",
    ),
    Metric(
        "notify_oldest_mail_to_forward_seconds",
        "notify",
        "gauge",
        "s",
        "that the oldest of them waits",
        "minutes: as notify_mails_to_forward",
    ),
)
