"""Requests and answers, without a network."""

from __future__ import annotations

from datetime import date
from email.message import Message
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postmaster import wire
from connectors.postmaster.http import Answer, Patience, retry_after
from connectors.postmaster.metrics import Metric, feedback_loops, groups

DAY = {"year": 2026, "month": 11, "day": 20}
RATE = Metric("spam_rate")


def stats(*items: Any) -> list[msgspec.Raw]:
    return msgspec.json.decode(msgspec.json.encode({"domainStats": items}), type=wire.Stats).domainStats


def numbers(*values: Any) -> list[float]:
    items = [{"metric": "m0", "date": DAY, "value": value} for value in values]
    return [each.value for each in wire.figures("a.example", [RATE], stats(*items))]


def test_a_figure_of_any_kind_is_its_number() -> None:
    kinds = (
        {"floatValue": 0.004},
        {"doubleValue": 4.75},
        {"intValue": "9007199254740991"},
        {"floatValue": 0},
    )
    assert numbers(*kinds) == [0.004, 4.75, 9007199254740991.0, 0.0]


def test_what_is_no_number_is_missing_and_not_zero() -> None:
    absent = (
        {},
        {"doubleValue": "NaN"},
        {"floatValue": "Infinity"},
        {"stringValue": "low"},
        {"stringList": {}},
    )
    assert numbers(*absent, {"intValue": None}, {"intValue": "many"}, None, 3) == []


@pytest.mark.parametrize(
    "item",
    [
        {"metric": "m0", "value": {"floatValue": 1}},
        {"metric": "m0", "date": {"year": 2026, "month": 11}, "value": {"floatValue": 1}},
        {"metric": "m0", "date": {"year": 2026, "month": 11, "day": 0}, "value": {"floatValue": 1}},
        {"metric": "m7", "date": DAY, "value": {"floatValue": 1}},
        {"date": DAY, "value": {"floatValue": 1}},
        "text",
        None,
    ],
)
def test_a_value_of_no_day_or_no_metric_of_ours_is_passed_over(item: Any) -> None:
    good = {"metric": "m0", "date": DAY, "value": {"floatValue": 0.5}, "name": "domains/x/…", "new": [1]}
    found = wire.figures("a.example", [RATE], stats(item, good))
    assert found == [wire.Figure("a.example", date(2026, 11, 20), "spam_rate", "", 0.5)]


def test_identifiers_come_of_all_days_once() -> None:
    items = [
        {"metric": "m0", "date": {**DAY, "day": day}, "value": {"stringList": {"values": values}}}
        for day, values in ((1, ["spring", ""]), (2, ["spring", 'a"b']), (3, []))
    ]
    assert wire.identifiers(stats(*items)) == {"spring", 'a"b'}


def test_every_metric_that_is_asked_for_is_another_row() -> None:
    every = [(each.name, each.identifier) for group in groups() for each in group]
    assert len(every) == len(set(every)) == 34
    assert ("delivery_error_rate", "reject/spammy_content") in every


@given(st.sets(st.text(min_size=1, max_size=8), max_size=90))
def test_each_identifier_is_asked_for_once_and_its_filter_cannot_be_broken_out_of(names: set[str]) -> None:
    asked = [metric for group in feedback_loops(names) for metric in group]
    assert sorted(each.identifier for each in asked) == sorted(names)
    for each in asked:
        quoted = each.filter.removeprefix('feedback_loop_id = "').removesuffix('"')
        plain = quoted.replace("\\\\", "\0").replace('\\"', "\1")
        assert '"' not in plain
        assert "\\" not in plain
    assert all(len(group) <= 20 for group in feedback_loops(names))


def test_compliance_is_of_the_domain_that_google_names() -> None:
    status = msgspec.json.decode(
        msgspec.json.encode(
            {
                "complianceData": {
                    "domainId": "example.com",
                    "rowData": [
                        {"requirement": "SPF", "status": {"status": "COMPLIANT"}},
                        {"requirement": "DMARC_POLICY", "status": {"status": "NEEDS_WORK"}},
                        {"requirement": "ENCRYPTION", "status": {"status": "STATE_UNSPECIFIED"}},
                        {"requirement": "DKIM"},
                    ],
                },
                "subdomainComplianceData": {
                    "rowData": [{"requirement": "SPF", "status": {"status": "NEEDS_WORK"}}]
                },
            }
        ),
        type=wire.Compliance,
    )
    day = date(2026, 11, 22)
    assert wire.compliance("mail.example.com", day, status) == [
        wire.Figure("example.com", day, "compliance", "spf", 1.0),
        wire.Figure("example.com", day, "compliance", "dmarc_policy", 0.0),
        wire.Figure("mail.example.com", day, "compliance", "spf", 0.0),
    ]
    assert wire.compliance("mail.example.com", day, wire.Compliance()) == []


def busy(**headers: str) -> Answer:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return Answer(429, message, b"")


def test_waits_double_until_there_are_no_more() -> None:
    patience = Patience(tries=5, first_s=1, longest_s=5)
    assert [patience.wait_s(tried, None) for tried in range(1, 6)] == [1, 2, 4, 5, None]


def test_google_says_how_long_to_wait() -> None:
    assert Patience().wait_s(1, busy(Retry_After="17")) == 17
    assert Patience().wait_s(1, busy(Retry_After="3600")) is None, "that long the next fetch may wait"
    dated = busy(Retry_After="Sun, 22 Nov 2026 03:00:30 GMT", Date="Sun, 22 Nov 2026 03:00:10 GMT")
    assert retry_after(dated) == 20
    assert [retry_after(busy(Retry_After=odd)) for odd in ("soon", "-3", "", "²")] == [None] * 4
