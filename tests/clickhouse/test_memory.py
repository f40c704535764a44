"""What a worker starts from: bounded by open hours, retained days and the dimensions that are counted for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from connectors.clickhouse.memory import ClickHouseMemory
from connectors.clickhouse.sql import Through
from pipelines.threads.facts import MAIL_COLUMNS
from pipelines.threads.join import Threads
from pipelines.threads.stored import Filling
from schemas import topics
from schemas.mail import NO_RANK, OutboundMessage
from schemas.partitioning import of_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pipelines.threads.stored import Stored

pytestmark = pytest.mark.embedded

HOUR_MS = 3_600_000
SENT = 1_767_225_600_000


@pytest.fixture
def memory(engine: Path, database: str, client: Any) -> Iterator[Any]:
    from connectors.clickhouse import door

    opened = door.serve(engine, database)
    yield lambda *dimensions: ClickHouseMemory(Through(opened.address, opened.token), *dimensions)
    opened.stop()


def test_ids_of_closed_hours_stay_where_they_are(memory: Any, insert: Any, event: Any) -> None:
    rows = [
        event(n << 64, arrival_id=n, message_id=f"m{n // 2}", sent_time=SENT + n * HOUR_MS)
        for n in range(1, 40)
    ]
    insert(topics.EVENTS, rows)
    since = SENT // HOUR_MS + 30
    found = [
        (int(partition), int(hour), int(key))
        for portion in memory().seen_by_partition(7, since)
        for partition, hour, key in zip(*portion, strict=True)
    ]
    assert sorted(found) == sorted(
        (
            of_message(row["message_id"], 7),
            row["sent_time"] // HOUR_MS,
            int.from_bytes(row["event_id"][:8], "little") & ~1 | 1,
        )
        for row in rows[29:]
    )
    hours = np.concatenate([hours for hours, _ in memory().seen(since)])
    assert sorted(hours.tolist()) == list(range(since, since + 10))


def test_an_event_of_the_future_says_nothing_of_how_far_the_stream_is(
    memory: Any, insert: Any, event: Any
) -> None:
    later = int(time.time() * 1000) + 1000 * HOUR_MS
    insert(topics.EVENTS, [event(1), event(2, event_time=later)])
    assert memory().watermark() == (SENT + 1000) // HOUR_MS


def kept(pieces: Iterable[Stored]) -> list[tuple[int, str, str, tuple[int, ...]]]:
    """Of an index filled with messages: times, ids, campaigns and recipients."""
    state = Threads(apart=False)
    filling = Filling(lambda _: state, lambda _: 0, time.time_ns() // 1_000_000 // HOUR_MS)
    for piece in pieces:
        filling.add(piece)
    filling.done()
    rows = [bucket.sent(row) for bucket in state.index.buckets.values() for row in range(len(bucket))]
    return sorted((each.time, each.ses, each.message()["campaign"], each.recipients) for each in rows)


def test_many_messages_are_read_as_they_were_stored(memory: Any, insert: Any) -> None:
    now, many = time.time_ns() // 1_000_000, 3000
    regular = "0102019a0c7b3f2e-5e1f4a3c-9d2b-4e8f-a1c6-{:012x}-000000"
    rows = [
        {
            "message_id": regular.format(n) if n % 3 else f"{'Ä' * (n % 200)}{n}",
            "sent_time": now - n * HOUR_MS // 10,
            "campaign": f"campaign {n % 7}",
            "tenant": f"tenant {n % 3}",
            "account": "123456789012",
            "base_subject": f"{'long ' * (n % 60)}{n}",
            "header_message_id": f"{n}@us.example" if n % 2 else "",
            "recipients": list(range(-n, -n + n % 5)),
        }
        for n in range(many)
    ]
    insert(topics.OUTBOUND, rows)
    insert(topics.OUTBOUND, rows[:500])
    assert kept(memory().sent(30)) == sorted(
        (
            row["sent_time"],
            row["message_id"],
            row["campaign"],
            tuple(np.array(row["recipients"], dtype=np.int32).view(np.uint32).tolist()),
        )
        for row in rows
    )


def test_messages_and_mails_of_the_last_days_be_they_sent_then_or_stored(
    memory: Any, client: Any, insert: Any
) -> None:
    long_ago, now = SENT, time.time_ns() // 1_000_000
    message = {
        "campaign": "spring",
        "tenant": "acme",
        "base_subject": "spring",
        "references": ["a@b", 'c"\n'],
    }
    insert(
        topics.OUTBOUND,
        [
            message | {"message_id": "old", "sent_time": long_ago},
            message | {"message_id": "new", "sent_time": now, "subject": "Spring"},
            message | {"message_id": "new", "sent_time": now},
        ],
    )
    mail = {"kind": "reply", "verdicts": {}, "path": "s3", "message_id": "r@x", "in_reply_to": ["new"]}
    feedback = {"event_type": "Bounce", "ses_id": "new", "blocked": True, "time": SENT + 7}
    insert(
        topics.INBOUND,
        [
            mail | {"mail_id": b"o" * 16, "received_time": long_ago},
            mail | {"mail_id": b"n" * 16, "received_time": now, "feedback": [feedback], "arrival_id": 9},
            mail | {"mail_id": b"n" * 16, "received_time": now, "arrival_id": -8, "path": "file"},
        ],
    )
    assert [time for time, _, _, _ in kept(memory().sent(30))] == [long_ago, now]
    frame = pl.concat(memory().citing(30)).unique(["message_id"]).sort("message_id")
    assert frame["message_id"].to_list() == ["new", "old"]
    assert frame["sent_time"].to_list() == [now, long_ago]
    assert frame["references"].to_list() == [["a@b", 'c"\n']] * 2
    assert frame["in_reply_to"].to_list() == [[], []]
    assert frame.null_count().sum_horizontal().item() == 0
    assert set(frame.columns) == set(OutboundMessage.__annotations__) - {"subject"}
    new, old = sorted(memory().received(30), key=lambda row: row["mail_id"])
    assert (new["mail_id"], new["received_time"], old["received_time"]) == (b"n" * 16, now, long_ago)
    assert (new["path"], new["arrival_id"], new["in_reply_to"]) == ("file", -8, ["new"])
    (said,) = new["feedback"]
    assert (said["event_type"], said["blocked"], said["time"]) == ("Bounce", True, SENT + 7)
    assert set(MAIL_COLUMNS) <= set(new)
    for table in ("outbound_rows", "mail_rows"):  # as if it had been stored long ago
        client.command(f"CREATE TABLE then_{table} AS {table}")
        columns = "* EXCEPT landed, toDateTime64(0, 3, 'UTC') AS landed"
        client.command(f"INSERT INTO then_{table} SELECT {columns} FROM {table} FINAL")
        client.command(f"EXCHANGE TABLES then_{table} AND {table}")
    assert [time for time, _, _, _ in kept(memory().sent(30))] == [now]
    assert [row["message_id"] for frame in memory().citing(30) for row in frame.to_dicts()] == ["new"]
    assert [row["mail_id"] for row in memory().received(30)] == [b"n" * 16]


def test_members_as_they_are_after_all_that_was_said_and_events_made_of_reports(
    memory: Any, insert: Any, event: Any
) -> None:
    member = {"member": "in:1", "direction": "in", "time": SENT}
    insert(topics.THREADS, [member | {"thread_id": "bb", "member": f"in:{1:032x}"}])
    answer = {"rank": 3, "message_id": "m1", "campaign": "spring", "sent_time": SENT}
    insert(topics.THREADS, [member | answer | {"thread_id": "aa", "member": f"in:{1:032x}"}])
    insert(topics.THREADS, [member | {"thread_id": "aa", "member": "out:m1", "direction": "out"}])
    assert sorted(memory().members()) == [
        (f"in:{1:032x}", "aa", 3, "m1"),
        ("out:m1", "aa", NO_RANK, ""),
    ]
    insert(topics.EVENTS, [event(1), event(2, origin="dsn"), event(2, origin="dsn"), event(3, origin="arf")])
    assert sorted(memory().told()) == [number.to_bytes(16, "big") for number in (2, 3)]


def test_counters_of_retained_days_and_counted_dimensions(memory: Any, insert: Any) -> None:
    row = {"value": "a", "version": 1, "sends": 1}
    days = [SENT // 1000 - n * 86_400 for n in range(20)]
    insert(
        topics.RATES,
        [row | {"dimension": name, "hour": day} for day in days for name in ("campaign", "tag:it's")],
    )
    rows = list(memory(["tag:it's", "region"]).counters(3))
    assert {(dimension, hour) for dimension, _, hour, _ in rows} == {("tag:it's", day) for day in days[:4]}
    assert len(list(memory(["campaign", "tag:it's"]).counters(400))) == 40
