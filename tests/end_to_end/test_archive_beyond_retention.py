"""An archive of before what is kept: rates stay, whatever of it comes again; one that may stay is counted whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.embedded, pytest.mark.chaos, pytest.mark.timeout(600)]

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
OLD, NEW = NOW - timedelta(days=300), NOW - timedelta(days=2)
RATES = "SELECT hour, sends, deliveries, complaints FROM rates WHERE dimension = 'campaign' ORDER BY hour"
LETTERS = "SELECT cause, count() FROM dead_letters GROUP BY cause"


def event(number: int, kind: str, sent: datetime) -> bytes:
    at = sent.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    to = "reader@yahoo.com"
    mail = {
        "timestamp": at,
        "messageId": f"0100-{number:08}",
        "source": "news@example.com",
        "sendingAccountId": "111122223333",
        "destination": [to],
        "tags": {"ses:feedback-id-a": ["spring"]},
    }
    complaint = {"complainedRecipients": [{"emailAddress": to}], "feedbackId": f"c{number}", "timestamp": at}
    told: dict[str, Any] = {
        "Send": {},
        "Delivery": {"timestamp": at, "recipients": [to]},
        "Complaint": complaint,
    }
    return json.dumps({"eventType": kind, "mail": mail, kind.lower(): told[kind]}).encode() + b"\n"


def test_rates_stay_when_their_events_go(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    whole, late = tmp_path / "whole.jsonl", tmp_path / "late.jsonl"
    sent = [event(number, kind, OLD) for number in range(40) for kind in ("Send", "Delivery")]
    whole.write_bytes(b"".join([*sent, *(event(number, "Send", NEW) for number in range(100, 110))]))
    late.write_bytes(event(3, "Complaint", OLD) + event(50, "Send", OLD) + event(100, "Complaint", NEW))
    cli.replay(whole, data)
    before = [row.split("\t")[1:] for row in cli.sql(RATES, data).decode().splitlines()]
    assert before == [["40", "40", "0"], ["10", "0", "0"]]
    monkeypatch.setenv("SES_STREAMS_RETENTION__EVENTS", "30")
    for _ in range(2):
        cli.replay(late, data)
    done = cli.run("rebuild", "rates", "--data", str(data))
    assert done.returncode == 0, done.stderr.decode()
    kept = [row.split("\t")[1:] for row in cli.sql(RATES, data).decode().splitlines()]
    assert kept == [["40", "40", "0"], ["10", "0", "1"]]
    assert cli.sql(LETTERS, data).decode() == "beyond_retention\t1\n"
    # What is replayed once nothing goes any more is counted: the complaint and the message of then too.
    monkeypatch.delenv("SES_STREAMS_RETENTION__EVENTS")
    cli.replay(tmp_path / "whole.jsonl", data)
    (tmp_path / "again").mkdir()
    late.rename(tmp_path / "again" / "late.jsonl")
    cli.replay(tmp_path / "again", data)
    found = [row.split("\t")[1:] for row in cli.sql(RATES, data).decode().splitlines()]
    assert found == [["41", "40", "1"], ["10", "0", "1"]]
