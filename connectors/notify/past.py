"""`Past`: what is known of alarms and of what was told, when a process takes partitions over.

The topics hold it: both are compacted, by alarm key and by action. An embedded broker has forgotten them; there
ClickHouse is asked too.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from kafka import KafkaConsumer, TopicPartition

from connectors.clickhouse.sql import Target, run_sql
from connectors.errors import BrokerError
from connectors.kafka import client_options, sentences
from pipelines.alarms.transition import decode as decode_alarms
from schemas import topics
from schemas.blocks import BlockError, Framing, decode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from connectors.settings import Kafka
    from schemas.alarms import Alarm, AlarmAction

LOG: Final = logging.getLogger(__name__)
_SILENT_S: Final = 30.0
"""A topic that gives nothing for so long although it has not ended is asked no more."""

_ALARMS: Final = """
WITH tops AS (
    SELECT alarm_key, max(seq) AS top, argMax(state, seq) AS top_state, argMax(incident, seq) AS top_incident
    FROM alarm_rows GROUP BY alarm_key
)
SELECT
    r.alarm_key AS alarm_key, r.seq AS seq, r.revision AS revision, toUnixTimestamp64Milli(r.time) AS at,
    r.state AS state, r.severity AS severity, r.signal AS signal, r.dimension AS dimension, r.value AS value,
    r.rate AS rate, r.limit AS limit, r.e_value AS e_value, r.evidence AS evidence, r.rule AS rule,
    r.incident AS incident, toUnixTimestamp64Milli(r.opened_time) AS opened_at, r.cause AS cause,
    r.operator AS operator, toUnixTimestamp64Milli(r.silenced_until) AS silenced_at,
    toUnixTimestamp64Milli(r.written_time) AS written_at, hex(r.machine) AS machine
FROM alarm_rows AS r FINAL INNER JOIN tops ON r.alarm_key = tops.alarm_key
WHERE r.seq = tops.top OR (tops.top_state IN ('firing', 'recovering') AND r.incident = tops.top_incident)
"""
"""The last transition of every key, and all of the incidents that are open."""
_ACTIONS: Final = """
SELECT
    action_id, toUnixTimestamp64Milli(time) AS at, action, target, outcome, alarm_key, seq, incident, dedup_key,
    attempts, operator, toUnixTimestamp64Milli(expires_time) AS expires_at, detail
FROM alarm_action_rows FINAL WHERE action IN ('page', 'update', 'resolve')
"""
_RENAMED: Final = {
    "at": "time",
    "opened_at": "opened_time",
    "silenced_at": "silenced_until",
    "written_at": "written_time",
    "expires_at": "expires_time",
}
_WHOLE: Final = frozenset({*_RENAMED, "seq", "revision", "incident", "attempts"})


@dataclass(frozen=True, slots=True)
class Past:
    """In no order, and some of it perhaps twice."""

    alarms: list[Alarm] = field(default_factory=list)
    actions: list[AlarmAction] = field(default_factory=list)


def from_topics(settings: Kafka, partitions: Collection[int], framing: Framing) -> Past:
    """All that the topics hold of some partitions.

    Raises:
        BrokerError: Kafka does not answer, or stops in the middle.
    """
    past = Past()
    places = [
        TopicPartition(topic, each) for topic in (topics.ALARMS, topics.ALARM_ACTIONS) for each in partitions
    ]
    for topic, value in _values(settings, places):
        try:
            if topic == topics.ALARMS:
                past.alarms.extend(decode_alarms(value, framing))
            else:
                past.actions.extend(decode_actions(value, framing))
        except BlockError as error:
            # Whoever consumes the topic makes a dead letter of it.
            LOG.warning("a record of %s is left out: %s", topic, error)
    return past


def from_clickhouse(target: Target) -> Past:
    """What has landed.

    Raises:
        ClickHouseError: it does not answer.
    """
    alarms = [{**row, "machine": bytes.fromhex(row["machine"])} for row in _rows(_ALARMS, target)]
    return Past(cast("list[Alarm]", alarms), cast("list[AlarmAction]", list(_rows(_ACTIONS, target))))


def decode_actions(value: bytes, framing: Framing) -> list[AlarmAction]:
    """The rows of a record of `ses.alarm-actions`.

    Raises:
        BlockError: when the bytes are not a block of a known schema.
    """
    return [
        cast("AlarmAction", {name: _in_ms(each) for name, each in row.items()})
        for row in decode(value, framing)
    ]


def _values(settings: Kafka, places: list[TopicPartition]) -> Iterator[tuple[str, bytes]]:
    with (
        sentences(settings),
        closing(
            KafkaConsumer(**client_options(settings), enable_auto_commit=False, fetch_max_wait_ms=100)
        ) as consumer,
    ):
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        consumer.seek_to_beginning(*places)
        heard = time.monotonic()
        while any(consumer.position(place) < ends[place] for place in places):
            polled = consumer.poll(timeout_ms=100)
            for place, records in polled.items():
                yield from ((place.topic, record.value) for record in records if record.value is not None)
            if polled:
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENT_S:
                raise BrokerError(
                    f"Kafka at {settings.brokers} does not give what it has of {topics.ALARMS}: try again"
                )


def _rows(query: str, target: Target) -> Iterator[dict[str, Any]]:
    text = b"".join(run_sql(query, "JSONEachRow", target))
    for line in text.splitlines():
        row = msgspec.json.decode(line, type=dict[str, Any])
        yield {_RENAMED.get(name, name): int(each) if name in _WHOLE else each for name, each in row.items()}


def _in_ms(value: Any) -> Any:
    """Times as ms since the epoch; fastavro makes them datetimes."""
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else value
