from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.notify.quiet import QuietHours

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("windows", "now", "ends"),
    [
        (["22:00-07:00"], "2026-11-22 23:30", "2026-11-23 07:00"),
        (["22:00-07:00"], "2026-11-22 22:00", "2026-11-23 07:00"),
        (["22:00-07:00"], "2026-11-22 06:59:59", "2026-11-22 07:00"),
        (["22:00-07:00"], "2026-11-22 07:00", "2026-11-22 07:00"),
        (["22:00-07:00"], "2026-11-22 21:59:59", "2026-11-22 21:59:59"),
        (["22:00-24:00", "00:00-05:00"], "2026-11-22 23:30", "2026-11-23 05:00"),
        (["22:00-02:00", "01:00-05:00", "05:00-06:30"], "2026-11-22 23:30", "2026-11-23 06:30"),
        ([], "2026-11-22 23:30", "2026-11-22 23:30"),
        # The clock goes forward at 02:00: 02:30 is not there, and comes at what is then 03:30.
        (["22:00-02:30"], "2026-03-28 23:30", "2026-03-29 03:30"),
        (["22:00-07:00"], "2026-03-28 23:30", "2026-03-29 07:00"),
        (["22:00-07:00"], "2026-10-24 23:30", "2026-10-25 07:00"),
    ],
)
def test_the_end_of_the_quiet(windows: list[str], now: str, ends: str) -> None:
    assert QuietHours.of(windows, "Europe/Berlin").until(at(now)) == at(ends)


def test_an_hour_that_comes_twice_is_quiet_twice() -> None:
    quiet = QuietHours.of(["22:00-02:45"], "Europe/Berlin")
    second = at("2026-10-25 02:30", fold=1)
    assert quiet.until(second) == at("2026-10-25 02:45", fold=1)


@given(
    st.lists(
        st.sampled_from(["22:00-07:00", "12:00-13:00", "23:30-00:30", "06:00-12:30", "02:00-03:00"]),
        max_size=4,
    ),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.integers(1_700_000_000, 1_900_000_000),
)
def test_quiet_ends_and_then_it_is_not_quiet(windows: list[str], zone: str, now: int) -> None:
    quiet = QuietHours.of(windows, zone)
    ends = quiet.until(now)
    assert now <= ends <= now + 26 * 3600
    assert quiet.until(ends) == ends


def test_without_windows_it_is_never_quiet() -> None:
    assert QuietHours().until(123.5) == 123.5
    assert QuietHours().zone is UTC


@pytest.mark.parametrize(
    ("windows", "zone", "says"),
    [
        (["22-7"], "UTC", "write hours such as 22:00-07:00"),
        (["22:00-25:00"], "UTC", "write hours such as"),
        (["22:00-24:30"], "UTC", "a day ends at 24:00"),
        (["07:00-07:00"], "UTC", "no time at all"),
        (["00:00-12:00", "12:00-24:00"], "UTC", "the whole day"),
        (["22:00-07:00"], "Europe/Brelin", "timezone 'Europe/Brelin' is not known"),
        (["22:00-07:00"], "", "is not known"),
        (["22:00-07:00"], "../etc/passwd", "is not known"),
    ],
)
def test_what_is_wrong_is_said(windows: list[str], zone: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        QuietHours.of(windows, zone)
