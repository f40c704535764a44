"""`Ledger`: what is paused, by whom and until when, as the rows of `ses.alarm-actions` have it. No I/O.

A pause and the resume that ends it are two actions whose ids belong together, so whoever reads the rows, in whatever
order and however often, finds the same pauses open:

    intended   written before SES is called: from then on the target may be paused because of us
    done       SES took it
    failed     SES refused, or it was never called; a resume that failed leaves the pause open
    skipped    there was nothing to do; of a resume: somebody else has resumed, or the target is gone
    dry_run, refused   nothing was called
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from connectors.errors import SettingsError
from connectors.response.ses import ENABLED
from connectors.response.targets import Target

if TYPE_CHECKING:
    from schemas.alarms import Alarm, AlarmAction

ELSEWHERE: Final = "somebody else"
"""The operator of a resume that was not by us: with SES's console, or its API."""
_HOLDS: Final = frozenset({"intended", "done"})
_ENDS: Final = frozenset({"done", "skipped"})
_REINSTATED: Final = "REINSTATED"
_MARK: Final = f" [was {_REINSTATED}]"
_LONGEST: Final = 800
"""Of a sentence, so that no log cuts the mark off."""


@dataclass(frozen=True, slots=True)
class Pause:
    """One that may hold."""

    row: AlarmAction
    """The last that was written of it."""
    target: Target
    resume: AlarmAction | None = None
    """A resume that was tried and has not ended it, as far as is known."""

    @property
    def certain(self) -> bool:
        """Whether SES took it; else nobody knows."""
        return self.row["outcome"] == "done"

    @property
    def automatic(self) -> bool:
        """Whether an alarm made it, not a person."""
        return not self.row["operator"]

    @property
    def was(self) -> str:
        """What the target is to be set to again."""
        return _REINSTATED if _MARK in self.row["detail"] else ENABLED


class Ledger:
    """For one thread."""

    def __init__(self) -> None:
        self._rows: dict[str, AlarmAction] = {}

    def take(self, row: AlarmAction) -> None:
        """Learn of a row; of one action the latest counts."""
        if row["action"] not in {"pause", "resume"}:
            return
        known = self._rows.get(row["action_id"])
        if known is None or row["time"] >= known["time"]:
            self._rows[row["action_id"]] = row

    def row(self, action_id: str) -> AlarmAction | None:
        """The last row of an action."""
        return self._rows.get(action_id)

    def open(self) -> list[Pause]:
        """All pauses that may hold, the oldest first."""
        found = []
        for row in self._rows.values():
            if row["action"] != "pause" or row["outcome"] not in _HOLDS or not _is_target(row["target"]):
                continue
            end = self._rows.get(resume_id(row["action_id"]))
            if end is None or end["outcome"] not in _ENDS:
                found.append(Pause(row, Target.of(row["target"]), end))
        return sorted(found, key=lambda each: (each.row["time"], each.row["action_id"]))

    def of(self, target: Target) -> Pause | None:
        """The pause of a target that may hold."""
        return next((each for each in self.open() if each.target == target), None)

    def resumed_by(self, alarm: Alarm) -> str:
        """Who resumed what was paused for an alarm's incident; empty: no person did."""
        for row in self._rows.values():
            same = (row["alarm_key"], row["incident"]) == (alarm["alarm_key"], alarm["incident"])
            if row["action"] == "resume" and same and row["operator"] and row["outcome"] in _ENDS:
                return row["operator"]
        return ""


def pause_id(target: Target, alarm: Alarm) -> str:
    """The same for the same transition."""
    return _digest("pause", str(target), alarm["alarm_key"], str(alarm["incident"]), str(alarm["seq"]))


def resume_id(action_id: str) -> str:
    """Of the action that ends a pause."""
    return _digest("resume", action_id)


def noted(sentence: str, was: str) -> str:
    """A detail that says what to set the target to again."""
    return sentence[:_LONGEST] + (_MARK if was == _REINSTATED else "")


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _is_target(text: str) -> bool:
    try:
        Target.of(text)
    except SettingsError:
        return False
    return True
