"""What lands of mails sent on: the view, and what an embedded instance finds there when its Kafka has forgotten."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from connectors.attachments.lookup import found_in
from connectors.clickhouse import door
from connectors.clickhouse.sql import Through
from connectors.distribution.ledger import Ledger
from connectors.distribution.past import landed, mails_of, rows_of
from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded
T = 1_795_000_000_000
MAIL = bytes(range(16))


@pytest.fixture
def through(client: Any, engine: Path, database: str) -> Iterator[Through]:
    assert client
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


def step(
    outcome: str, after: int = 0, *, attempt: str = "a-1", mail_id: bytes = MAIL, **fields: Any
) -> dict[str, Any]:
    recipients = [{"address": "ann's", "domain": "a.example"}]
    row = {"mail_id": mail_id, "attempt": attempt, "time": T + after, "outcome": outcome, "received_time": T}
    return row | {"recipients": recipients, "object": "s3://mails/1", "links": 2, "tries": 1} | fields


def mail(mail_id: bytes, **fields: Any) -> dict[str, Any]:
    verdicts = {
        "spf": "PASS",
        "dkim": "",
        "dmarc": "GRAY",
        "spam": "PASS",
        "virus": "PASS",
        "dmarc_policy": "",
    }
    attachment = {
        "name": "a.jpg",
        "content_type": "image/jpeg",
        "size": 7,
        "sha256": "ab" * 32,
        "key": "s3://a/b",
    }
    row = {"mail_id": mail_id, "received_time": T, "kind": "other", "verdicts": verdicts, "path": "s3"}
    row |= {
        "recipients": [{"address": "h1", "domain": "iot.example"}],
        "object": "s3://mails/1",
        "subject": "it's",
    }
    return row | {"attachments": [{**attachment, "inline": False}]} | fields


STORIES: list[tuple[list[dict[str, Any]], str, int]] = [
    ([step("intended")], "intended", 1),
    ([step("intended"), step("sent", 5, ses_message_id="m1")], "sent", 1),
    ([step("intended"), step("deferred", 5), step("intended", 9, attempt="a-2")], "intended", 2),
    ([step("intended"), step("sent", 5), step("unknown", 900, attempt="b-1")], "sent", 2),
    ([step("intended"), step("unknown", 9, attempt="b-1"), step("deferred", 99)], "unknown", 2),
    ([step("fallback", 1, reason="markers_missing"), step("intended", 2, attempt="b-1")], "fallback", 2),
]


def test_one_row_says_what_became_of_a_mail(client: Any, insert: Callable[..., None]) -> None:
    for steps, outcome, attempts in STORIES:
        for order in permutations(steps):
            client.command("TRUNCATE TABLE mail_forward_rows")
            insert(topics.FORWARDS, [*order, order[0]])
            [found] = client.query(
                "SELECT mail_id, outcome, attempts, links_until FROM mail_forwards"
            ).result_rows
            assert found == (MAIL.hex(), outcome, attempts, None)


def test_a_ledger_begins_with_what_landed(client: Any, insert: Callable[..., None], through: Through) -> None:
    other = bytes(16)
    insert(topics.FORWARDS, [step("intended"), step("sent", 5), step("intended", 7, mail_id=other)])
    ledger = Ledger()
    for row in rows_of(through):
        ledger.take(row, T)
    assert ledger.is_final(MAIL)
    assert not ledger.is_final(other)
    assert ledger.intended_at(other) == T + 7
    assert landed(through, step("intended", 7, mail_id=other))  # type: ignore[arg-type]


def test_mails_that_nothing_final_is_known_of_are_left(
    client: Any, insert: Callable[..., None], through: Through
) -> None:
    sent, begun, fresh, old, replayed = (bytes([number]) * 16 for number in range(5))
    insert(topics.INBOUND, [mail(each) for each in (sent, begun, fresh)])
    insert(topics.INBOUND, [mail(old, received_time=T - 90_000_000), mail(replayed, path="file")])
    insert(topics.INBOUND, [mail(fresh, path="file", object="")])
    insert(topics.FORWARDS, [step("sent", mail_id=sent), step("intended", mail_id=begun)])
    found = {each["mail_id"]: each for each in mails_of(through, T - 86_400_000)}
    assert set(found) == {begun, fresh, replayed}
    assert found[fresh]["received_time"] == T
    assert found[fresh]["recipients"] == [{"address": "h1", "domain": "iot.example"}]
    assert found[fresh]["verdicts"]["spf"] == "PASS"
    assert (found[fresh]["object"], found[fresh]["subject"]) == ("s3://mails/1", "it's")
    assert (found[fresh]["path"], found[replayed]["path"]) == ("", "file")
    assert {"tenant", "ses_id", "kind"} <= set(found[fresh])


def test_the_mails_of_an_attachment_are_the_newest_first(
    client: Any, insert: Callable[..., None], through: Through
) -> None:
    insert(topics.INBOUND, [mail(bytes([number]) * 16, received_time=T + number) for number in range(25)])
    found = found_in(through, "ab" * 32)
    assert (found.total, len(found.newest)) == (25, 20)
    assert found.newest[0].mail_id == (bytes([24]) * 16).hex()
    assert (found.newest[0].name, found.newest[0].size, found.newest[0].key) == ("a.jpg", 7, "s3://a/b")
    assert found_in(through, "cd" * 32).total == 0
