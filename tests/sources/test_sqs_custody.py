"""Custody against an SQS that fails on request, on a clock of the test's own."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from connectors.sources.sqs_custody import Custody

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/q"


class Sqs:
    """The batch calls of SQS, with quotas and per-entry failures."""

    def __init__(self) -> None:
        self.deleted: list[list[str]] = []
        self.hidden: list[tuple[str, int]] = []
        self.failing: set[str] = set()
        self.down = False

    def _answer(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        if self.down:
            raise EndpointConnectionError(endpoint_url=URL)
        assert 1 <= len(entries) <= 10
        assert len({entry["Id"] for entry in entries}) == len(entries)
        failed = [entry for entry in entries if entry["ReceiptHandle"] in self.failing]
        return {"Failed": [{"Id": entry["Id"], "Code": "InternalError"} for entry in failed]}

    def delete_message_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803 - SQS's names
        assert QueueUrl == URL
        answer = self._answer(Entries)
        self.deleted.append([entry["ReceiptHandle"] for entry in Entries])
        return answer

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        assert QueueUrl == URL
        answer = self._answer(Entries)
        self.hidden += [(entry["ReceiptHandle"], entry["VisibilityTimeout"]) for entry in Entries]
        return answer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def sqs() -> Sqs:
    return Sqs()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def custody(sqs: Any, clock: Clock) -> Custody:
    return Custody(sqs, URL, 60, clock=clock)


def finish(custody: Custody) -> None:
    """Let the deletions that were handed out end."""
    for future in list(custody._deleting):
        future.result(5)


def test_deletions_wait_for_company_but_not_long(custody: Custody, sqs: Sqs, clock: Clock) -> None:
    held = [custody.hold(f"m{n}", f"h{n}") for n in range(3)]
    for one in held:
        custody.safe(one)
    custody.tick()
    clock.now += 0.19
    custody.tick()
    assert not sqs.deleted
    clock.now += 0.02
    custody.tick()
    finish(custody)
    assert sqs.deleted == [["h0", "h1", "h2"]]
    assert len(custody) == 0


def test_ten_go_at_once(custody: Custody, sqs: Sqs) -> None:
    for one in [custody.hold(f"m{n}", f"h{n}") for n in range(25)]:
        custody.safe(one)
    custody.tick()
    finish(custody)
    assert sorted(len(batch) for batch in sqs.deleted) == [10, 10]
    assert len(custody) == 5
    custody.tick(all_due=True)
    finish(custody)
    assert {handle for batch in sqs.deleted for handle in batch} == {f"h{n}" for n in range(25)}


def test_entries_that_fail_are_deleted_again_and_at_last_left_to_return(custody: Custody, sqs: Sqs) -> None:
    sqs.failing = {"h1"}
    for one in [custody.hold(f"m{n}", f"h{n}") for n in range(3)]:
        custody.safe(one)
    for _ in range(6):
        custody.tick(all_due=True)
        finish(custody)
    assert sqs.deleted == [["h0", "h1", "h2"], ["h1"], ["h1"], ["h1"]]
    assert len(custody) == 0


def test_a_deletion_that_fails_once_costs_nothing(custody: Custody, sqs: Sqs) -> None:
    custody.safe(custody.hold("m", "h"))
    sqs.down = True
    custody.tick(all_due=True)
    finish(custody)
    assert len(custody) == 1
    sqs.down = False
    custody.tick(all_due=True)
    finish(custody)
    assert sqs.deleted == [["h"]]
    assert len(custody) == 0


def test_visibility_is_renewed_at_half_time_for_as_long_as_it_takes(
    custody: Custody, sqs: Sqs, clock: Clock
) -> None:
    for number in range(12):
        custody.hold(f"m{number}", f"h{number}")
    for _ in range(600):
        clock.now += 1
        custody.tick()
    renewed = [handle for handle, _ in sqs.hidden]
    assert {seconds for _, seconds in sqs.hidden} == {60}
    assert renewed.count("h11") == 20


def test_a_renewal_that_fails_is_tried_again_before_the_message_shows(
    custody: Custody, sqs: Sqs, clock: Clock
) -> None:
    custody.hold("m", "h")
    sqs.down = True
    clock.now += 31
    custody.tick()
    custody.tick()
    sqs.down = False
    clock.now += 7
    custody.tick()
    assert sqs.hidden == [("h", 60)]


def test_a_message_is_let_go_where_sqs_would_hide_it_no_longer(
    custody: Custody, sqs: Sqs, clock: Clock
) -> None:
    custody.hold("m", "h")
    clock.now += 12 * 3600 - 200
    custody.tick()
    assert sqs.hidden == [("h", 60)]
    clock.now += 100
    custody.tick()
    assert sqs.hidden == [("h", 60)]
    assert len(custody) == 0


def test_what_is_released_is_neither_renewed_nor_deleted(custody: Custody, sqs: Sqs, clock: Clock) -> None:
    custody.release(custody.hold("m", "h"))
    clock.now += 100
    custody.tick(all_due=True)
    assert (sqs.hidden, sqs.deleted) == ([], [])


def test_what_is_given_back_shows_at_once(custody: Custody, sqs: Sqs) -> None:
    custody.give_back(["h0", "h1"])
    assert sqs.hidden == [("h0", 0), ("h1", 0)]
    sqs.down = True
    custody.give_back(["h2"])
    assert len(sqs.hidden) == 2


def test_room(custody: Custody) -> None:
    held = custody.hold("m", "h")
    assert custody.wait_for_room(2, 0)
    assert not custody.wait_for_room(1, 0.01)
    custody.release(held)
    assert custody.wait_for_room(1, 0)
