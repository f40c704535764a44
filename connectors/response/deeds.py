"""`Deeds`: pauses and resumes one target, and writes down each step before and after it is taken.

For a pause, and alike for a resume:

1. ask SES how the target stands: what is not as expected is somebody else's doing, and left alone;
2. write `intended`, and wait until that is durable;
3. call SES;
4. write how it went.

Whoever crashes leaves at worst an `intended` that tells the next one to ask SES again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from connectors.response.ledger import ELSEWHERE, noted, resume_id
from connectors.response.ses import SesTrouble, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.response.ledger import Ledger, Pause
    from connectors.response.ses import Sending
    from connectors.response.targets import Target
    from schemas.alarms import AlarmAction

_BY_OTHERS: Final = "sending is disabled already, by somebody else, who has to enable it"


class Actions(Protocol):
    """Where rows are written."""

    def record(self, row: AlarmAction) -> AlarmAction:
        """Write a row, and return once it is durable; gives it as it was written.

        Raises:
            BrokerError: it is not.
        """


class Deeds:
    """For one thread."""

    def __init__(
        self, sending: Sending, actions: Actions, ledger: Ledger, clock: Callable[[], float]
    ) -> None:
        """Nothing is done yet.

        Args:
            sending: the switch.
            actions: where it is written down.
            ledger: what is known so far; learns what is done.
            clock: seconds since the epoch.
        """
        self._sending = sending
        self._actions = actions
        self._ledger = ledger
        self._clock = clock

    def note(self, row: AlarmAction, outcome: str, detail: str, attempts: int = 0) -> AlarmAction:
        """Write down how a deed stands.

        Raises:
            BrokerError: it is not durable; then nothing that depends on it may be done.
        """
        now = round(self._clock() * 1000)
        known = self._ledger.row(row["action_id"])
        told = cast(
            "AlarmAction",
            {
                **row,
                # A later row replaces an earlier one, be it that the clock was set back.
                "time": max(now, known["time"] + 1 if known else 0),
                "outcome": outcome,
                "detail": detail,
                "attempts": attempts,
            },
        )
        written = self._actions.record(told)
        self._ledger.take(written)
        return written

    def pause(self, row: AlarmAction, target: Target, reason: str) -> AlarmAction:
        """Pause a target; gives the row that says how it went.

        Args:
            row: of the action; id, target, expiry and whose it is are taken from it.
            target: what.
            reason: a sentence, kept with it.

        Raises:
            BrokerError: the intent could not be written down, so nothing was done; or the outcome could not, so the
                next one has to ask SES.
        """
        known = self._ledger.row(row["action_id"])
        intended = known is not None and known["outcome"] == "intended"
        attempts = known["attempts"] + 1 if known else 1
        try:
            status = self._sending.look(target)
        except SesTrouble as trouble:
            if known is not None and intended:
                return self.note(row, "intended", known["detail"], attempts)
            return self.note(row, "refused" if trouble.gone else "failed", trouble.reason, attempts)
        if not status.enabled:
            if known is not None and intended:
                return self.note(row, "done", known["detail"], attempts)
            return self.note(row, "skipped", _BY_OTHERS, attempts)
        detail = noted(reason, status.was)
        self.note(row, "intended", detail, attempts)
        try:
            self._sending.pause(target)
        except SesTrouble as trouble:
            outcome = "intended" if trouble.unknown else "failed"
            return self.note(row, outcome, noted(f"{reason}: {trouble.reason}", status.was), attempts)
        return self.note(row, "done", f"{detail}; {status.note}" if status.note else detail, attempts)

    def settle(self, pause: Pause) -> AlarmAction:
        """Find out whether a pause holds of which nobody knows.

        Raises:
            SesTrouble: SES does not say; it stays as it is.
            BrokerError: it cannot be written down.
        """
        try:
            status = self._sending.look(pause.target)
        except SesTrouble as trouble:
            if not trouble.gone:
                raise
            return self.note(pause.row, "failed", trouble.reason, pause.row["attempts"])
        if status.enabled:
            return self.note(
                pause.row, "failed", "it was interrupted before SES had done it", pause.row["attempts"]
            )
        return self.note(pause.row, "done", pause.row["detail"], pause.row["attempts"])

    def resume(self, pause: Pause, reason: str, operator: str = "") -> AlarmAction:
        """End a pause; gives the row that says how it went. Any other outcome than `done` and `skipped` leaves it open.

        Args:
            pause: which.
            reason: a sentence, kept with it.
            operator: who wants it; empty: it is time.

        Raises:
            BrokerError: as for `pause`.
        """
        row = resume_row(pause, operator)
        known = pause.resume
        intended = known is not None and known["outcome"] == "intended"
        attempts = known["attempts"] + 1 if known else 1
        try:
            status = self._sending.look(pause.target)
        except SesTrouble as trouble:
            if trouble.gone:
                return self.note(row, "skipped", trouble.reason, attempts)
            return self.note(row, "intended" if intended else "failed", trouble.reason, attempts)
        if status.enabled:
            return self._was_resumed(row, reason, attempts, ours=intended)
        self.note(row, "intended", reason, attempts)
        try:
            self._sending.resume(pause.target, pause.was)
        except SesTrouble as trouble:
            outcome = "intended" if trouble.unknown else "failed"
            return self.note(row, outcome, f"{reason}: {trouble.reason}", attempts)
        return self.note(row, "done", f"{reason}; {status.note}" if status.note else reason, attempts)

    def look(self, pause: Pause) -> Status:
        """How the target of a pause stands.

        Raises:
            SesTrouble: SES does not say.
        """
        return self._sending.look(pause.target)

    def found_resumed(self, pause: Pause) -> AlarmAction:
        """Write down that somebody else has ended a pause."""
        return self._was_resumed(resume_row(pause, ""), "", 0, ours=False)

    def _was_resumed(self, row: AlarmAction, reason: str, attempts: int, *, ours: bool) -> AlarmAction:
        if ours:
            return self.note(row, "done", reason, attempts)
        by = cast("AlarmAction", {**row, "operator": row["operator"] or ELSEWHERE})
        return self.note(by, "skipped", "sending was enabled already, by somebody else", attempts)


def resume_row(pause: Pause, operator: str) -> AlarmAction:
    """The row of the action that ends a pause, without an outcome."""
    begun = pause.resume
    if not operator and begun is not None and begun["outcome"] == "intended":
        operator = begun["operator"]
    fields = {"action_id": resume_id(pause.row["action_id"]), "action": "resume", "operator": operator}
    return cast("AlarmAction", {**pause.row, **fields, "expires_time": 0})
