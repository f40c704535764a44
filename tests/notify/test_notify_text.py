"""What a page says; and that any evidence renders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.notify.text import page_of
from schemas.alarms import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable

EVIDENCE = {
    "hits": 48,
    "trials": 5333,
    "hit": "complaints",
    "trial": "eligible deliveries",
    "since": "2026-11-22T09:00:00Z",
    "rate_low": 0.0067,
    "rate_high": 0.0119,
    "mean_days_between_false_pages": 365,
    "summary": "Yahoo draws 90 % of what is too much.",
    "drivers": [
        {
            "factor": "provider",
            "value": "yahoo",
            "hits": 43,
            "trials": 1200,
            "rate": 0.0358,
            "excess_share": 0.9,
        }
    ],
    "smtp_replies": [{"reply": "421 4.7.0 [TSS04]\r\nMessages deferred", "count": 12}],
    "sample_message_ids": ["0100019a-1", "0100019a-2"],
    "forecast": {"sentence": "At this pace the account passes 0.1 % in 9 hours."},
    "sql": "SELECT *\nFROM campaign_health",
}


def test_a_page_says_what_why_how_sure_and_what_to_do(alarm: Callable[..., Any]) -> None:
    shown = alarm(
        severity="critical",
        value="black-friday",
        rate=0.009,
        limit=0.003,
        e_value=24.0 * 365 * 40,
        evidence=json.dumps(EVIDENCE),
    )
    page = page_of("page", shown, 1)
    assert page.title == "critical: complaint rate of campaign black-friday is 0.9 % (limit 0.3 %)"
    assert page.evidence == EVIDENCE
    assert page.text.splitlines() == [
        page.title,
        "",
        "Yahoo draws 90 % of what is too much.",
        "",
        "Since 2026-11-22 11:59 UTC",
        "48 complaints in 5,333 eligible deliveries since 2026-11-22T09:00:00Z",
        "That is 0.9 % (95 %: 0.67 % to 1.2 %); the limit is 0.3 %",
        "A false page as strong as this comes less than once in 40 years of traffic at the limit (e-value 3.5e+05)",
        "Pages of this key are false less often than once in 365 days",
        "",
        "What drives it:",
        "  provider yahoo: 90 % of the excess, 43 in 1,200, 3.6 %",
        "",
        "SMTP replies:",
        "  12 times: 421 4.7.0 [TSS04] Messages deferred",
        "",
        "Messages:",
        "  0100019a-1",
        "  0100019a-2",
        "",
        "Forecast: At this pace the account passes 0.1 % in 9 hours.",
        "",
        "The rest:",
        "  SELECT *",
        "  FROM campaign_health",
        "",
        "Alarm complaint_rate:campaign:black-friday, rule complaint_rate",
        "  ses-streams alarms ack 'complaint_rate:campaign:black-friday'      (you have it: no more updates)",
        "  ses-streams alarms silence 'complaint_rate:campaign:black-friday'  (no pages for a while)",
    ]


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        (
            {"signal": "delivery_latency", "rate": 95.4, "limit": 60.0},
            "delivery latency of campaign spring is 95 s (limit 60 s)",
        ),
        ({"signal": "traffic_stopped", "rate": 35.0, "limit": None}, "silence of campaign spring is 35 min"),
        ({"rate": 0.00032, "limit": 0.0001}, "complaint rate of campaign spring is 0.032 % (limit 0.01 %)"),
        (
            {"rate": None, "evidence": '{"summary": "73 new\\ndead letters"}'},
            "complaint rate of campaign spring: 73 new dead letters",
        ),
        (
            {"rate": 1.0, "limit": 0.5, "value": "a\nb  c"},
            "complaint rate of campaign a b c is 100 % (limit 50 %)",
        ),
    ],
)
def test_titles(alarm: Callable[..., Any], fields: dict[str, Any], title: str) -> None:
    assert page_of("page", alarm(**fields), 1).title == f"warning: {title}"


@pytest.mark.parametrize(
    ("cause", "how"),
    [
        ("clean", "within the limit again"),
        ("quiet", "nothing more has come"),
        ("rule_gone", "its rule is gone"),
        ("reset", "reset by ann"),
    ],
)
def test_an_end_says_how(alarm: Callable[..., Any], cause: str, how: str) -> None:
    page = page_of("resolve", alarm(9, "resolved", cause=cause, operator="ann"), 1)
    assert page.title == f"resolved: complaint rate of campaign spring ({how}; it was warning)"
    assert "ses-streams alarms ack" not in page.text
    assert "over at 2026-11-22 11:59 UTC" in page.text


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_ROWS = st.lists(
    st.dictionaries(
        st.sampled_from(["factor", "value", "hits", "trials", "rate", "excess_share", "reply", "count"]),
        _VALUES,
    )
    | _VALUES,
    max_size=3,
)
_NUMBERS = st.none() | st.floats()


@given(
    evidence=st.dictionaries(st.sampled_from(sorted(EVIDENCE)), _VALUES | _ROWS) | _VALUES,
    signal=st.sampled_from(SIGNALS) | st.text(max_size=5),
    numbers=st.tuples(_NUMBERS, _NUMBERS, _NUMBERS),
    times=st.tuples(st.integers(-(1 << 62), 1 << 62), st.integers(-(1 << 62), 1 << 62)),
    value=st.text(max_size=300),
    kind=st.sampled_from(["page", "update", "resolve"]),
    state=st.sampled_from(["firing", "recovering", "resolved", "ok"]),
)
def test_any_evidence_renders(alarm: Callable[..., Any], **odd: Any) -> None:
    evidence, signal, value, times = odd["evidence"], odd["signal"], odd["value"], odd["times"]
    kind, state = odd["kind"], odd["state"]
    rate, limit, e_value = odd["numbers"]
    shown = alarm(
        1,
        state,
        evidence=json.dumps(evidence),
        signal=signal,
        rate=rate,
        limit=limit,
        e_value=e_value,
        time=times[0],
        opened_time=times[1],
        value=value,
        written_time=0,
    )
    page = page_of(kind, shown, 1)
    assert page.title
    assert len(page.title.splitlines()) == 1
    assert page.text.startswith(page.title)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", '"x"', "[" * 5000, '{"a": 1e999}', '{"hits": 1' + "0" * 400 + "}"]
)
def test_what_is_no_evidence_is_none(alarm: Callable[..., Any], text: str) -> None:
    page = page_of("page", alarm(evidence=text), 1)
    assert page.title == "warning: complaint rate of campaign spring is 0.2 % (limit 0.1 %)"
