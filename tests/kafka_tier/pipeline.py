"""The pipeline as separate processes on a real Kafka, and the events that are fed to it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from connectors.embedded import lifeline
from connectors.embedded.broker import free_port

if TYPE_CHECKING:
    from pathlib import Path

ROLES: Final = ("bridge", "worker", "sink")
PARTITIONS: Final = 3
MESSAGES: Final = 600
CAMPAIGNS: Final = 12
PER_POST: Final = 40
DEADLINE_S: Final = int(os.environ.get("KAFKA_TIER_DEADLINE_S", "240"))


def events() -> list[dict[str, Any]]:
    """Of each message a Send and a Delivery or Bounce, of some an Open or a Complaint; 12 campaigns."""
    found = []
    for number in range(MESSAGES):
        found.append(_event(number, "Send", {}))
        to = _to(number)
        if number % 10 == 3:
            bounced = [
                {"emailAddress": to, "action": "failed", "status": "5.1.1", "diagnosticCode": "550 5.1.1 no"}
            ]
            bounce = {"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": bounced}
            found.append(
                _event(number, "Bounce", bounce | {"feedbackId": f"b{number}", "timestamp": _at(number, 9)})
            )
            continue
        found.append(_event(number, "Delivery", {"timestamp": _at(number, 5), "recipients": [to]}))
        if number % 4 == 1:
            found.append(
                _event(
                    number, "Open", {"timestamp": _at(number, 20), "ipAddress": "192.0.2.1", "userAgent": "x"}
                )
            )
        if number % 50 == 7:
            complaint = {"complainedRecipients": [{"emailAddress": to}], "complaintFeedbackType": "abuse"}
            found.append(
                _event(
                    number,
                    "Complaint",
                    complaint | {"feedbackId": f"c{number}", "timestamp": _at(number, 40)},
                )
            )
    return found


def truth() -> list[list[str]]:
    """Of each campaign: sends, deliveries, hard bounces, complaints; as ClickHouse writes them."""
    kinds = ("Send", "Delivery", "Bounce", "Complaint")
    counts = Counter((_campaign_of(event), event["eventType"]) for event in events())
    names = {campaign for campaign, _ in counts}
    return sorted([name, *(str(counts[name, kind]) for kind in kinds)] for name in names)


def _campaign_of(event: dict[str, Any]) -> str:
    return str(event["mail"]["tags"]["ses:feedback-id-a"][0])


def _to(number: int) -> str:
    return f"reader{number}@{('gmail.com', 'yahoo.com', 'example.org')[number % 3]}"


def _at(number: int, second: int) -> str:
    """Every seventh message is days older than the others: its hours are closed and have to be recounted."""
    day = "2026-02-20" if number % 7 == 0 else "2026-03-04"
    return f"{day}T{5 + number % 2:02}:{number % 59:02}:{second:02}.000Z"


def _event(number: int, kind: str, details: dict[str, Any]) -> dict[str, Any]:
    mail = {
        "timestamp": _at(number, 0),
        "messageId": f"0100019cb0{number:06x}-5f6c4b5f-9b7c-4f0b-8e2d-3c4d5e6f7a8b-000000",
        "source": "news@example.com",
        "sourceArn": "arn:aws:ses:eu-west-1:111122223333:identity/example.com",
        "sendingAccountId": "111122223333",
        "destination": [_to(number)],
        "tags": {"ses:feedback-id-a": [f"campaign-{number % CAMPAIGNS}"], "ses:from-domain": ["example.com"]},
    }
    return {"eventType": kind, "mail": mail, kind.lower(): details}


def posts() -> list[bytes]:
    """Bodies as Firehose sends them; every tenth comes twice, as Firehose does now and then."""
    rows = [json.dumps(event).encode() for event in events()]
    found = []
    for start in range(0, len(rows), PER_POST):
        records = [{"data": base64.b64encode(row + b"\n").decode()} for row in rows[start : start + PER_POST]]
        body = {"requestId": f"request-{start}", "timestamp": 1_772_600_000_000, "records": records}
        found += [json.dumps(body).encode()] * (2 if start % (10 * PER_POST) == 0 else 1)
    return found


class Pipeline:
    """Bridge, worker and sink, each a process; one that ends is started again, as a supervisor would."""

    def __init__(self, kafka: str, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.dsn = f"chdb:///{folder / 'clickhouse'}"
        self.environment = {
            "SES_STREAMS_KAFKA__BROKERS": kafka,
            "SES_STREAMS_KAFKA__PARTITIONS": str(PARTITIONS),
            "SES_STREAMS_KAFKA__REPLICATION": "1",
            "SES_STREAMS_KAFKA__REBALANCE_TIMEOUT_MS": "6000",
            "SES_STREAMS_CLICKHOUSE__DSN": self.dsn,
            "SES_STREAMS_PRIVACY__PII_KEY": "a key",
            "SES_STREAMS_BRIDGE__HTTP__BIND": f"127.0.0.1:{self.port}",
            "PYTHONFAULTHANDLER": "1",
        }
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.starts: Counter[str] = Counter()

    def start(self, role: str) -> None:
        self.starts[role] += 1
        with (self.folder / f"{role}.log").open("ab") as log:
            self.parts[role] = subprocess.Popen(
                lifeline.wrap(self._command(role)),
                env=os.environ | self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def _command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "connectors.cli.main", name, "--data", str(self.folder)]

    def migrate(self) -> None:
        """Topics and tables, as an operator would."""
        environment = os.environ | self.environment
        done = subprocess.run(
            self._command("migrate"), env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr)

    def tend(self) -> None:
        """Start what is not running."""
        for role in ROLES:
            part = self.parts.get(role)
            if part is None or part.poll() is not None:
                if part is not None:
                    part.communicate()
                self.start(role)

    def kill(self, role: str) -> None:
        self.parts[role].kill()
        self.parts[role].communicate()

    def post(self, body: bytes) -> None:
        """Deliver until it is taken, as Firehose does."""
        url = f"http://127.0.0.1:{self.port}/firehose"
        deadline = time.monotonic() + DEADLINE_S
        while True:
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=30):
                    return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the bridge takes nothing ({error}): {self.logs()}") from error
            self.tend()
            time.sleep(0.1)

    def drain(self) -> None:
        """Wait until everything has landed."""
        from connectors.cli.wiring import drain
        from connectors.errors import BrokerError
        from connectors.settings import load

        deadline = time.monotonic() + DEADLINE_S
        settings = load(None, self.environment)
        left = [0]

        def give_up() -> bool:
            self.tend()
            return time.monotonic() > deadline

        while True:
            try:
                landed = drain(settings, give_up, lambda remaining: left.__setitem__(0, remaining))
            except BrokerError:
                if give_up():
                    raise
                continue
            if not landed:
                raise TimeoutError(f"{left[0]} records have not landed in {DEADLINE_S} s: {self.logs()}")
            return

    def stop(self) -> dict[str, int]:
        """End them as a supervisor does; their exit codes."""
        for part in self.parts.values():
            part.send_signal(signal.SIGTERM)
        codes = {}
        for role, part in self.parts.items():
            try:
                part.communicate(timeout=45)
            except subprocess.TimeoutExpired:
                part.kill()
                part.communicate()
            codes[role] = part.returncode
        return codes

    def logs(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )

    def rows(self, query: str) -> list[list[str]]:
        """Ask ClickHouse, once the sink has ended."""
        from connectors.clickhouse.sql import run_sql

        text = b"".join(run_sql(query, "TSV", self.dsn)).decode()
        return [line.split("\t") for line in text.splitlines()]
