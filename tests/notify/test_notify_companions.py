from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from connectors.notify.companions import Company

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Slow:
    """Ends only when it is let; counts how many of it run."""

    name = "slow"

    def __init__(self) -> None:
        self.running = self.most = self.runs = 0
        self.let = threading.Event()

    def run(self, stop: threading.Event) -> None:
        self.running += 1
        self.runs += 1
        self.most = max(self.most, self.running)
        stop.wait()
        self.let.wait()
        self.running -= 1


def test_one_that_is_still_stopping_does_not_run_twice() -> None:
    slow = Slow()
    company = Company([slow])
    company.start()
    company.start()
    until(lambda: slow.running == 1)
    company.stop(0.01)
    company.start()
    assert slow.runs == 1
    slow.let.set()
    until(lambda: slow.runs == 2)
    company.stop(60)
    assert (slow.most, slow.running, company.failures) == (1, 0, {"slow": 0})


class Broken:
    name = "broken"

    def __init__(self) -> None:
        self.runs = 0

    def run(self, _: threading.Event) -> None:
        self.runs += 1
        raise ZeroDivisionError


def test_one_that_fails_is_started_again_and_stops_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("connectors.notify.companions._FIRST_S", 0.001)
    broken = Broken()
    company = Company([broken])
    company.start()
    until(lambda: company.failures["broken"] >= 3)
    company.stop(60)
    runs = broken.runs
    assert company.failures == {"broken": runs}
    assert "broken failed: it starts again" in caplog.text
