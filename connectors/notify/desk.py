"""`Desk`: decides who is told what and when, hands errands to the routes' threads, and writes down how they went.

It knows nothing of Kafka: transitions and rows of actions are given to it, and it says when a key is settled. All of
it is for one thread; only the carriers' have others.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from connectors.notify import planning
from connectors.notify.attempts import Attempt, Policy, RouteState
from connectors.notify.carrier import Carrier, Errand, Outcome
from connectors.notify.incidents import Key
from connectors.notify.numbers import Numbers, RouteFailure
from connectors.notify.text import page_of
from connectors.notify.told import DELIVERIES, EVERY_ROUTE, action_id, number_of, remember
from schemas.alarms import AlarmAction, dedup_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from connectors.notify.actions import Log
    from connectors.notify.channels import RepeatingChannel
    from connectors.notify.page import NotDelivered
    from connectors.notify.planning import Due
    from connectors.notify.settings import Notify, Route
    from schemas.alarms import Alarm

LOG: Final = logging.getLogger(__name__)


class Desk:
    """All routes."""

    def __init__(
        self,
        limits: Notify,
        channels: Sequence[tuple[Route, RepeatingChannel]],
        log: Log,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        policy: Policy | None = None,
    ) -> None:
        """Start the routes' threads.

        Args:
            limits: ages and patience.
            channels: the routes, each with its own channel.
            log: where actions are written.
            clock: seconds since the epoch: ages, quiet hours, silences.
            monotonic: seconds: pauses.
            policy: how often.
        """
        self._limits = limits
        self._log = log
        self._clock = clock
        self._monotonic = monotonic
        self._policy = policy or Policy()
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self._routes = {
            route.name: RouteState(route, limits, Carrier(route.name, channel, self._outcomes))
            for route, channel in channels
        }
        self._keys: dict[str, Key] = {}
        self._look: dict[str, float] = {}
        """Keys that are not settled, and when to look at them again (monotonic)."""
        self._known_skips: set[str] = set()
        self.numbers = Numbers()

    def learn(self, alarm: Alarm) -> None:
        """A transition, in whatever order, however often."""
        name = alarm["alarm_key"]
        self._keys.setdefault(name, Key(name)).take(alarm, self._now())
        self._look[name] = 0.0

    def remember(self, rows: Iterable[AlarmAction]) -> None:
        """What was done before this process was, in whatever order; of rows with one id the latest counts."""
        latest: dict[str, AlarmAction] = {}
        for row in rows:
            if row["action"] in DELIVERIES and row["time"] >= latest.get(row["action_id"], row)["time"]:
                latest[row["action_id"]] = row
        for row in sorted(latest.values(), key=lambda each: each["time"]):
            route = self._routes.get(row["target"])
            if row["target"] == EVERY_ROUTE:
                self._known_skips.add(row["action_id"])
            elif route is not None:
                remember(route.told_of(row["alarm_key"], row["incident"]), row)

    def settled(self, key: str) -> bool:
        """Whether every route was told all there is to tell of a key, or never will be, and that is written down."""
        return key not in self._look

    @property
    def flying(self) -> bool:
        """Whether a route is delivering something just now, or it is not written down yet."""
        return any(not each.carrier.free for each in self._routes.values())

    def failures(self) -> tuple[RouteFailure, ...]:
        """The routes that do not deliver at present; may be called by any thread."""
        return tuple(each.failing for each in list(self._routes.values()) if each.failing is not None)

    def step(self, *, begin: bool = True) -> None:
        """Take what came back from the routes, and give them what is due.

        Args:
            begin: whether anything new may be begun.
        """
        self._log.tend()
        with suppress(Empty):
            while True:
                self._take(self._outcomes.get_nowait())
        now = self._monotonic()
        for name in [name for name, at in self._look.items() if at <= now]:
            self._plan(self._keys[name], now, begin=begin)
        if begin:
            for route in self._routes.values():
                self._dispatch(route, now)
        self._measure()

    def forget(self) -> None:
        """The keys are somebody else's from now on; what is on its way is still written down."""
        self._keys.clear()
        self._look.clear()
        self._known_skips.clear()
        for route in self._routes.values():
            route.told.clear()
            route.attempts.clear()

    def close(self) -> None:
        """End the routes' threads."""
        for route in self._routes.values():
            route.carrier.close()

    def _plan(self, key: Key, now: float, *, begin: bool) -> None:
        """See what each route is to be told of a key; none anything: it is settled."""
        waits = [self._plan_for(route, key, now, begin=begin) for route in self._routes.values()]
        if any(waits) or self._log.outstanding(key.name):
            self._look[key.name] = now + self._policy.look_again_s * any(waits)
            return
        del self._look[key.name]
        key.forget()
        current, last = key.open, key.top["seq"] if key.top else 0
        for route in self._routes.values():
            told = route.told.get(key.name)
            if told is not None:
                # What was told of an incident whose opening has not been read again is kept until it is.
                kept = {
                    number: each
                    for number, each in told.items()
                    if number > last or (current and number == current.number)
                }
                route.told[key.name] = kept
                if not kept:
                    del route.told[key.name]

    def _plan_for(self, route: RouteState, key: Key, now: float, *, begin: bool) -> bool:
        """Whether there is something to wait for."""
        attempt = route.attempts.get(key.name)
        if attempt is not None and attempt.flying:
            return True
        clock = self._now()
        found = planning.due(route.audience, key, route.told.get(key.name, {}), clock)
        if attempt is not None and (found is None or found.too_old or not attempt.same(found)):
            self._drop(route, key, attempt)
            attempt = None
        if found is None:
            return False
        if found.too_old:
            self._skip(route, key, found)
            return False
        if found.not_before > clock:
            if attempt is not None:
                attempt.hold(now + self._policy.look_again_s)
            return True
        if attempt is None:
            if not begin:
                return True
            attempt = route.attempts[key.name] = self._attempt(route, key, found, now)
        attempt.due = found
        return True

    def _attempt(self, route: RouteState, key: Key, found: Due, now: float) -> Attempt:
        attempt = Attempt(found, self._now(), now)
        if found.kind == "page":
            told = route.told_of(key.name, found.incident)
            attempt.unknown, told.maybe = told.maybe, True
            attempt.announced = self._write(route.name, found, "retrying", 0, "it is being delivered")
        return attempt

    def _dispatch(self, route: RouteState, now: float) -> None:
        """Give a route that is free the errand that is due longest."""
        if not route.carrier.free or now < route.rests_until:
            return
        ready = [
            (attempt.not_before, attempt.began, name)
            for name, attempt in route.attempts.items()
            if attempt.not_before <= now and self._announced(attempt, now)
        ]
        if ready:
            name = min(ready)[2]
            attempt = route.attempts[name]
            attempt.flying = True
            due = attempt.due
            route.carrier.give(Errand(name, (page_of(due.kind, due.alarm, due.incident),), due))
        elif route.carrier.channel.repeats_every_s and now >= route.repeats_at:
            self._repeat(route, now)

    def _announced(self, attempt: Attempt, now: float) -> bool:
        """Whether it is written down that a page is tried: after a crash its end is then told as well."""
        return self._log.written(attempt.announced) or now - attempt.began > self._policy.announce_s

    def _repeat(self, route: RouteState, now: float) -> None:
        route.repeats_at = now + self._policy.look_again_s
        pages = []
        for name, told in route.told.items():
            key = self._keys.get(name)
            current = key.open if key else None
            if current is not None and current.number in told and told[current.number].paged:
                pages.append(page_of("update", current.shown, current.number))
        if pages:
            route.repeats_at = now + route.carrier.channel.repeats_every_s
            route.carrier.give(Errand("", tuple(pages)))

    def _take(self, outcome: Outcome) -> None:
        route = self._routes[outcome.route]
        route.carrier.free = True
        failure = outcome.failure
        if failure is None:
            route.failures, route.failing, route.rests_until = 0, None, 0.0
        else:
            self._failed(route, failure)
        due = outcome.errand.due
        if due is None:
            return
        attempt = route.attempts.get(outcome.errand.key)
        if attempt is None or not attempt.flying:
            if failure is None:
                self._delivered_late(route, outcome.errand.key, attempt, outcome)
            return
        attempt.flying = False
        attempt.tries += 1
        self._look[outcome.errand.key] = 0.0
        if failure is None:
            del route.attempts[outcome.errand.key]
            self._settle(route, due, "delivered", attempt.tries, f"{due.alarm['severity']}: {outcome.taken}")
        else:
            self._try_again(route, outcome.errand.key, attempt, failure)

    def _delivered_late(self, route: RouteState, key: str, attempt: Attempt | None, outcome: Outcome) -> None:
        """The key has been somebody else's meanwhile; that it was delivered is true all the same."""
        due = outcome.errand.due
        if due is None:
            return
        if attempt is not None and attempt.same(due):
            del route.attempts[key]
        self._settle(route, due, "delivered", 1, outcome.taken)

    def _failed(self, route: RouteState, failure: NotDelivered) -> None:
        """The route rests, so that an endpoint that is down is not asked for every key by itself."""
        route.failures += 1
        since = route.failing.since if route.failing else self._now()
        route.failing = RouteFailure(route.name, since, failure.reason)
        pause = 0.0 if failure.for_good else self._policy.pause(route.failures, self._policy.route_longest_s)
        route.rests_until = self._monotonic() + max(pause, failure.retry_after_s or 0.0)
        LOG.warning("%s did not take a message: %s", route.name, failure.reason)

    def _try_again(self, route: RouteState, key: str, attempt: Attempt, failure: NotDelivered) -> None:
        due, now = attempt.due, self._monotonic()
        attempt.unknown = attempt.unknown or failure.unknown
        told = route.told_of(key, due.incident)
        if due.kind == "page":
            told.maybe = attempt.unknown
        self.numbers.count(route.name, "retried")
        if failure.for_good or now - attempt.began >= self._limits.give_up_after_s:
            del route.attempts[key]
            self._settle(route, due, "failed", attempt.tries, failure.reason)
            return
        if attempt.tries == 1:
            self._write(route.name, due, "retrying", attempt.tries, failure.reason)
        pause = self._policy.pause(attempt.tries, self._policy.longest_s)
        # The last try is made when the time is over.
        last = attempt.began + self._limits.give_up_after_s
        attempt.not_before = min(last, now + max(pause, failure.retry_after_s or 0.0))

    def _drop(self, route: RouteState, key: Key, attempt: Attempt) -> None:
        """What was being tried is not to be told any more."""
        del route.attempts[key.name]
        due = attempt.due
        if attempt.tries or attempt.announced:
            self.numbers.count(route.name, "skipped")
            why = "overtaken before it could be delivered"
            self._write(route.name, due, "skipped", attempt.tries, why)
        if due.kind == "page" and not attempt.unknown:
            route.told_of(key.name, due.incident).maybe = False

    def _skip(self, route: RouteState, key: Key, due: Due) -> None:
        """It is about the past. One row an incident says so, and none for each route."""
        route.told_of(key.name, due.incident).take(due.kind, "skipped", due.seq, due.revision)
        self.numbers.count(route.name, "skipped")
        hours = self._limits.max_age_s / 3600
        row = self._row(EVERY_ROUTE, due, "skipped", 0, f"older than {hours:g} h (notify.max_age_s)")
        if row["action_id"] not in self._known_skips:
            self._known_skips.add(row["action_id"])
            self._log.write(row)

    def _settle(self, route: RouteState, due: Due, outcome: str, tries: int, detail: str) -> None:
        key = due.alarm["alarm_key"]
        route.told_of(key, due.incident).take(due.kind, outcome, due.seq, due.revision)
        self.numbers.count(route.name, outcome)
        self._write(route.name, due, outcome, tries, detail)
        LOG.info("%s of %s by %s: %s (%s)", due.kind, key, route.name, outcome, detail)

    def _write(self, target: str, due: Due, outcome: str, tries: int, detail: str) -> int:
        return self._log.write(self._row(target, due, outcome, tries, detail))

    def _row(self, target: str, due: Due, outcome: str, tries: int, detail: str) -> AlarmAction:
        alarm = due.alarm
        dedup = dedup_key(alarm["alarm_key"], due.incident)
        return AlarmAction(
            action_id=action_id(target, dedup, number_of(due.kind, due.incident, due.seq), due.kind),
            time=self._now(),
            action=due.kind,
            target=target,
            outcome=outcome,
            alarm_key=alarm["alarm_key"],
            seq=due.seq,
            incident=due.incident,
            dedup_key=dedup,
            attempts=tries,
            operator="",
            expires_time=0,
            detail=detail,
        )

    def _measure(self) -> None:
        now = self._now()
        self.numbers.retrying = {
            route.name: sum(1 for each in route.attempts.values() if each.tries)
            for route in self._routes.values()
        }
        since = [each.since for route in self._routes.values() for each in route.attempts.values()]
        self.numbers.oldest_s = max(0.0, (now - min(since)) / 1000) if since else 0.0

    def _now(self) -> int:
        return round(self._clock() * 1000)
