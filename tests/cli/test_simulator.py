"""The simulator against a second, naive reading of what it says SES would say."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.simulator import world
from connectors.simulator.payloads import iso
from connectors.simulator.traffic import Traffic
from connectors.simulator.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path

NOW_MS = 1_790_000_000_000


def natural_key(payload: dict[str, Any]) -> tuple[Any, ...]:
    kind = payload["eventType"]
    detail = payload[
        {"Rendering Failure": "failure", "DeliveryDelay": "deliveryDelay"}.get(kind, kind.lower())
    ]
    who = json.dumps(detail.get("recipients") or detail.get("delayedRecipients") or [])
    time = detail.get("timestamp")
    return kind, payload["mail"]["messageId"], detail.get("feedbackId"), time, who, detail.get("link")


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), events=st.integers(1, 400))
def test_the_tally_is_what_the_payloads_say(seed: int, events: int) -> None:
    traffic = Traffic(seed, NOW_MS, events)
    payloads = [event.payload for event in traffic]
    truth = traffic.truth
    assert truth.events == len(payloads) == len({natural_key(payload) for payload in payloads})
    total: Counter[str] = sum(truth.campaigns().values(), Counter())
    said: Counter[str] = Counter()
    reporting = {domain.name for domain in world.DOMAINS if domain.reports_complaints}
    for payload in payloads:
        if payload["eventType"] == "Send":
            said["sends"] += len(payload["mail"]["destination"])
        elif payload["eventType"] == "Delivery":
            recipients = payload["delivery"]["recipients"]
            said["deliveries"] += len(recipients)
            said["eligible"] += sum(each.partition("@")[2] in reporting for each in recipients)
        elif payload["eventType"] == "Complaint":
            said["complaints"] += payload["complaint"]["complaintFeedbackType"] != "not-spam"
        elif payload["eventType"] == "Bounce":
            suppressed = payload["bounce"]["bounceSubType"] == "OnAccountSuppressionList"
            said["sends"] -= suppressed
            said["hard_bounces"] += payload["bounce"]["bounceType"] == "Permanent" and not suppressed
    for counter, number in said.items():
        assert total[counter] == number, counter


def test_the_same_seed_is_the_same_traffic_and_another_is_not() -> None:
    first, second, other = ([event.payload for event in Traffic(seed, NOW_MS, 300)] for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_ids_carry_region_and_time_as_real_ones_do() -> None:
    prefixes = {name: prefix for name, prefix, _ in world.REGIONS}
    for event in Traffic(5, NOW_MS, 100):
        mail = event.payload["mail"]
        match = re.fullmatch(
            prefixes[event.region] + r"([0-9a-f]{12})-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-000000",
            mail["messageId"],
        )
        assert match
        assert iso(int(match[1], 16)) == mail["timestamp"]


def test_events_come_out_of_order_and_some_hours_late() -> None:
    events = list(Traffic(3, NOW_MS, 12_000))
    times = [event.time_ms for event in events]
    assert times != sorted(times)
    assert max(times) <= NOW_MS
    late = [event.arrival_ms - event.time_ms for event in events]
    assert any(3 * 3_600_000 <= each < 48 * 3_600_000 for each in late)
    # Later than the hours in which events are counted as they come.
    assert sum(each > 48 * 3_600_000 for each in late) > 30


def test_a_tree_holds_the_copies_and_the_broken_records_its_truth_says(tmp_path: Path) -> None:
    truth = Tree(tmp_path, Traffic(9, NOW_MS, 4000)).write()
    assert json.loads((tmp_path / "truth.json").read_text()) == json.loads(json.dumps(truth.as_json()))
    ids = Counter[str]()
    for path in (tmp_path / "events").rglob("*"):
        if path.is_file() and path.name != "upload.gz":
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            if path.parent.name == "http" and path.suffix == ".json":
                data = b"".join(base64.b64decode(each["data"]) for each in json.loads(data)["records"])
            ids[path.parts[len(tmp_path.parts)]] += len(
                re.findall(rb'\\?"messageId\\?":\\?"010[02][^"]+\\?",\\?"dest', data)
            )
    # A record cut off, with a time that is none, not in UTF-8 or without its type still shows an id.
    shown = sum(
        truth.broken[kind]
        for kind in ("cut off in the middle", "not UTF-8", "time that is none", "without eventType")
    )
    assert ids.total() == truth.copies + shown
    assert truth.broken.total() == 11


@pytest.mark.parametrize("events", [1, 10, 2000])
def test_it_makes_as_many_as_asked_or_a_message_more(events: int) -> None:
    assert events <= sum(1 for _ in Traffic(1, NOW_MS, events)) <= events + 40
