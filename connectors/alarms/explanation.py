"""`explain`: what drives an alarm, asked of ClickHouse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from connectors.alarms import query
from connectors.alarms.drivers import Driver, Tally, drivers
from connectors.alarms.forecast import LIMITS, WINDOW_H, Forecast, Pace, forecast, pace_hours
from connectors.alarms.replies import grouped
from connectors.alarms.subject import HOUR_S, Subject, Unexplained, iso
from pipelines.alarms.signals import SHARES

if TYPE_CHECKING:
    from collections.abc import Iterable

Ask = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a query."""

MOST_COPIES: Final = 1_600_000
"""Copies of events in the hours that are looked at, of whichever key; of longer evidence the latest hours are. More
take ClickHouse longer than half a second on two cores, which the sink's inserts need."""
_OWN_COPY: Final = 3
"""A copy of an event of the key takes so many times longer than one that is passed over."""
_SAMPLES: Final = 5
_SAMPLED: Final = frozenset({"hard_bounce_rate", "reputation_block"})
"""Signals whose hits come with SMTP replies."""
_REASONED: Final = frozenset({"reject_rate", "rendering_failure_rate"})
_OF_HITS_ALONE: Final = frozenset({"template"})
"""Factors that sends do not tell, so nobody knows of how many a hit is one."""
_FACTORS: Final = {name: name.replace("_", " ") for name in query.FACTORS} | {
    "feedback_b": "stream (feedback_b)",
    "recipient_domain": "the domain",
}


def explain(subject: Subject, ask: Ask) -> dict[str, Any]:
    """Evidence: what drives it, samples, replies, forecast, the query that shows the rest, and a summary.

    Raises:
        Unexplained: there are no such events.
    """
    seen = _affordable(subject, ask)
    rows = ask(query.factors_sql(seen))
    hits, trials = next(((int(row[2]), int(row[3])) for row in rows if row[0] == query.WHOLE), (0, 0))
    if not hits:
        raise Unexplained("the events are not in ClickHouse, or no more")
    values = sum({str(row[0]): int(row[5]) for row in rows}.values())
    tallies = [*_tallies(rows, values), *_wide(seen, ask, hits, trials, values)]
    if seen.signal == "complaint_rate":
        tallies += _links(ask(query.links_sql(seen)))
    found = drivers(tallies, hits, max(trials, hits), seen.limit)
    told: dict[str, Any] = {
        "explained": True,
        "explained_hits": hits,
        "hit": seen.hit,
        "trial": seen.trial,
        "drivers": [each.evidence() for each in found],
    }
    if seen.since > subject.since:
        told["drivers_since"] = iso(seen.since)
    told |= _newest(seen, ask)
    if expected := _forecast(subject, ask, rows):
        told["forecast"] = expected.evidence()
    told["sql"] = query.shown_sql(seen, found[0].factor if found else "provider")
    told["summary"] = summary(seen, found, hits, beyond=hits > seen.limit * trials)
    return told


def summary(subject: Subject, found: Sequence[Driver], hits: int, *, beyond: bool) -> str:
    """One sentence that names the strongest driver, or says that there is none.

    Args:
        subject: what it is about.
        found: best first.
        hits: of all.
        beyond: whether they are more than the limit allows, in the hours looked at.
    """
    if not found:
        whole = _named(subject.dimension, subject.value)
        return f"No part of {whole} stands out among its {hits:,} {subject.hit}"
    first = found[0]
    if first.trials is None or first.rate is None:
        share = f"{first.excess_share:.0%} of the {subject.hit}"
        return f"{share} are of {_named(first.factor, first.value)} ({first.hits:,})"
    what = "excess comes" if beyond else f"{subject.hit} come"
    return (
        f"{first.excess_share:.0%} of the {what} from {_named(first.factor, first.value)}:"
        f" {first.hits:,} {subject.hit} in {first.trials:,} {_trial(subject, first.factor)}, {first.rate:.2%}"
    )


def _trial(subject: Subject, factor: str) -> str:
    """What the trials of a factor are: sends name no IP, and links are those of messages in which any was clicked."""
    if factor == "link":
        return "messages in which it was clicked"
    return "attempts" if factor == "outgoing_ip" and "sends" in subject.share.trials else subject.trial


