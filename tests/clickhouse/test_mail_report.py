"""What a report says of received mail, and the notice of relays that are not expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from connectors.clickhouse import door
from connectors.clickhouse.sql import Through
from connectors.reports.notices import notices
from connectors.reports.report import render, report
from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded

T = 1_767_225_600_000
DAY_MS = 86_400_000


@pytest.fixture
def through(client: Any, engine: Path, database: str) -> Iterator[Through]:
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


def _mail(number: int, kind: str = "reply", **fields: Any) -> dict[str, Any]:
    row = {"mail_id": bytes([number]) * 16, "received_time": T + number * 60_000, "kind": kind, "path": "s3"}
    return row | {"verdicts": {}, "automatic": kind == "auto_reply"} | fields


def _joined(number: int, message: str, campaign: str) -> dict[str, Any]:
    member = f"in:{(bytes([number]) * 16).hex()}"
    row = {"member": member, "thread_id": message, "direction": "in", "time": T + number * 60_000, "rank": 0}
    return row | {"message_id": message, "campaign": campaign, "sent_time": T}


def _ours(message: str, campaign: str) -> dict[str, Any]:
    return {**_joined(0, message, campaign), "member": f"out:{message}", "direction": "out", "time": T}


def test_received_mail_at_a_glance(through: Through, insert: Any) -> None:
    insert(
        topics.INBOUND,
        [
            *(_mail(number) for number in (1, 3, 9)),
            _mail(5, "auto_reply"),
            _mail(6, "bounce", received_time=T - 2 * DAY_MS),
        ],
    )
    said = [_ours("a1", "spring"), _ours("a2", "spring"), _ours("b1", "autumn")]
    said += [_joined(1, "a1", "spring"), _joined(9, "a2", "spring"), _joined(3, "b1", "autumn")]
    insert(topics.THREADS, [*said, _joined(5, "b1", "autumn")])
    rate = {"dimension": "campaign", "hour": T // 1000, "version": 1, "sends": 50, "deliveries": 40}
    insert(topics.RATES, [rate | {"value": "spring"}])
    text = render(report(through))
    assert (
        "mails received  mails  in the last 24 h\n"
        "reply               3                 3\n"
        "auto_reply          1                 1\n"
        "bounce              1                 0\n"
    ) in text
    assert (
        "3 threads, 3 of them with messages of ours and answers to them;"
        " in 3 a person replied, half of them within 3 min\n"
    ) in text
    assert (
        "answers to campaign  replies  of deliveries  out of office\n"
        "spring                     2          5.00%              0\n"
        "autumn                     1        no data              1\n"
    ) in text


def test_relays_that_are_not_expected_are_noticed(through: Through, insert: Any) -> None:
    insert(topics.INBOUND, [_mail(1, relay="expected", originator_org="ours")])
    assert notices(through) == ()
    insert(
        topics.INBOUND,
        [
            *(_mail(n, relay="unexpected", originator_org="evil\x1b[2J\norg") for n in (2, 3)),
            _mail(2, relay="unexpected", path="sns"),
            *(_mail(10 + n, relay="unexpected", originator_org=f"org-{n}") for n in range(3)),
            _mail(4, relay="unexpected", originator_org="longer ago", received_time=T - 8 * DAY_MS),
        ],
    )
    (notice,) = notices(through)
    assert notice.startswith(
        "mails received in the last 7 days claim to come through Mail Manager of organisations that are not expected:"
        " evil\ufffd[2J org (2), org-0 (1), org-1 (1) and 1 more, 5 in all; do not trust"
    )
    assert "inbound.expected_originators" in notice
    assert f"Notices\n- {notice}\n" in render(report(through))
