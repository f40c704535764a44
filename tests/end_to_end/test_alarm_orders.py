"""An operator's orders, given to an instance that runs: done, seen to be done, and refused where they make no sense."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = [pytest.mark.embedded, pytest.mark.chaos, pytest.mark.timeout(600)]
KEY = "complaint_rate:campaign:spring"


def bad_campaign(path: Path) -> None:
    """Of 600 mails of half an hour ago 60 drew complaints."""
    sent = time.time() - 1800
    lines = []
    for number in range(600):
        mail = {
            "timestamp": iso(sent),
            "messageId": f"spring-{number:06d}",
            "source": "news@shop.example",
            "sendingAccountId": "111122223333",
            "destination": [f"u{number}@yahoo.com"],
            "tags": {"ses:configuration-set": ["bulk"], "ses:feedback-id-a": ["spring"]},
        }
        delivery = {"timestamp": iso(sent + 2), "recipients": mail["destination"], "smtpResponse": "250 ok"}
        lines.append({"eventType": "Delivery", "mail": mail, "delivery": delivery})
        if number < 60:
            complaint = {
                "timestamp": iso(sent + 60),
                "complainedRecipients": [{"emailAddress": f"u{number}@yahoo.com"}],
                "feedbackId": f"f-{number}",
            }
            lines.append({"eventType": "Complaint", "mail": mail, "complaint": complaint})
    path.write_text("\n".join(map(json.dumps, lines)))


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def test_orders_to_an_instance_that_runs(
    cli: Any, up: tuple[subprocess.Popen[bytes], Path], tmp_path: Path
) -> None:
    _, data = up
    bad_campaign(tmp_path / "events.jsonl")
    assert cli.replay(tmp_path / "events.jsonl", data).accepted == 660

    def alarms(*arguments: str) -> tuple[int, str, str]:
        done = cli.run("alarms", *arguments, "--data", str(data))
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def shown() -> str:
        return next((line for line in alarms("list")[1].splitlines() if line.endswith(KEY)), "")

    deadline = time.monotonic() + 60
    while not shown().startswith("firing  critical") and time.monotonic() < deadline:
        time.sleep(0.2)
    code, out, error = alarms("ack", KEY, "--by", "ann", "--note", "on it", "--wait", "60")
    assert (code, out, error) == (0, f"{KEY}: acknowledged by ann, firing\n", "")
    assert shown().startswith("firing  critical")
    assert "  ann  " in shown()
    code, out, error = alarms("reset", KEY, "--by", "ann", "--wait", "60")
    assert (code, out, error) == (0, f"{KEY}: reset by ann, ok\n", "")
    code, out, error = alarms("ack", KEY)
    assert (code, out) == (2, "")
    assert "no open incident" in error
    told = cli.sql(f"SELECT cause, state, operator FROM alarms WHERE alarm_key = '{KEY}' ORDER BY seq", data)
    first, *_, acknowledged, reset = told.decode().splitlines()
    assert (first, acknowledged, reset) == (
        "evidence\tfiring\t",
        "acknowledged\tfiring\tann",
        "reset\tok\tann",
    )
