"""`Responder`: what is paused on account of alarms, and when pauses end.

It is told of transitions and of rows of actions; `step` does what is due. It knows nothing of Kafka.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from connectors.errors import SettingsError
from connectors.response.deeds import Deeds
from connectors.response.ledger import Ledger, pause_id
from connectors.response.ses import SesTrouble
from connectors.response.targets import KINDS, Target
from pipelines.alarms.transition import happened
from schemas.alarms import AlarmAction, dedup_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.response.deeds import Actions
    from connectors.response.ledger import Pause
    from connectors.response.ses import Sending
    from connectors.response.settings import Response
    from schemas.alarms import Alarm

LOG: Final = logging.getLogger(__name__)
_CAUSES: Final = frozenset({"evidence", "escalated", "relapse"})
_AGAIN: Final = frozenset({"intended", "failed"})
_ENDED: Final = frozenset({"done", "skipped"})
_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Patience:
    """When something is tried or looked at again."""

    first_s: float = 5.0
    """After the first failure; then doubled."""
    longest_s: float = 300.0
    look_s: float = 120.0
    """Between looks whether somebody else has resumed what we paused. SES may take some seconds to say what it was
    told, and a pause that is thought to be over is never ended: so it has to be seen twice."""
    settle_s: float = 60.0
    """After which an intent whose outcome nobody wrote is settled: until then whoever wrote it may be at it."""

    def pause_s(self, failures: int) -> float:
        """Seconds to wait after the n-th failure (from 1)."""
        return min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 16))


@dataclass(slots=True)
class Numbers:
    """What was done since the start."""

    paused: int = 0
    """Targets that are paused at present, or may be."""
    overdue_s: float = 0.0
    """For how long the oldest of them should have been resumed."""
    outcomes: dict[tuple[str, str], int] = field(default_factory=dict)
    """By action and outcome."""


class Responder:
    """For one thread."""

    def __init__(
        self,
        settings: Response,
        sending: Sending,
        actions: Actions,
        clock: Callable[[], float],
        *,
        max_age_s: float,
        patience: Patience | None = None,
    ) -> None:
        """Nothing is known yet.

        Args:
            settings: what is paused by itself.
            sending: the switch.
            actions: where it is written down.
            clock: seconds since the epoch.
            max_age_s: transitions older than that pause nothing, so that a replay does not.
            patience: when something is tried again.
        """
        self._settings = settings
        self._clock = clock
        self._max_age_ms = max_age_s * 1000
        self._patience = patience or Patience()
        self._ledger = Ledger()
        self._deeds = Deeds(sending, actions, self._ledger, clock)
        self._latest: dict[str, Alarm] = {}
        """By alarm key, the last transition of those that can pause anything."""
        self._pending: dict[str, Alarm] = {}
        """By alarm key, the last transition that asks for a pause that is not decided yet."""
        self._not_before: dict[str, float] = {}
        """By action, seconds."""
        self._looked: dict[str, float] = {}
        self._seen_enabled: set[str] = set()
        self.numbers = Numbers()

    def learn(self, row: AlarmAction) -> None:
        """What was done, by whomever, in whatever order, however often."""
        self._ledger.take(row)

    def hear(self, alarm: Alarm) -> None:
        """A transition; those of a key in order, however often."""
        key = alarm["alarm_key"]
        if alarm["dimension"] not in KINDS or self._latest.get(key, alarm)["seq"] > alarm["seq"]:
            return
        self._latest[key] = alarm
        if self._asks(alarm):
            self._pending[key] = alarm

    def step(self) -> None:
        """Do what is due.

        Raises:
            BrokerError: what is done cannot be written down; so nothing more is.
        """
        for key, alarm in list(self._pending.items()):
            if self._decide(alarm):
                del self._pending[key]
        for pause in self._ledger.open():
            self._tend(pause)
        self._measure()

    def _asks(self, alarm: Alarm) -> bool:
        """Whether a transition is one that pauses."""
        return (
            self._settings.enabled
            and alarm["signal"] in self._settings.signals
            and alarm["dimension"] in self._settings.dimensions
            and (alarm["state"], alarm["severity"]) == ("firing", "critical")
            and alarm["cause"] in _CAUSES
        )

    def _decide(self, alarm: Alarm) -> bool:
        """Pause, or write down why not; whether that is all there is to do."""
        now = round(self._clock() * 1000)
        too_old = now - happened(alarm) > self._max_age_ms
        try:
            target = Target(alarm["dimension"], alarm["value"])
        except SettingsError:
            LOG.info("nothing is paused on account of %s: it names nothing that can be", alarm["alarm_key"])
            return True
        name = pause_id(target, alarm)
        known = self._ledger.row(name)
        begun = known is not None and known["outcome"] == "intended"
        if too_old or (known is not None and known["outcome"] not in _AGAIN):
            return True
        if self._not_before.get(name, 0.0) > self._clock():
            return False
        row = _row(alarm, target, name, now + round(self._settings.expires_h * _HOUR_MS))
        outcome, why = self._objection(alarm, target)
        if outcome and begun:
            # Begun before, and not wanted any more: how it ended is found out as of any other.
            return True
        if outcome:
            return self._over(self._deeds.note(row, outcome, why))
        return self._over(self._deeds.pause(row, target, _reason(alarm)))

    def _objection(self, alarm: Alarm, target: Target) -> tuple[str, str]:
        """Outcome and reason for not pausing; empty: there is none."""
        latest = self._latest[alarm["alarm_key"]]
        by = self._ledger.resumed_by(alarm)
        held = self._ledger.of(target)
        found = ("", "")
        if (latest["state"], latest["incident"]) != ("firing", alarm["incident"]):
            found = "skipped", "the incident was over before anything was done"
        elif latest["silenced_until"] > self._clock() * 1000:
            found = "skipped", "the alarm is silenced"
        elif not self._may(target.name):
            found = "refused", "its name is left out by response.values or response.never"
        elif by:
            found = "skipped", f"{by} has resumed it in this incident"
        elif held is not None and held.row["action_id"] != pause_id(target, alarm):
            found = "skipped", f"it is paused already, by action {held.row['action_id']}"
        elif self._settings.dry_run:
            found = "dry_run", f"{_reason(alarm)}; nothing was done, since response.dry_run is set"
        elif held is None and sum(each.automatic for each in self._ledger.open()) >= self._settings.at_most:
            most = self._settings.at_most
            found = "refused", f"{most} are paused already, which are as many as may be (response.at_most)"
        return found

    def _may(self, name: str) -> bool:
        allowed = any(fnmatchcase(name, pattern) for pattern in self._settings.values)
        return allowed and not any(fnmatchcase(name, pattern) for pattern in self._settings.never)

    def _tend(self, pause: Pause) -> None:
        """Settle, watch or end a pause."""
        name, now = pause.row["action_id"], self._clock()
        if self._not_before.get(name, 0.0) > now:
            return
        try:
            if why := self._ends(pause, now):
                self._over(self._deeds.resume(pause, why), pause)
            elif not pause.certain:
                if now - pause.row["time"] / 1000 >= self._patience.settle_s:
                    self._over(self._deeds.settle(pause))
            elif now - self._looked.setdefault(name, now) >= self._patience.look_s:
                self._looked[name] = now
                self._watch(pause)
        except SesTrouble as trouble:
            LOG.warning("it is not known how %s stands: %s", pause.target, trouble.reason)
            self._not_before[name] = now + self._patience.first_s

    def _ends(self, pause: Pause, now: float) -> str:
        """Why a pause is to end; empty: it is not."""
        begun = pause.resume
        if begun is not None and begun["outcome"] == "intended":
            overdue = now - begun["time"] / 1000 >= self._patience.settle_s
            return begun["detail"] if overdue else ""
        if pause.row["expires_time"] and pause.row["expires_time"] <= now * 1000:
            return "it has expired"
        latest = self._latest.get(pause.row["alarm_key"])
        if not self._settings.resume_on_resolve or not pause.automatic or latest is None:
            return ""
        other = latest["incident"] not in {0, pause.row["incident"]}
        over = latest["seq"] > pause.row["seq"] and latest["state"] in {"resolved", "ok"}
        return "the incident is over" if over or other else ""

    def _measure(self) -> None:
        left = self._ledger.open()
        self.numbers.paused = len(left)
        ends = [each.row["expires_time"] for each in left if each.row["expires_time"]]
        self.numbers.overdue_s = max(0.0, self._clock() - min(ends) / 1000) if ends else 0.0

    def _watch(self, pause: Pause) -> None:
        name = pause.row["action_id"]
        if not self._deeds.look(pause).enabled:
            self._seen_enabled.discard(name)
        elif name in self._seen_enabled:
            self._over(self._deeds.found_resumed(pause))
        else:
            self._seen_enabled.add(name)

    def _over(self, row: AlarmAction, pause: Pause | None = None) -> bool:
        """Count how a deed went, and say when to try again; whether there is nothing to try."""
        deed = row["action"], row["outcome"]
        self.numbers.outcomes[deed] = self.numbers.outcomes.get(deed, 0) + 1
        level = logging.INFO if row["outcome"] in _ENDED else logging.WARNING
        LOG.log(level, "%s %s: %s (%s)", row["action"], row["target"], row["outcome"], row["detail"])
        if row["outcome"] not in _AGAIN:
            return True
        wait_s = self._patience.pause_s(max(1, row["attempts"]))
        self._not_before[(pause.row if pause else row)["action_id"]] = self._clock() + wait_s
        return False


def _reason(alarm: Alarm) -> str:
    measured = [
        f"{name.replace('_', '-')} {value:.4g}"
        for name, value in (("rate", alarm["rate"]), ("limit", alarm["limit"]), ("e_value", alarm["e_value"]))
        if value is not None
    ]
    figures = f" ({', '.join(measured)})" if measured else ""
    return (
        f"{alarm['signal'].replace('_', ' ')} of {alarm['dimension']} {alarm['value']} is critical{figures}"
    )


def _row(alarm: Alarm, target: Target, name: str, expires: int) -> AlarmAction:
    return AlarmAction(
        action_id=name,
        time=0,
        action="pause",
        target=str(target),
        outcome="",
        alarm_key=alarm["alarm_key"],
        seq=alarm["seq"],
        incident=alarm["incident"],
        dedup_key=dedup_key(alarm["alarm_key"], alarm["incident"]),
        attempts=0,
        operator="",
        expires_time=expires,
        detail="",
    )
