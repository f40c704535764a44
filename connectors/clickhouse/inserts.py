"""Inserting blocks: spliced into one Avro container, which ClickHouse parses; no row is decoded here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from connectors.clickhouse.client import Client, error_code
from schemas import topics
from schemas.blocks import Block, container

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of row of a topic, and where it goes."""

    record: str
    """The Avro record of its blocks."""
    table: str


EVENTS: Final = Target("ses_event", "event_rows")
RATES: Final = Target("rate_row", "rate_rows")
DEAD_LETTERS: Final = Target("dead_letter", "dead_letter_rows")

TARGETS: Final = {
    topics.EVENTS: (EVENTS,),
    topics.RATES: (RATES,),
    topics.DEAD_LETTERS: (DEAD_LETTERS,),
    topics.ALARMS: (Target("alarm", "alarm_rows"),),
    topics.ALARM_ACTIONS: (Target("alarm_action", "alarm_action_rows"),),
    topics.INBOUND: (Target("inbound_mail", "mail_rows"),),
    topics.OUTBOUND: (Target("outbound_message", "outbound_rows"),),
    topics.THREADS: (Target("thread_member", "thread_rows"),),
    topics.REPORTS: (Target("dmarc_record", "dmarc_rows"), Target("tls_result", "tls_rows")),
    topics.FORWARDS: (Target("mail_forward", "mail_forward_rows"),),
}
"""What each topic that ends in ClickHouse holds."""


def target_of(topic: str, record: str) -> Target | None:
    """Where a topic's rows of a record go; None: the topic holds no such rows."""
    return next((each for each in TARGETS[topic] if each.record == record), None)


_SETTINGS: Final[dict[str, Any]] = {
    # Blocks of older releases lack newer fields; the table's defaults stand in.
    "input_format_avro_allow_missing_fields": 1,
    # A replayed archive has events of hundreds of months in one insert.
    "max_partitions_per_insert_block": 0,
    "throw_on_max_partitions_per_insert_block": 0,
    # Merging copies already within the insert is half of its time; background merges and FINAL do it anyway.
    "optimize_on_insert": 0,
}

# ClickHouse error codes that say the data will never be taken: Avro that does not parse, types and values
# that do not fit. Everything else (no answer, no space, too many parts, a missing table or right) passes, or
# a person cures it.
_BAD_DATA: Final = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        25,  # CANNOT_PARSE_ESCAPE_SEQUENCE
        26,  # CANNOT_PARSE_QUOTED_STRING
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        32,  # ATTEMPT_TO_READ_AFTER_EOF
        33,  # CANNOT_READ_ALL_DATA
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        131,  # TOO_LARGE_STRING_SIZE
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        467,  # CANNOT_PARSE_BOOL
        691,  # UNKNOWN_ELEMENT_OF_ENUM
        1001,  # STD_EXCEPTION: what the Avro library throws
    }
)


def insert_blocks(client: Client, target: Target, blocks: Sequence[Block]) -> int:
    """Insert blocks of one writer schema in a single insert; safe to repeat.

    Returns:
        The number of rows.

    Raises:
        clickhouse_connect.driver.exceptions.Error: as ClickHouse answers; see `refuses_data`.
    """
    rows = sum(block.count for block in blocks)
    if rows:
        columns = [field["name"] for field in blocks[0].schema.item["fields"]]
        client.raw_insert(
            target.table, column_names=columns, insert_block=container(blocks), fmt="Avro", settings=_SETTINGS
        )
    return rows


def refuses_data(error: BaseException) -> bool:
    """Whether ClickHouse would refuse the same rows every time."""
    return error_code(error) in _BAD_DATA
