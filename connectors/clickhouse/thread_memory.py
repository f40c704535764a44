"""What threads are restored from: see `pipelines.counting.memory.Memory`, whose methods these functions are."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import numpy as np
import polars as pl

from connectors.clickhouse.literals import text
from connectors.clickhouse.native import blocks
from connectors.clickhouse.sql import run_sql
from pipelines.threads.rows import PROFILE
from pipelines.threads.stored import Stored
from schemas.events import REPORTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from connectors.clickhouse.native import Low
    from connectors.clickhouse.sql import Target
    from pipelines.threads.rows import Profile
    from schemas.mail import InboundMail

_SENT_SCHEMA: Final[dict[str, Any]] = {
    **dict.fromkeys(
        ("message_id", "header_message_id", "sent_time", "tenant", "account", "region"), pl.String
    ),
    **dict.fromkeys(
        ("configuration_set", "from_domain", "feedback_a", "feedback_b", "feedback_c"), pl.String
    ),
    **dict.fromkeys(("campaign", "base_subject"), pl.String),
    **dict.fromkeys(("in_reply_to", "references", "conversations"), pl.List(pl.String)),
    "recipients": pl.List(pl.Int32),
}
# Numbers as text: whether ClickHouse quotes those of 64 bits is a setting of the server.
_CITING: Final = (
    "SELECT message_id, header_message_id, toString(toUnixTimestamp64Milli(o.sent_time)) AS sent_time, "  # noqa: S608 - numbers
    f"{', '.join(f'`{each}`' for each in list(_SENT_SCHEMA)[3:])}"
    " FROM outbound_rows AS o WHERE {recent}"
    " AND (notEmpty(in_reply_to) OR notEmpty(`references`) OR notEmpty(conversations))"
)
# What is alike in many rows travels once a block. No FINAL: the worker keeps one of several copies, and FINAL takes
# more than all the rest.
_SENT: Final = (
    "SELECT toFixedString(if(usual, unhex(replaceAll(message_id, '-', '')), ''), 27) AS ids,"  # noqa: S608 - our own
    " match(message_id, '^[0-9a-f]{{16}}-[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}-[0-9a-f]{{6}}$') AS usual,"
    " CAST(if(usual, '', message_id) AS LowCardinality(String)) AS others,"
    " toUInt16(toDate(o.landed, 'UTC')) AS stored, toUnixTimestamp64Milli(o.sent_time) AS times,"
    " CAST(o.base_subject AS LowCardinality(String)) AS base_subject,"
    " CAST(o.header_message_id AS String) AS header, CAST(o.recipients AS Array(Int32)) AS recipients,"
    f" {', '.join(f'CAST(o.{each} AS LowCardinality(String)) AS {each}' for each in PROFILE)}"
    " FROM outbound_rows AS o WHERE {recent}"
)
_RECEIVED: Final = (
    "SELECT hex(mail_id) AS mail_id, toString(toUnixTimestamp64Milli(m.received)) AS received_time,"
    " if(told = '', 'other', told) AS kind, tenant, account, region, ses_id, message_id, from_address, from_domain,"
    " recipients, subject, base_subject, in_reply_to, `references`, conversations, feedback,"
    " arrayMap(each -> toString(toUnixTimestamp64Milli(each.time)), m.feedback) AS feedback_times,"
    " automatic, object, arrayMin(paths) AS path, toString(arrayMin(arrivals)) AS arrival_id"
    " FROM mail_rows AS m FINAL WHERE mail AND {recent}"
)
_RECENT: Final = "(landed >= now64(3) - INTERVAL {days} DAY OR {time} >= now64(3) - INTERVAL {days} DAY)"
_MEMBERS: Final = "SELECT member, thread_id, substring(answer, 1, 5), answers FROM thread_rows FINAL"
_TOLD: Final = (
    f"SELECT DISTINCT hex(event_id) FROM event_rows WHERE origin IN ({', '.join(map(text, REPORTS))})"  # noqa: S608 - our own
)
_PORTION: Final = 8 * 1024 * 1024
"""Bytes of JSON that are made a frame: some 20,000 messages."""
_ROW: Final = msgspec.json.Decoder(dict[str, Any])
_MEMBER: Final = msgspec.json.Decoder(tuple[str, str, str, str])


def sent(target: Target, days: int) -> Iterator[Stored]:
    """Messages sent: see `Memory.sent`.

    Raises:
        ClickHouseError: it does not answer; so do all here.
    """
    query = _SENT.format(recent=_RECENT.format(time="o.sent_time", days=int(days)))
    for block in blocks(run_sql(query, "Native", target)):
        others: Low = block["others"]
        profiles, known = _profiles([block[each] for each in PROFILE])
        yield Stored(
            ids=block["ids"],
            others={
                at: others.values[others.numbers[at]].decode()
                for at in np.flatnonzero(block["usual"] == 0).tolist()
            },
            stored=block["stored"].astype(np.int64),
            times=block["times"].astype(np.int64),
            profiles=profiles,
            known=known,
            subjects=block["base_subject"].numbers,
            texts=block["base_subject"].values,
            headers=block["header"],
            counts=block["recipients"].counts,
            marks=block["recipients"].values,
        )


def _profiles(columns: Sequence[Low]) -> tuple[NDArray[np.uint32], list[Profile]]:
    """Numbers of rows' profiles, and the profiles."""
    numbers = np.zeros(columns[0].numbers.size, dtype=np.int64)
    known: list[Profile] = [()]
    for column in columns:
        # Mostly there is one value in all of a block.
        if (first := column.numbers[0]) == column.numbers.max() == column.numbers.min():
            known = [(*each, column.values[first].decode()) for each in known]
            continue
        both = numbers * len(column.values) + column.numbers
        codes, numbers = np.unique(both, return_inverse=True)
        before, values = codes // len(column.values), codes % len(column.values)
        known = [
            (*known[at], column.values[value].decode())
            for at, value in zip(before.tolist(), values.tolist(), strict=True)
        ]
    return numbers.astype(np.uint32), known


