"""`Pipeline`: what of the pipeline itself is looked at, and when it is trouble (`pipelines.alarms.levels`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipelines.alarms.levels import Known, Level, hold, reading, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from connectors.watch.lags import Lag
    from connectors.watch.ledger import Ledger
    from connectors.watch.queues import Depth
    from pipelines.alarms.machine import Machine
    from pipelines.alarms.reading import Reading
    from pipelines.alarms.rules import Rule

SIGNAL: Final = "pipeline"
DIMENSION: Final = "pipeline"
LAG_FOR_S: Final = 60.0
"""How long a group has to be behind by more records than the limit: a burst is worked off sooner."""
BEHIND_FOR_S: Final = 20.0
STUCK_S: Final = {"worker": 120.0, "sink": 120.0, "recounter": 1800.0}
"""How long a group may read nothing while there is something. A pass of recounting an archive takes minutes."""
ROUTE_S: Final = 120.0
"""How long a route may fail before the others are told: receivers restart."""
CLICKHOUSE_S: Final = 60.0
"""How long ClickHouse may leave the watch without an answer."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured at one look; None and absent: it could not be."""

    letters: Mapping[int, int]
    """Dead letters written in the last so many minutes."""
    queues: Mapping[str, Depth]
    lags: Mapping[str, Lag]
    clickhouse_silent_s: float
    clickhouse_trouble: str
    rules_trouble: str
    routes: Mapping[str, tuple[float, str]]
    """Routes that fail: for how many seconds, and why."""


class Pipeline:
    """Remembers since when each level is above or below its limit; for one thread."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}

    def look(self, rules: Sequence[Rule], measured: Mapping[str, Measured], ledger: Ledger, now: int) -> None:
        """Tell the ledger what was measured for each rule (by its name) at `now` (ms).

        Raises:
            BrokerError: Kafka does not take a transition.
        """
        self._known = {rule.name: self._known.get(rule.name, {}) for rule in rules}
        for rule in rules:
            known = self._known[rule.name] = hold(
                self._known[rule.name], levels(rule, measured[rule.name]), now
            )
            for value in values(known):
                if rule.covers(value):
                    ledger.tell(rule, DIMENSION, value, _reader(known, value, rule, now))


def _reader(known: Known, value: str, rule: Rule, now: int) -> Callable[[Machine], Reading | None]:
    def read(machine: Machine) -> Reading | None:
        return reading(known, value, machine, rule.severity, now)

    return read


def levels(rule: Rule, measured: Measured) -> Iterator[Level]:
    """What a rule makes of what was measured."""
    options = rule.options
    yield from _letters(options, measured)
    for name, depth in measured.queues.items():
        yield from _queue(options, name, depth)
    for name, lag in measured.lags.items():
        yield from _lag(options, name, lag)
    yield from _routes(measured)
    yield Level(
        "rules",
        "valid",
        float(bool(measured.rules_trouble)),
        0,
        measured.rules_trouble or "the rules file is valid",
    )
    silent = measured.clickhouse_silent_s
    yield Level(
        "clickhouse",
        "answers",
        silent,
        CLICKHOUSE_S,
        f"ClickHouse has not answered the watch for {silent:.0f} s"
        + (f" ({measured.clickhouse_trouble})" if measured.clickhouse_trouble else "")
        if silent > CLICKHOUSE_S
        else "ClickHouse answers",
    )


def _letters(options: Mapping[str, float], measured: Measured) -> Iterator[Level]:
    minutes = int(options["dead_letters_minutes"])
    if (found := measured.letters.get(minutes)) is not None:
        yield Level(
            "dead_letters",
            "written",
            found,
            options["dead_letters"],
            f"{found:,} dead letters were written in the last {minutes} minutes:"
            " `ses-streams dead-letters list` says why",
            facts=(("minutes", minutes),),
        )


def _queue(options: Mapping[str, float], name: str, depth: Depth) -> Iterator[Level]:
    value = f"queue {name}"
    facts = (("waiting", depth.waiting), ("oldest_s", depth.age_s))
    if depth.age_s is not None or not depth.waiting:
        age = depth.age_s or 0.0
        yield Level(
            value,
            "oldest_message",
            age,
            options["oldest_message_s"],
            f"the oldest message in queue {name} is {age:,.0f} s old, by CloudWatch; see whether the bridge runs,"
            " and what holds it up",
            facts=facts,
        )
    backlog_s = options["backlog_s"]
    if depth.age_s is not None and depth.age_s <= backlog_s:
        # None of them is so old, however many there are.
        standing: int | None = 0
    else:
        standing = depth.standing
    if standing is not None:
        yield Level(
            value,
            "backlog",
            standing,
            options["backlog_messages"],
            f"at least {standing:,} messages have been waiting in queue {name} at every look of {backlog_s:,.0f} s:"
            " see whether the bridge runs, or add copies of it",
            facts=facts,
        )


def _lag(options: Mapping[str, float], name: str, lag: Lag) -> Iterator[Level]:
    facts = (("records", lag.records), ("stuck_s", lag.stuck_s), ("behind_s", lag.behind_s))
    yield Level(
        name,
        "lag",
        lag.records,
        options["consumer_lag"],
        f"the {name} has {lag.records:,} Kafka records to read: add copies of it, up to kafka.partitions",
        for_s=LAG_FOR_S,
        facts=facts,
    )
    yield Level(
        name,
        "stuck",
        lag.stuck_s,
        STUCK_S[name],
        f"the {name} has read nothing for {lag.stuck_s:,.0f} s, and {lag.records:,} Kafka records wait: see whether"
        " it runs, and its log",
        facts=facts,
    )
    if name == "sink":
        yield Level(
            name,
            "behind",
            lag.behind_s,
            options["sink_behind_s"],
            f"the oldest record that has not landed in ClickHouse is {lag.behind_s:,.0f} s old: see whether the sink"
            " runs, and what ClickHouse says in its log",
            for_s=BEHIND_FOR_S,
            facts=facts,
        )


def _routes(measured: Measured) -> Iterator[Level]:
    failing = max(measured.routes.items(), key=lambda item: item[1][0], default=("", (0.0, "")))
    name, (seconds, why) = failing
    yield Level(
        "notify",
        "routes",
        seconds,
        ROUTE_S,
        f"the route {name} has not delivered for {seconds:,.0f} s ({why})" if name else "all routes deliver",
        facts=(("routes", sorted(measured.routes)),),
    )
