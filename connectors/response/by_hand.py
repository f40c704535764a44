"""`ByHand`: pausing and resuming by a person, recorded like what alarms do, and expiring like it."""

from __future__ import annotations

import time
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Final

from connectors.errors import BrokerError, UserError
from connectors.response.deeds import Deeds
from connectors.response.ledger import Ledger, Pause
from connectors.response.topics import Topics
from schemas.alarms import AlarmAction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from connectors.response.deeds import Actions
    from connectors.response.ses import Sending
    from connectors.response.targets import Target
    from connectors.settings import Kafka
    from schemas.blocks import Framing

_READING_S: Final = 60.0


class ByHand:
    """For one thread."""

    def __init__(
        self,
        sending: Sending,
        actions: Actions,
        past: Iterable[AlarmAction],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Knows what was done.

        Args:
            sending: the switch.
            actions: where it is written down.
            past: every row there is, in any order.
            clock: seconds since the epoch.
        """
        self._ledger = ledger_of(past)
        self._clock = clock
        self._deeds = Deeds(sending, actions, self._ledger, clock)

    def pause(self, target: Target, span_ms: int, reason: str, operator: str) -> AlarmAction:
        """Pause a target for a while; gives the row of it.

        Raises:
            UserError: it is not paused, or not known to be.
        """
        if held := self._ledger.of(target):
            raise UserError(
                f"{target} is paused already, by {whose(held)}: `ses-streams resume {target}` ends that"
            )
        now = round(self._clock() * 1000)
        row = AlarmAction(
            action_id=uuid.uuid4().hex,
            time=now,
            action="pause",
            target=str(target),
            outcome="",
            alarm_key="",
            seq=0,
            incident=0,
            dedup_key="",
            attempts=0,
            operator=operator,
            expires_time=now + span_ms,
            detail="",
        )
        return _done(self._deeds.pause(row, target, reason), "paused")

    def resume(self, target: Target, reason: str, operator: str) -> AlarmAction:
        """End a pause of ours; gives the row of it, whose outcome is `skipped` where somebody else was quicker.

        Raises:
            UserError: there is none, or it is not ended, or not known to be.
        """
        held = self._ledger.of(target)
        if held is None:
            raise UserError(
                f"{target} was not paused by ses-streams, so it does not resume it: `ses-streams pause --list` shows "
                "what it has paused; what others have is for SES's console"
            )
        row = self._deeds.resume(held, reason, operator)
        return row if row["outcome"] == "skipped" else _done(row, "resumed")


def ledger_of(past: Iterable[AlarmAction]) -> Ledger:
    """What is paused after all that was done."""
    ledger = Ledger()
    for row in past:
        ledger.take(row)
    return ledger


def whose(pause: Pause) -> str:
    """Who or what has paused."""
    return pause.row["operator"] or f"alarm {pause.row['alarm_key']}"


def past_of(kafka: Kafka, framing: Framing) -> list[AlarmAction]:
    """Every row that `ses.alarm-actions` holds, in any order.

    Raises:
        BrokerError: Kafka does not answer, or does not give all of it within a minute.
    """
    found: list[AlarmAction] = []
    with closing(Topics(kafka, framing)) as topics:
        topics.start(alarms_since=None)
        deadline = time.monotonic() + _READING_S
        while not topics.caught_up:
            topics.poll(found.append, lambda _: None)
            if time.monotonic() > deadline:
                raise BrokerError(f"Kafka at {kafka.brokers} does not give what was done before: try again")
    return found


def _done(row: AlarmAction, word: str) -> AlarmAction:
    outcome, detail = row["outcome"], row["detail"].rstrip(".")
    if outcome == "intended":
        raise UserError(
            f"it is not known whether {row['target']} is {word} ({detail}): look again with `ses-streams pause --list`"
        )
    if outcome != "done":
        raise UserError(f"{row['target']} is not {word}: {detail}")
    return row