def citing(target: Target, days: int) -> Iterator[pl.DataFrame]:
    """Messages sent that are about others: see `Memory.citing`."""
    query = _CITING.format(recent=_RECENT.format(time="o.sent_time", days=int(days)))
    for portion in _portions(run_sql(query, "JSONEachRow", target)):
        frame = pl.read_ndjson(BytesIO(portion), schema=_SENT_SCHEMA)
        yield frame.with_columns(pl.col("sent_time").cast(pl.Int64))


def received(target: Target, days: int) -> Iterator[InboundMail]:
    """Mails received: see `Memory.received`. Of several paths and arrivals the least stands for all."""
    query = _RECEIVED.format(recent=_RECENT.format(time="m.received", days=int(days)))
    for line in lines(run_sql(query, "JSONEachRow", target)):
        row = _ROW.decode(line)
        row["mail_id"] = bytes.fromhex(row["mail_id"])
        row["received_time"], row["arrival_id"] = int(row["received_time"]), int(row["arrival_id"])
        for feedback, time in zip(row["feedback"], row.pop("feedback_times"), strict=True):
            feedback["time"] = int(time)
        yield cast("InboundMail", row)


def members(target: Target) -> Iterator[tuple[str, str, int, str]]:
    """Members of threads: see `Memory.members`."""
    for line in lines(run_sql(_MEMBERS, "JSONCompactEachRow", target)):
        member, thread_id, rank, message_id = _MEMBER.decode(line)
        yield member, thread_id, int(rank), message_id


def told(target: Target) -> Iterator[bytes]:
    """Events made of reports: see `Memory.told`."""
    for line in lines(run_sql(_TOLD, "TSV", target)):
        yield bytes.fromhex(line.decode())


def lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of a result that comes in pieces."""
    for portion in _portions(pieces, 0):
        yield from portion.splitlines()


def _portions(pieces: Iterator[bytes], least: int = _PORTION) -> Iterator[bytes]:
    """Whole lines, at least so many bytes of them but for the last."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size < least or b"\n" not in piece:
            continue
        whole, _, rest = b"".join(held).rpartition(b"\n")
        yield whole
        held, size = [rest], len(rest)
    if last := b"".join(held).strip(b"\n"):
        yield last
