"""`Transition`: what is told of an alarm; as a row, and as a record of `ses.alarms`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from schemas.alarms import Alarm, AlarmOrder, Severity, State, alarm_key, parts_of
from schemas.blocks import SINGLE_OBJECT, Framing
from schemas.blocks import decode as decode_block
from schemas.blocks import encode as encode_block
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Mapping

HIT_TIME: Final = "hit_time"
"""The fact that says when the hits happened that a transition rests on; see `happened`."""
_GREATEST_E: Final = 1e300
"""JSON has no infinity."""


@dataclass(frozen=True, slots=True)
class Transition:
    """The `seq`-th that happened to an alarm key. See `schemas.alarms.Alarm` for the fields of the same name."""

    seq: int
    time: int
    """Event time, ms."""
    cause: str
    state: State
    severity: Severity | None
    """Of the incident that is open, or ends by this; None: there is none."""
    incident: int
    opened: int
    """Event time, ms; 0: no incident."""
    signal: str
    rate: float | None
    limit: float | None
    e_value: float | None
    machine: bytes
    """What `pipelines.alarms.machine.unpack` takes."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Evidence; of an order its `order_id` and `note`."""
    operator: str = ""
    silenced_until: int = 0


def row(transition: Transition, rule: str, dimension: str, value: str, written_time: int) -> Alarm:
    """As a row of revision 0.

    Args:
        transition: what happened.
        rule: name of the rule, be it there or gone.
        dimension: of the alarm key.
        value: of the alarm key.
        written_time: the clock, ms.
    """
    e_value = transition.e_value
    return Alarm(
        alarm_key=alarm_key(rule, dimension, value),
        seq=transition.seq,
        revision=0,
        time=transition.time,
        state=transition.state,
        severity=transition.severity or "",
        signal=transition.signal,
        dimension=dimension,
        value=value,
        rate=transition.rate,
        limit=transition.limit,
        e_value=None if e_value is None else min(e_value, _GREATEST_E),
        evidence=evidence_text(transition.facts),
        rule=rule,
        incident=transition.incident,
        opened_time=transition.opened,
        cause=transition.cause,
        operator=transition.operator,
        silenced_until=transition.silenced_until,
        written_time=written_time,
        machine=transition.machine,
    )


def evidence_text(facts: Mapping[str, Any]) -> str:
    """Evidence as JSON; numbers of numpy are numbers."""
    return msgspec.json.encode(facts, enc_hook=_plain).decode()


def evidence_of(alarm: Alarm) -> dict[str, Any]:
    """The facts; none where the evidence is no JSON object."""
    try:
        found = msgspec.json.decode(alarm["evidence"])
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def happened(alarm: Alarm) -> int:
    """When that happened which a transition rests on, ms: its time, or that of its hits where they are older.

    A replay of old events into a running instance is evaluated now, for feedback may come late; what it finds is of the
    past all the same.
    """
    said = evidence_of(alarm).get(HIT_TIME)
    try:
        time = (
            round(datetime.fromisoformat(said).timestamp() * 1000) if isinstance(said, str) else alarm["time"]
        )
    except ValueError:
        return alarm["time"]
    return min(time, alarm["time"])


def encode(alarm: Alarm, framing: Framing = SINGLE_OBJECT) -> bytes:
    """The value of a record of `ses.alarms`: a block of one row."""
    return encode_block("alarm", [alarm], framing)


def decode(block: bytes, framing: Framing = SINGLE_OBJECT) -> list[Alarm]:
    """The rows of a record of `ses.alarms`.

    Raises:
        schemas.blocks.BlockError: when the bytes are not a block of a known schema.
    """
    return [cast("Alarm", _in_ms(each)) for each in decode_block(block, framing)]


def encode_order(order: AlarmOrder, framing: Framing = SINGLE_OBJECT) -> bytes:
    """The value of a record of `ses.alarm-orders`: a block of one row."""
    return encode_block("alarm_order", [order], framing)


def decode_orders(block: bytes, framing: Framing = SINGLE_OBJECT) -> list[AlarmOrder]:
    """The rows of a record of `ses.alarm-orders`.

    Raises:
        schemas.blocks.BlockError: when the bytes are not a block of a known schema.
    """
    return [cast("AlarmOrder", _in_ms(each)) for each in decode_block(block, framing)]


def record_key(key: str) -> bytes:
    """The Kafka key of an alarm key's transitions; `ses.alarms` is compacted by it."""
    return key.encode()


def explanation_key(key: str) -> bytes:
    """The Kafka key of what explains an alarm key's transitions.

    Compaction must not take the explanation of an earlier transition for the last one.
    """
    return record_key(key) + b"\0evidence"


def partition_of(key: str, partitions: int) -> int:
    """Partition of an alarm key, in `ses.alarms` and `ses.alarm-orders` alike.

    Raises:
        ValueError: when it is no alarm key.
    """
    _, dimension, value = parts_of(key)
    return of_key(dimension, value, partitions)


def _in_ms(fields: dict[str, Any]) -> dict[str, Any]:
    """With times as ms since the epoch; fastavro makes them datetimes."""
    return {
        name: round(each.timestamp() * 1000) if isinstance(each, datetime) else each
        for name, each in fields.items()
    }


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"evidence has a {type(value).__name__}")
