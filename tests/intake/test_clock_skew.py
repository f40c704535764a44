"""Clocks that differ: events of the future are kept and flagged, events of the past are kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.intake.intake import Intake
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.provenance import Provenance
from schemas.avro import newest
from schemas.blocks import BlockBuilder, decode
from schemas.events import FUTURE_MS

NOW = datetime(2026, 1, 2, 3, 0, tzinfo=UTC).timestamp()
SOURCE = Provenance("file:///x", 1, "file")
DAY = 86_400


def text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def taken_at(clock: float, document: dict[str, Any]) -> Any:
    found = Intake(NormalisePolicy(pii="plain"), lambda: clock).take(json.dumps(document).encode(), SOURCE)
    assert found.dead_letters == []
    return found.events[0]


@pytest.mark.parametrize(
    ("sent", "own", "future"),
    [
        (0, 0, False),
        (FUTURE_MS / 1000, FUTURE_MS / 1000, False),
        (FUTURE_MS / 1000 + 0.001, 0, True),
        (0, FUTURE_MS / 1000 + 0.001, True),
        (3 * DAY, 3 * DAY, True),
        (0, 100 * 365 * DAY, True),
        (-9 * DAY, -9 * DAY, False),
        # A clock that is behind gives a Delivery before its Send.
        (0, -9 * DAY, False),
        (-20 * 365 * DAY, 0, False),
    ],
)
def test_an_event_keeps_its_times_whatever_they_are_and_the_future_is_flagged(
    sent: float, own: float, *, future: bool, make: Any
) -> None:
    row = taken_at(NOW, make("Delivery", {"timestamp": text(NOW + sent)}, timestamp=text(NOW + own)))
    assert row["future"] is future
    assert row["sent_time"] == round((NOW + sent) * 1000)
    assert row["event_time"] == round((NOW + own) * 1000)


def test_the_clock_is_asked_again_for_every_document_and_changes_no_identity(make: Any) -> None:
    times = iter([NOW - DAY, NOW + DAY])
    intake = Intake(NormalisePolicy(pii="plain"), lambda: next(times))
    document = json.dumps(make("Delivery")).encode()
    early, late = (intake.take(document, SOURCE).events[0] for _ in range(2))
    assert (early.pop("future"), late.pop("future")) == (True, False)
    assert early == late


def test_a_stream_flags_what_is_ahead_and_the_flag_reaches_the_block(make: Any) -> None:
    lines = [
        make("Send", {"timestamp": text(NOW + ahead), "messageId": f"m{ahead}"}) for ahead in (0, 600, 0)
    ]
    chunks = [b"\n".join(json.dumps(line).encode() for line in lines)]
    builder = BlockBuilder(newest("ses_event"))
    for taken in Intake(NormalisePolicy(pii="plain"), lambda: NOW).take_stream(chunks, SOURCE):
        for row in taken.events:
            builder.add(row)
    assert [row["future"] for row in decode(builder.take())] == [False, True, False]
