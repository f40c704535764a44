"""Retention that the program could not work with is refused, with the least that it can."""

from __future__ import annotations

import pytest

from connectors.errors import SettingsError
from connectors.settings import load

REFUSED = [
    ({"EVENTS": "15"}, "retention.events = 15 is too short", "set it to 16 or more"),
    ({"RATES": "1"}, "retention.rates = 1 is too short", "set it to 16 or more"),
    ({"MAIL": "90"}, "retention.mail = 90 is too short", "inbound.thread_days (90); set it to 91 or more"),
    ({"THREADS": "30"}, "retention.threads = 30 is too short", "set it to 91 or more"),
    ({"OUTBOUND": "30"}, "retention.outbound = 30", "inbound.outbound_days (30); set it to 31 or more"),
    ({"REPORTS": "30"}, "retention.reports = 30", "set it to 31 or more, or to 0 to keep all"),
    (
        {"POSTMASTER": "10"},
        "retention.postmaster = 10",
        "postmaster.days (10) are asked for again; set it to 11",
    ),
    ({"EVENTS": "-1"}, "retention.events", "0"),
    ({"EVENTS": "9999"}, "retention.events", "3650"),
]


def settings(**days: str) -> dict[str, str]:
    return {f"SES_STREAMS_RETENTION__{name}": value for name, value in days.items()}


@pytest.mark.parametrize(("days", "what", "least"), REFUSED)
def test_too_short_is_refused_with_the_least_that_is_not(days: dict[str, str], what: str, least: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, settings(**days))
    assert what in str(caught.value)
    assert least in str(caught.value)


def test_the_least_follows_the_other_settings() -> None:
    longer = {"SES_STREAMS_COUNTING__RETENTION_DAYS": "40"}
    assert load(None, longer | settings(EVENTS="42", RATES="42")).retention.events == 42
    with pytest.raises(SettingsError, match="set it to 42 or more"):
        load(None, longer | settings(EVENTS="41"))
    shorter = {"SES_STREAMS_INBOUND__THREAD_DAYS": "20", "SES_STREAMS_INBOUND__OUTBOUND_DAYS": "5"}
    assert load(None, shorter | settings(MAIL="21", OUTBOUND="6")).retention.mail == 21


def test_all_is_kept_unless_it_is_set() -> None:
    kept = load(None, {}).retention
    assert {getattr(kept, name) for name in kept.__struct_fields__} == {0}
