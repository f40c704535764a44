"""The state of one alarm key: what happens in it, and what of that is told.

    ok, resolved ──proven──▶ firing ──clean or quiet──▶ recovering ──hold──▶ resolved
                             ▲  └ escalated: stays          │
                             └──────────relapse─────────────┘
    any ──reset──▶ ok        firing, recovering ──rule gone──▶ resolved

`advance` and `obey` are pure: the same machine and the same input give the same transition with the same number, so
doing either again after a crash tells nothing new. A severity never falls within an incident.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pipelines.alarms.transition import Transition
from pipelines.counting.rate import StateError
from schemas.alarms import ORDERS, SEVERITIES, AlarmOrder, Severity, State

if TYPE_CHECKING:
    from pipelines.alarms.reading import Reading
    from pipelines.alarms.rules import Rule

HOUR_S: Final = 3600
HOUR_MS: Final = 3_600_000
_FORMAT: Final = 1
_ORDERS_KEPT: Final = 32
"""Ids of orders that a machine knows again: an order comes twice within minutes of the first time."""
_SEVERITIES_OR_NONE: Final = frozenset((None, *SEVERITIES))
_STATES: Final = frozenset(("ok", "firing", "recovering", "resolved"))


@dataclass(frozen=True, slots=True)
class Machine:
    """What is remembered of an alarm key."""

    seq: int = 0
    """Of its last transition."""
    state: State = "ok"
    severity: Severity | None = None
    """The worst of the incident; None: there is none."""
    incident: int = 0
    """`seq` of the transition that opened it; 0: none is open."""
    opened: int = 0
    """Event time, ms."""
    changed: int = 0
    """Event time of the last transition, ms: nothing is evaluated before it."""
    entered: int = 0
    """Event time of the opening, escalation, relapse or recovery that came last, ms. While firing: a recovery is
    looked for from the cohort hour of it on."""
    since: int = 0
    """Cohort hour (seconds) from which on evidence counts."""
    clean_since: int = 0
    """Of a recovery: the cohort hour (seconds) from which on a relapse is looked for."""
    recovery: str = ""
    """Of a recovery: `clean` or `quiet`."""
    acknowledged_by: str = ""
    silenced_until: int = 0
    """ms; 0: not silenced."""
    orders: tuple[str, ...] = ()
    """Ids of the orders done last, so that none is done twice."""
    signal: str = ""
    """Of its rule, which may be gone when it is needed."""
    rate: float | None = None
    """As last told, with the two that follow: transitions that an order makes repeat them."""
    limit: float | None = None
    e_value: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has an open incident."""
        return self.incident != 0


def advance(machine: Machine, rule: Rule, reading: Reading) -> tuple[Machine, Transition | None]:
    """What a reading makes of a machine; the machine itself when it changes nothing.

    A reading of a time before the last transition changes nothing. One of the very time of it can only make a firing
    alarm worse: more may have come to be known of that time.
    """
    worse = machine.state == "firing" and _worse(machine, reading) and not _recovers(machine, reading)
    if reading.time < machine.changed or (reading.time == machine.changed and machine.seq and not worse):
        return machine, None
    if worse:
        return _fire(machine, rule, reading, "escalated")
    if machine.state == "firing":
        return _recover(machine, rule, reading)
    if machine.state == "recovering":
        return _relapse_or_resolve(machine, rule, reading)
    return _fire(machine, rule, reading, "evidence") if reading.proven is not None else (machine, None)


def obey(
    machine: Machine, rule: Rule | None, order: AlarmOrder, time: int
) -> tuple[Machine, Transition | None]:
    """Do what an operator wants; an order that was done already changes nothing, nor does one without an object.

    Args:
        machine: of the order's alarm key.
        rule: of the alarm key, None when there is none (any more).
        order: the order.
        time: event time now, ms. Of a replay of last year that is last year, whatever the clock says.
    """
    if order["order_id"] in machine.orders or order["order"] not in ORDERS:
        return machine, None
    known = replace(machine, orders=(*machine.orders, order["order_id"])[-_ORDERS_KEPT:])
    if (rule is None and not machine.seq) or not _has_object(machine, order):
        return known, None
    if rule is not None:
        known = replace(known, signal=rule.signal)
    at = max(time, machine.changed)
    kind = order["order"]
    if kind == "reset":
        after = _over(known, "ok", at, _next_hour(at))
    elif kind == "ack":
        after = replace(known, acknowledged_by=order["operator"])
    else:
        after = replace(known, silenced_until=order["until"] if kind == "silence" else 0)
    after = replace(after, seq=machine.seq + 1, changed=at)
    facts = {"order_id": order["order_id"], "note": order["note"]}
    return after, _told(machine, after, _CAUSES[kind], facts, order["operator"])


def retire(machine: Machine, time: int) -> tuple[Machine, Transition | None]:
    """End the incident of a key whose rule is gone or does not cover it any more; `time`: event time now, ms."""
    if not machine.is_open:
        return machine, None
    at = max(time, machine.changed)
    after = replace(_over(machine, "resolved", at, _next_hour(at)), seq=machine.seq + 1, changed=at)
    return after, _told(machine, after, "rule_gone", {})


def pack(machine: Machine) -> bytes:
    """As bytes: a format number, then the fields in their order."""
    return bytes([_FORMAT]) + msgspec.msgpack.encode([getattr(machine, name) for name in _NAMES])


