"""`Watch`: evaluates the signals that are surveyed; one in the whole installation, beside the delivery of alarms.

Two threads: one listens to Kafka and looks at the pipeline's levels, the other asks ClickHouse. So a ClickHouse that
hangs holds nothing up, and is itself an alarm. Nothing that fails ends the watch: it says so, and tries again.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from connectors.watch.numbers import Numbers
from connectors.watch.rounds import Given, Policy, Rounds
from schemas.blocks import SINGLE_OBJECT, Framing

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from connectors.clickhouse.sql import Target
    from connectors.notify.numbers import RouteFailure
    from connectors.settings import Settings
    from pipelines.alarms.rules_file import RulesFile


class Watch:
    """Companion of a notifier: the one writer of its alarm keys."""

    name = "watch"

    def __init__(
        self,
        settings: Settings,
        rules_file: RulesFile,
        target: Target,
        *,
        failures: Callable[[], Iterable[RouteFailure]] = tuple,
        framing: Framing = SINGLE_OBJECT,
        policy: Policy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Connects nowhere yet.

        Args:
            settings: where Kafka and the queues are.
            rules_file: for this alone.
            target: where ClickHouse is. Where it is a door the broker forgets, and ClickHouse is the memory.
            failures: routes that do not deliver.
            framing: how blocks name their schema.
            policy: how often to look.
            clock: the wall clock, s.
        """
        self._given = Given(settings, rules_file, target, failures, framing, policy or Policy(), clock)
        self.numbers = Numbers()

    def run(self, stop: threading.Event) -> None:
        """Watch until told to stop. May be called again after it has returned."""
        with contextlib.closing(Rounds(self._given, self.numbers)) as rounds:
            rounds.run(stop)
