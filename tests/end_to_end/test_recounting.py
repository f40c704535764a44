"""Archives in any order, twice, and late: rates are what the events say, with tags and values beyond the cap too."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from connectors.clickhouse.repair import differences_sql
from schemas.counters import COUNTERS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.embedded, pytest.mark.chaos, pytest.mark.timeout(600)]

DIMENSIONS = ("account", "campaign", "provider", "tag:team")
CAMPAIGNS = 40
START = datetime(2026, 3, 1, tzinfo=UTC)


def event(number: int, chance: random.Random) -> list[bytes]:
    """A message of any hour of three weeks: its Send, then its Delivery, now and then its Complaint."""
    sent = START + timedelta(seconds=chance.randrange(21 * 86_400))
    to = f"reader{number}@{chance.choice(['gmail.com', 'yahoo.com'])}"
    campaign = min(int(chance.expovariate(0.1)), CAMPAIGNS - 1)
    mail = {
        "timestamp": sent.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "messageId": f"0100-{number:08}",
        "source": "news@example.com",
        "sendingAccountId": "111122223333",
        "destination": [to],
        "tags": {"ses:feedback-id-a": [f"campaign-{campaign}"], "team": [f"team-{number % 3}"]},
    }
    at = (sent + timedelta(seconds=9)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    found = [
        {"eventType": "Send", "mail": mail, "send": {}},
        {"eventType": "Delivery", "mail": mail, "delivery": {"timestamp": at, "recipients": [to]}},
    ]
    if number % 20 == 7:
        complaint = {
            "complainedRecipients": [{"emailAddress": to}],
            "feedbackId": f"c{number}",
            "timestamp": at,
        }
        found.append({"eventType": "Complaint", "mail": mail, "complaint": complaint})
    return [json.dumps(row).encode() + b"\n" for row in found]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "settings.toml"
    names = ", ".join(f'"{name}"' for name in DIMENSIONS)
    file.write_text(f"[counting]\ndimensions = [{names}]\ndimension_cap = 10\n")
    return file


def test_rates_are_what_the_events_say(cli: Any, tmp_path: Path, settings: Path) -> None:
    chance = random.Random(3)
    rows = [row for number in range(800) for row in event(number, chance)]
    late = [row for number in range(800, 900) for row in event(number, chance)]
    chance.shuffle(rows)
    archive, more = tmp_path / "archive", tmp_path / "more.jsonl"
    archive.mkdir()
    half = len(rows) // 2
    (archive / "1.jsonl").write_bytes(b"".join(rows[:half] + rows[: half // 3]))
    (archive / "2.jsonl").write_bytes(b"".join(rows[half:] + rows[: half // 4]))
    more.write_bytes(b"".join(late))
    data = tmp_path / "data"

    def run(*command: str) -> str:
        done = cli.run(*command, "--data", str(data), "--config", str(settings), timeout=300)
        assert done.returncode == 0, done.stderr.decode()
        return str(done.stdout.decode())

    assert cli.Line.of(run("replay", str(archive), "--once")).accepted == len(rows)
    agrees(cli, data)
    # All of it again, and what is late by months: as it streams by the rates are right, a rebuild finds nothing.
    accepted, rebuilt = run("rebuild", "rates", str(archive), str(more)).splitlines()
    assert cli.Line.of(accepted).accepted == len(late)
    assert rebuilt.endswith("corrected=0")
    agrees(cli, data)


def agrees(cli: Any, data: Path) -> None:
    """No row of rates is off, some are of `(other)`, and campaigns sum to the account in every hour."""
    sums = ", ".join(f"sum({name})" for name in COUNTERS)
    whole = f"SELECT hour, [{sums}] FROM rates WHERE dimension = '%s' GROUP BY hour"
    facts = f"""
SELECT
    (SELECT count() FROM ({differences_sql(None, DIMENSIONS)})),
    (SELECT count() FROM ({whole % "campaign"} EXCEPT {whole % "account"})),
    countIf(value = '(other)') > 0,
    uniqIf(value, value != '(other)') < {CAMPAIGNS}
FROM rates WHERE dimension = 'campaign'"""
    assert cli.sql(facts, data).split() == [b"0", b"0", b"1", b"1"]