def unpack(data: bytes) -> Machine:
    """What `pack` made; no bytes are a machine to which nothing has happened.

    Raises:
        StateError: when a later release packed it, or it is damaged.
    """
    if not data:
        return Machine()
    if data[0] != _FORMAT:
        raise StateError(f"the state of an alarm has format {data[0]}, this release reads {_FORMAT}")
    try:
        values: list[Any] = msgspec.msgpack.decode(data[1:], type=list)
        found = Machine(**dict(zip(_NAMES, values, strict=True)))
        found = replace(found, orders=tuple(found.orders))
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        raise StateError(f"the state of an alarm is damaged: {error}") from error
    if found.state not in _STATES or found.severity not in _SEVERITIES_OR_NONE:
        raise StateError(f"the state of an alarm is damaged: {found.state}, {found.severity}")
    return found


_NAMES: Final = tuple(each.name for each in fields(Machine))
_CAUSES: Final = {
    "ack": "acknowledged",
    "silence": "silenced",
    "unsilence": "unsilenced",
    "reset": "reset",
}


def _has_object(machine: Machine, order: AlarmOrder) -> bool:
    """Whether there is something to acknowledge, or a silence to lift."""
    if order["order"] == "ack":
        return machine.is_open
    return order["order"] != "unsilence" or machine.silenced_until != 0


def _worse(machine: Machine, reading: Reading) -> bool:
    if reading.proven is None or machine.severity is None:
        return False
    return SEVERITIES.index(reading.proven) > SEVERITIES.index(machine.severity)


def _recovers(machine: Machine, reading: Reading) -> bool:
    """Whether there is a clean stretch that began no earlier than the trouble was last seen to go on."""
    clean = reading.clean_since
    return clean is not None and clean >= _hour(machine.entered)


def _fire(machine: Machine, rule: Rule, reading: Reading, cause: str) -> tuple[Machine, Transition | None]:
    """Open an incident, or make the one that is open worse or firing again."""
    seq = machine.seq + 1
    severity = machine.severity
    if reading.proven is not None and (severity is None or _worse(machine, reading)):
        severity = reading.proven
    after = replace(
        _measured(machine, rule, reading),
        seq=seq,
        state="firing",
        severity=severity,
        incident=machine.incident or seq,
        opened=machine.opened if machine.is_open else reading.time,
        changed=reading.time,
        entered=reading.time,
        clean_since=0,
        recovery="",
    )
    return after, _told(machine, after, cause, reading.facts)


def _recover(machine: Machine, rule: Rule, reading: Reading) -> tuple[Machine, Transition | None]:
    last = max(reading.last_hit, machine.entered)
    if _recovers(machine, reading) and reading.clean_since is not None:
        clean_since, cause = reading.clean_since, "clean"
    elif reading.time - last >= rule.quiet_hours * HOUR_MS:
        clean_since, cause = _next_hour(last), "quiet"
    else:
        return machine, None
    after = replace(
        _measured(machine, rule, reading),
        seq=machine.seq + 1,
        state="recovering",
        changed=reading.time,
        entered=reading.time,
        clean_since=clean_since,
        recovery=cause,
    )
    return after, _told(machine, after, cause, reading.facts)


def _relapse_or_resolve(machine: Machine, rule: Rule, reading: Reading) -> tuple[Machine, Transition | None]:
    if reading.relapsed:
        return _fire(machine, rule, reading, "relapse")
    if reading.time - machine.entered < rule.hold_hours * HOUR_MS:
        return machine, None
    after = _over(_measured(machine, rule, reading), "resolved", reading.time, _hour(reading.time))
    after = replace(after, seq=machine.seq + 1, changed=reading.time)
    return after, _told(machine, after, machine.recovery, reading.facts)


def _over(machine: Machine, state: State, time: int, since: int) -> Machine:
    """Without an incident; what was before `since` opens no other."""
    return replace(
        machine,
        state=state,
        severity=None,
        incident=0,
        opened=0,
        entered=time,
        since=max(machine.since, since),
        clean_since=0,
        recovery="",
        acknowledged_by="",
    )


def _measured(machine: Machine, rule: Rule, reading: Reading) -> Machine:
    return replace(
        machine, signal=rule.signal, rate=reading.rate, limit=reading.limit, e_value=reading.e_value
    )


def _told(
    before: Machine, after: Machine, cause: str, facts: dict[str, Any], operator: str = ""
) -> Transition:
    """The transition between two machines; one that ends an incident names it."""
    of = after if after.is_open else before
    return Transition(
        seq=after.seq,
        time=after.changed,
        cause=cause,
        state=after.state,
        severity=of.severity,
        incident=of.incident,
        opened=of.opened,
        signal=after.signal,
        rate=after.rate,
        limit=after.limit,
        e_value=after.e_value,
        facts=facts,
        operator=operator,
        silenced_until=after.silenced_until,
        machine=pack(after),
    )


def _hour(time_ms: int) -> int:
    return time_ms // HOUR_MS * HOUR_S


def _next_hour(time_ms: int) -> int:
    """The first cohort hour (seconds) that does not begin before a time in ms."""
    return -(-time_ms // HOUR_MS) * HOUR_S
