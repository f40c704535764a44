"""`Measuring`: takes the measure of the pipeline, each part of it by itself: what cannot be measured is left out."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

from connectors.errors import UserError
from connectors.watch.lags import Lags
from connectors.watch.pipeline import Measured
from connectors.watch.queues import Queue
from pipelines.alarms.backlog import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from connectors.notify.numbers import RouteFailure
    from connectors.settings import Settings
    from connectors.watch.lags import Lag
    from connectors.watch.listening import Ears
    from connectors.watch.numbers import Numbers
    from connectors.watch.queues import Depth
    from connectors.watch.surveys import Surveys
    from pipelines.alarms.rules import Rule
    from pipelines.alarms.rules_file import RulesFile

LOG: Final = logging.getLogger(__name__)
_WAITING_S: Final = 60.0
"""A queue in which something waited at every look for so long may hold traffic that only seems to be missing."""


@contextlib.contextmanager
def noted(numbers: Numbers, what: str) -> Iterator[None]:
    """Note what fails inside as trouble, and go on; what a person cannot cure is logged with its traceback."""
    try:
        yield
    except UserError as error:
        if numbers.troubles.get(what) != str(error):
            LOG.warning("%s: %s", what, error)
        numbers.troubles[what] = str(error)
    except Exception as error:
        sentence = f"{type(error).__name__}: {error}"
        if numbers.troubles.get(what) != sentence:
            LOG.exception("%s failed, and is tried again", what)
        numbers.troubles[what] = sentence
    else:
        numbers.troubles.pop(what, None)


class Measuring:
    """For one thread, but for `behind`."""

    def __init__(
        self,
        settings: Settings,
        ears: Ears,
        surveys: Surveys,
        *,
        rules_file: RulesFile,
        failures: Callable[[], Iterable[RouteFailure]],
        numbers: Numbers,
    ) -> None:
        """Connects when first asked."""
        self._settings = settings
        self._ears = ears
        self._surveys = surveys
        self._rules_file = rules_file
        self._failures = failures
        self._numbers = numbers
        self._lags = Lags(settings.kafka)
        self._queues: dict[float, list[Queue]] = {}
        self._waiting = {queue.url: Standing(_WAITING_S) for queue in settings.bridge.queues}
        self.behind_s: float | None = None
        """Age of the oldest events that have not landed; None: it is not known."""
        self.measured = 0
        """When that was measured, ms."""
        self.waiting: str = ""
        """A queue in which something waits; empty: there is none."""

    def take(self, rules: Sequence[Rule], now: int, started: float) -> dict[str, Measured]:
        """What there is for each rule, at `now` (ms); `started`: when the watch did, s."""
        lags: dict[str, Lag] = {}
        with noted(self._numbers, "lags"):
            lags = self._lags.look(now)
        self.behind_s = lags["sink"].events_s if lags else None
        self.measured = now
        routes = {each.route: (max(0.0, (now - each.since) / 1000), each.reason) for each in self._failures()}
        silent_s = now / 1000 - max(self._surveys.answered, started)
        queues = self._depths(rules, now)
        return {
            rule.name: Measured(
                letters=self._letters(rule, now),
                queues=queues.get(rule.options["backlog_s"], {}),
                lags=lags,
                clickhouse_silent_s=max(0.0, silent_s),
                clickhouse_trouble=self._numbers.troubles.get("surveys", ""),
                rules_trouble=self._rules_file.refused,
                routes=routes,
            )
            for rule in rules
        }

    def close(self) -> None:
        """Disconnect."""
        self._lags.close()

    def _letters(self, rule: Rule, now: int) -> dict[int, int]:
        minutes = int(rule.options["dead_letters_minutes"])
        with noted(self._numbers, "dead letters"):
            return {
                minutes: self._ears.letters(minutes * 60)
                + self._surveys.refused_since(now - minutes * 60_000)
            }
        return {}

    def _depths(self, rules: Sequence[Rule], now: int) -> dict[float, dict[str, Depth]]:
        """Of each queue, for each length of time that a rule wants to know the backlog of."""
        configured = self._settings.bridge.queues
        spans = {rule.options["backlog_s"] for rule in rules}
        self._queues = {
            span: self._queues.get(span) or [Queue(each, span) for each in configured] for span in spans
        }
        found: dict[float, dict[str, Depth]] = {}
        waiting = ""
        for span, queues in self._queues.items():
            found[span] = {}
            for settings, queue in zip(configured, queues, strict=True):
                with noted(self._numbers, f"queue {queue.name}"):
                    depth = found[span][queue.name] = queue.look(now)
                    if self._waiting[settings.url].look(now, depth.waiting):
                        waiting = queue.name
        self.waiting = waiting
        return found