def _named(factor: str, value: str) -> str:
    return f"{_FACTORS.get(factor, factor)} {value}"


def _affordable(subject: Subject, ask: Ask) -> Subject:
    """The latest hours of the evidence that are not too much to look at; one at the least."""
    left, since = MOST_COPIES, subject.until
    for hour, copies, own in ask(query.heights_sql(subject)):
        left -= int(copies) + _OWN_COPY * int(own)
        if left < 0 and since < subject.until:
            return replace(subject, since=since)
        since = int(hour)
    return subject


def _tallies(rows: Iterable[Sequence[Any]], values: int) -> list[Tally]:
    """In the order of `FACTORS`, so that of equal ones the first is told."""
    tallies = []
    for factor, value, *numbers in rows:
        hits, trials, attempts, _, of_hits, of_trials, of_attempts = map(int, numbers)
        if factor == query.WHOLE or not hits:
            continue
        if factor == "outgoing_ip" and of_attempts:
            trials, of_trials = attempts, of_attempts
        if factor == "template":
            trials = of_trials = 0
        if trials or factor == "template":
            trials = max(trials, hits)
            trials = 0 if factor == "template" else trials
            tallies.append(
                Tally(str(factor), str(value), hits, trials, of_hits, max(of_trials, of_hits), values)
            )
    return sorted(tallies, key=lambda each: query.FACTORS.index(each.factor))


def _wide(subject: Subject, ask: Ask, hits: int, trials: int, values: int) -> list[Tally]:
    """Of tags and domains: the candidates are those with hits; any of the trials might have had a value of its own."""
    candidates = [(str(row[0]), str(row[1])) for row in ask(query.candidates_sql(subject))]
    if not candidates:
        return []
    rows = [
        (str(row[0]), str(row[1]), int(row[2]), int(row[3]))
        for row in ask(query.counted_sql(subject, candidates))
    ]
    return [
        Tally(factor, value, own, max(of, own), hits, max(trials, hits), values + trials)
        for factor, value, own, of in sorted(rows, key=lambda each: (-each[2], each))
    ]


def _links(rows: Iterable[Sequence[Any]]) -> list[Tally]:
    """Which link those who complained had clicked; trials are the messages in which it was."""
    counted = [(str(row[0]), int(row[1]), int(row[2])) for row in rows]
    of_hits, of_trials = next(
        ((hits, trials) for link, hits, trials in counted if link == query.WHOLE), (0, 0)
    )
    return [
        Tally("link", link, hits, trials, of_hits, of_trials, of_trials)
        for link, hits, trials in counted
        if link != query.WHOLE
    ]


def _newest(subject: Subject, ask: Ask) -> dict[str, Any]:
    rows = [(str(row[0]), str(row[1]), str(row[2])) for row in ask(query.newest_sql(subject))]
    told: dict[str, Any] = {
        "sample_message_ids": list(dict.fromkeys(row[0] for row in rows if row[0]))[:_SAMPLES]
    }
    if subject.signal in _SAMPLED:
        replies = grouped(row[1] for row in rows)
        told["smtp_replies"] = [{"reply": reply, "count": count} for reply, count in replies]
    if subject.signal in _REASONED:
        reasons = grouped(row[2] for row in rows)
        told["reasons"] = [{"reason": reason, "count": count} for reason, count in reasons]
    return told


def _forecast(subject: Subject, ask: Ask, rows: Iterable[Sequence[Any]]) -> Forecast | None:
    """Of the account with the most hits."""
    account = next((str(row[1]) for row in rows if row[0] == "account"), "")
    if subject.signal not in LIMITS or not account:
        return None
    first = subject.until - WINDOW_H * HOUR_S
    hits, trials = [0] * WINDOW_H, [0] * WINDOW_H
    for hour, *counters in ask(query.account_sql(account, first, subject.until)):
        at = (int(hour) - first) // HOUR_S
        hits[at], trials[at] = SHARES[subject.signal].of([int(each) for each in counters])
    pace = Pace(hits, trials, pace_hours((subject.until - subject.since) // HOUR_S))
    return forecast(subject.signal, account, pace)
