"""Mails, threads and what campaigns' health says of replies, from rows as the sink inserts them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.mail import NO_RANK

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.embedded

SENT = 1_767_225_600_000
HOUR_MS = 3_600_000
TABLES = ("mail_rows", "outbound_rows", "thread_rows")
VIEWS = ("mails", "outbound_messages", "thread_members", "threads", "campaign_health")
SILENT = dict.fromkeys(("spf", "dkim", "dmarc", "spam", "virus", "dmarc_policy"), "")


def mail(number: int, **fields: Any) -> dict[str, Any]:
    row = {
        "mail_id": number.to_bytes(16, "big"),
        "received_time": SENT + 60_000 * number,
        "kind": "reply",
        "kind_reason": "it cites",
        "message_id": f"r{number}@mail.example",
        "from_domain": "mail.example",
        "subject": "Re: Spring",
        "verdicts": {**SILENT, "spf": "PASS"},
        "path": "s3",
        "arrival_id": number,
    }
    return row | fields


def joined(number: int, thread: str, rank: int = NO_RANK, message: str = "", **fields: Any) -> dict[str, Any]:
    """What is said of a mail."""
    row = {
        "member": f"in:{number:032x}",
        "thread_id": thread,
        "direction": "in",
        "time": SENT + 60_000 * number,
        "kind": "reply",
        "rank": rank,
        "message_id": message,
        "campaign": "spring" if message else "",
        "sent_time": SENT if message else 0,
    }
    return row | fields


def ours(message: str, thread: str, campaign: str = "spring", sent: int = SENT) -> dict[str, Any]:
    """What is said of a message sent."""
    row = {"member": f"out:{message}", "thread_id": thread, "direction": "out", "time": sent, "rank": 0}
    return row | {"message_id": message, "campaign": campaign, "sent_time": sent}


def rows_of(client: Any, query: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.raw_query(query, fmt="JSONEachRow").splitlines()]


def _pool() -> dict[str, list[dict[str, Any]]]:
    """Everything in copies that differ, as by several ways and as threads grow together."""
    mails = [
        row
        for number in range(1, 7)
        for row in (
            mail(number),
            mail(number, path="sns", arrival_id=90 + number, verdicts={**SILENT, "spam": "PASS"}, size=7),
            mail(number, kind="other", kind_reason="cannot be read", received_time=0, defects=["cut off"]),
            mail(number, received_time=SENT + 60_000 * number + 400, subject="", path="file"),
        )
    ]
    said = [
        joined(number, thread, rank, message)
        for number in range(1, 5)
        for thread, rank, message in (("cc", NO_RANK, ""), ("bb", 2, "m9"), ("aa", 0, "m1"), ("bb", 1, "m1"))
    ]
    said += [ours("m1", "bb"), ours("m1", "aa"), ours("m9", "bb", "autumn", SENT - 1), ours("m9", "aa", "")]
    said += [joined(5, "ee"), joined(9, "aa", 0, "m1")]  # nothing has come of mail 9 itself
    outbound = [
        {"message_id": f"m{number}", "sent_time": SENT, "campaign": "spring", "subject": subject}
        for number in range(4)
        for subject in ("", "Spring")
    ]
    return {topics.INBOUND: mails, topics.THREADS: said, topics.OUTBOUND: outbound}


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_the_order_repetition_and_grouping_of_inserts_mails_and_threads_end_the_same(
    data: st.DataObject, client: Any, insert: Any, contents: Callable[[str], str]
) -> None:
    pool = _pool()

    def fill(*, mixed: bool) -> list[str]:
        for table in TABLES:
            client.command(f"TRUNCATE TABLE {table} SYNC")
        plan = [(topic, row) for topic, rows in pool.items() for row in rows]
        if mixed:
            plan += data.draw(st.lists(st.sampled_from(plan), max_size=20))
            plan = data.draw(st.permutations(plan))
        cuts = (
            [0, *sorted(data.draw(st.sets(st.integers(1, len(plan)), max_size=3))), len(plan)]
            if mixed
            else [0, len(plan)]
        )
        for start, stop in pairwise(cuts):
            for topic in pool:
                insert(topic, [row for each, row in plan[start:stop] if each == topic])
            if mixed and data.draw(st.booleans()):
                client.command(f"OPTIMIZE TABLE {data.draw(st.sampled_from(TABLES))} FINAL")
        return [contents(view) for view in VIEWS]

    assert fill(mixed=True) == fill(mixed=False)


def test_a_mail_is_one_row_with_all_that_its_copies_and_its_thread_say(client: Any, insert: Any) -> None:
    for topic, rows in _pool().items():
        insert(topic, rows)
    found = rows_of(client, "SELECT * FROM mails ORDER BY mail_id")
    assert [row["mail_id"] for row in found] == [f"{number:032x}" for number in range(1, 7)]
    first, fifth, sixth = found[0], found[4], found[5]
    assert (first["received_time"], first["kind"], first["kind_reason"]) == (
        "2026-01-01 00:01:00.000",
        "reply",
        "it cites",
    )
    assert (first["paths"], first["arrivals"], first["defects"]) == (["file", "s3", "sns"], 2, ["cut off"])
    assert (first["verdicts"]["spf"], first["verdicts"]["spam"]) == ("PASS", "PASS")
    assert (first["thread_id"], first["answers"], first["campaign"]) == ("aa", "m1", "spring")
    assert first["answered_sent_time"] == "2026-01-01 00:00:00.000"
    assert (fifth["thread_id"], fifth["answers"], fifth["answered_sent_time"]) == ("ee", "", None)
    assert (sixth["thread_id"], sixth["answers"], sixth["campaign"]) == ("", "", "")
    # Where only some columns are asked for, they are of the same row.
    assert client.query(
        "SELECT DISTINCT answers, campaign FROM mails WHERE thread_id = 'aa'"
    ).result_rows == [("m1", "spring")]
    assert client.query("SELECT verdicts.spam FROM mails WHERE answers = 'm1'").result_rows == [("PASS",)] * 4


def test_a_mail_that_could_be_read_at_last_has_its_kind(client: Any, insert: Any) -> None:
    unread = mail(1, kind="other", kind_reason="too large")
    for kind in ("auto_reply", "bounce", "unsubscribe"):
        client.command("TRUNCATE TABLE mail_rows")
        insert(topics.INBOUND, [unread, mail(1, kind=kind, kind_reason="a header"), unread])
        assert client.query("SELECT kind, kind_reason FROM mails").result_rows == [(kind, "a header")]
    client.command("TRUNCATE TABLE mail_rows")
    insert(topics.INBOUND, [unread])
    assert client.query("SELECT kind, kind_reason FROM mails").result_rows == [("other", "too large")]


def test_a_thread_says_what_is_in_it_and_how_long_the_first_answer_took(client: Any, insert: Any) -> None:
    kinds = {1: "auto_reply", 2: "reply", 3: "reply", 4: "bounce", 5: "unsubscribe", 6: "dmarc", 7: "reply"}
    insert(
        topics.INBOUND,
        [
            mail(n, kind=kind, automatic=n == 2, tenant="acme", subject=f"Re: {n}")
            for n, kind in kinds.items()
        ],
    )
    insert(topics.INBOUND, [mail(8, kind="complaint"), mail(20, received_time=SENT - 5_000)])
    said = [joined(n, "aa", 0, "m1") for n in (*kinds, 8)]
    said += [joined(20, "aa", time=SENT - 5_000), ours("m1", "aa"), ours("m2", "aa", "autumn", SENT + 500)]
    insert(topics.THREADS, said)
    (thread,) = rows_of(client, "SELECT * FROM threads")
    assert thread == {
        "thread_id": "aa",
        "campaign": "spring",
        "first_time": "2025-12-31 23:59:55.000",
        "last_time": "2026-01-01 00:08:00.000",
        "outbound": 2,
        "inbound": 9,
        # Not the one that came before, nor the automatic ones.
        "time_to_first_reply": 180,
        "tenant": "acme",
        "subject": "Re: Spring",
        "replies": 3,
        "auto_replies": 1,
        "bounces": 1,
        "complaints": 1,
        "unsubscribes": 1,
        "others": 2,
    }
    insert(topics.THREADS, [joined(30, "bb", 0, "m7", kind="bounce"), ours("m7", "bb", "")])
    insert(topics.INBOUND, [mail(30, kind="bounce")])
    (other,) = rows_of(
        client, "SELECT campaign, outbound, time_to_first_reply FROM threads WHERE thread_id = 'bb'"
    )
    # What a mail answers is also told with the campaign of the message; the message itself has none.
    assert other == {"campaign": "spring", "outbound": 1, "time_to_first_reply": None}


def test_replies_count_in_the_hour_of_their_message_be_it_counted_or_not(client: Any, insert: Any) -> None:
    hour = SENT // 1000
    rate = {
        "dimension": "campaign",
        "version": 1,
        "sends": 12,
        "deliveries": 10,
        "eligible": 10,
        "complaints": 1,
    }
    insert(topics.RATES, [rate | {"value": name, "hour": hour} for name in ("spring", "summer")])
    old = SENT - 400 * 24 * HOUR_MS
    answers = {
        # Two to one message, one to another: 60 s and 240 s until the first.
        1: ("m1", SENT, "reply", False),
        2: ("m1", SENT, "reply", False),
        4: ("m2", SENT, "reply", False),
        3: ("m3", SENT + HOUR_MS - 1, "auto_reply", True),
        5: ("m4", old, "reply", False),
        6: ("m1", SENT, "reply", True),
        7: ("m1", SENT, "bounce", False),
    }
    insert(topics.INBOUND, [mail(n, kind=kind, automatic=auto) for n, (_, _, kind, auto) in answers.items()])
    insert(
        topics.THREADS,
        [joined(n, "aa", 0, message, sent_time=sent) for n, (message, sent, _, _) in answers.items()],
    )
    found = client.query(
        "SELECT campaign, toUnixTimestamp(hour), sends, complaint_rate, replies, reply_rate, time_to_first_reply,"
        " out_of_office, out_of_office_rate FROM campaign_health ORDER BY campaign, hour"
    ).result_rows
    waited = (SENT + 5 * 60_000 - old) / 1000
    assert found == [
        ("spring", (old // HOUR_MS) * 3600, 0, None, 1, None, waited, 0, None),
        ("spring", hour, 12, 0.1, 3, 0.3, 150.0, 1, 0.1),
        ("summer", hour, 12, 0.1, 0, 0.0, None, 0, 0.0),
    ]
    narrow = (
        "SELECT sum(replies) FROM campaign_health WHERE campaign = 'spring' AND hour = fromUnixTimestamp({})"
    )
    assert client.command(narrow.format(hour)) == 3


def test_mail_views_lead_as_documented(client: Any) -> None:
    def columns(view: str) -> str:
        return " ".join(row[0] for row in client.query(f"DESCRIBE {view}").result_rows)

    assert columns("mails").startswith(
        "mail_id received_time kind message_id from_domain to_tenant subject verdicts attachments thread_id"
    )
    assert columns("threads").startswith(
        "thread_id campaign first_time last_time outbound inbound time_to_first_reply"
    )
    assert not {"landed", "mail"} & {name for view in VIEWS for name in columns(view).split()}
