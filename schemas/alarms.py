"""Alarms where they cross boundaries: names, keys, rows of `ses.alarms`, `ses.alarm-orders` and `ses.alarm-actions`."""

from __future__ import annotations

from typing import Final, Literal, TypedDict

State = Literal["ok", "firing", "recovering", "resolved"]
Severity = Literal["notice", "warning", "critical"]

SEVERITIES: Final[tuple[Severity, ...]] = ("notice", "warning", "critical")
"""Least first."""

RATE_SIGNALS: Final = (
    "complaint_rate",
    "hard_bounce_rate",
    "reject_rate",
    "rendering_failure_rate",
    "reputation_block",
    "baseline_drift",
)
"""Evaluated by the worker, on the counters of `rates`."""

SURVEYED_SIGNALS: Final = (
    "delivery_latency",
    "traffic_stopped",
    "dmarc_failure",
    "unexpected_relay",
    "pipeline",
)
"""Evaluated now and then by the process that delivers alarms, on ClickHouse, Kafka and SQS."""

SIGNALS: Final = RATE_SIGNALS + SURVEYED_SIGNALS

UNITS: Final = {
    "delivery_latency": "s",
    "traffic_stopped": "min",
    "dmarc_failure": "messages a day",
    "unexpected_relay": "mails",
}
"""Of what rows call `rate` and `limit`, where those are no shares and have one."""

ORDERS: Final = ("ack", "silence", "unsilence", "reset")

SEPARATOR: Final = ":"


def alarm_key(rule: str, dimension: str, value: str) -> str:
    """The key of an alarm, such as `complaint_rate:campaign:black-friday`; rules have no `:` in their names."""
    return SEPARATOR.join((rule, dimension, value))


def parts_of(key: str) -> tuple[str, str, str]:
    """Rule, dimension and value of an alarm key. A dimension may be `tag:NAME`.

    Raises:
        ValueError: when it is none.
    """
    rule, first, rest = key.split(SEPARATOR, 2)
    if first == "tag":
        name, value = rest.split(SEPARATOR, 1)
        return rule, f"{first}{SEPARATOR}{name}", value
    return rule, first, rest


def dedup_key(key: str, incident: int) -> str:
    """What pages, updates and the resolve of one incident have in common, wherever they are sent."""
    return f"ses-streams/{key}/{incident}"


class Alarm(TypedDict):
    """A row of `ses.alarms`: one numbered transition."""

    alarm_key: str
    seq: int
    """1, 2, … within the alarm key."""
    revision: int
    time: int
    """Event time, ms: when what was measured made it true."""
    state: str
    severity: str
    """The worst that is proven; of a `resolved` and an `ok` that of the incident."""
    signal: str
    dimension: str
    value: str
    rate: float | None
    """What was measured: a share, or in the unit of the signal (seconds, messages)."""
    limit: float | None
    """The limit of the severity."""
    e_value: float | None
    """Evidence against "within the limit"; false pages come less often than once in as many hours as its threshold."""
    evidence: str
    """JSON object; see docs/alarms.md."""
    rule: str
    incident: int
    """`seq` of the transition that opened the incident; 0: none is open."""
    opened_time: int
    """Event time when the incident began, ms; 0: none."""
    cause: str
    """Why there is a transition: `evidence`, `escalated`, `clean`, `quiet`, `relapse`, `acknowledged`, `silenced`,
    `unsilenced`, `reset`, `rule_gone`."""
    operator: str
    """Who acknowledged, silenced or reset it."""
    silenced_until: int
    """ms; 0: not silenced."""
    written_time: int
    """Clock when it was written, ms."""
    machine: bytes
    """What the evaluator remembers after it."""


class AlarmOrder(TypedDict):
    """A row of `ses.alarm-orders`."""

    order_id: str
    """Unique: an order that comes twice is done once."""
    alarm_key: str
    order: str
    operator: str
    time: int
    until: int
    note: str


class AlarmAction(TypedDict):
    """A row of `ses.alarm-actions`."""

    action_id: str
    """The same for the same deed (route, dedup key, seq): a later row of it replaces an earlier one."""
    time: int
    action: str
    """`page`, `update`, `resolve`, `pause`, `resume`."""
    target: str
    """Name of the route; or what was paused, such as `configuration_set:bulk`."""
    outcome: str
    """`delivered`, `retrying`, `failed`, `skipped`, `done`, `dry_run`, `refused`; `intended`: written before SES is
    called, so it may have been done."""
    alarm_key: str
    seq: int
    incident: int
    dedup_key: str
    attempts: int
    operator: str
    expires_time: int
    """When sending resumes by itself, ms; 0: it does not apply."""
    detail: str
