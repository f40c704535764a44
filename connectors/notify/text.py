"""What a page says to a person: a title, and the whole of the evidence. Any evidence renders, however odd."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from connectors.notify.page import Page
from schemas.alarms import RATE_SIGNALS, UNITS, dedup_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from schemas.alarms import Alarm

Kind = Literal["page", "update", "resolve"]

_SIGNALS: Final = {
    "complaint_rate": "complaint rate",
    "hard_bounce_rate": "hard-bounce rate",
    "reject_rate": "rate of rejected mail",
    "rendering_failure_rate": "rate of rendering failures",
    "reputation_block": "rate of reputation blocks",
    "baseline_drift": "rate, against its own baseline,",
    "delivery_latency": "delivery latency",
    "traffic_stopped": "silence",
    "dmarc_failure": "mail that fails DMARC,",
    "unexpected_relay": "mail with an unexpected relay,",
    "pipeline": "pipeline",
}
_SHARES: Final = frozenset(RATE_SIGNALS)
_DAY_H: Final = 24
_YEAR_D: Final = 365
_LONGEST_VALUE: Final = 120
_LONGEST_LINE: Final = 400
_MOST: Final = 10
"""Drivers, samples and replies that are shown; the query shows the rest."""


def page_of(kind: Kind, alarm: Alarm, number: int) -> Page:
    """The message about an incident.

    Args:
        kind: what it is.
        alarm: the transition it shows.
        number: of the incident.
    """
    evidence = evidence_of(alarm)
    return Page(
        kind=kind,
        alarm=alarm,
        evidence=evidence,
        dedup_key=dedup_key(alarm["alarm_key"], number),
        title=title(kind, alarm, evidence),
        text=text(kind, alarm, evidence),
    )


def evidence_of(alarm: Alarm) -> dict[str, Any]:
    """The evidence, decoded; empty where it is none."""
    try:
        found = msgspec.json.decode(alarm["evidence"])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def title(kind: Kind, alarm: Alarm, evidence: Mapping[str, Any]) -> str:
    """One line."""
    severity = alarm["severity"] or "alarm"
    about = _about(alarm)
    if alarm["cause"] == "acknowledged" and kind == "update":
        return f"acknowledged by {_line(alarm['operator'] or 'somebody')}: {severity}: {about}"
    if kind == "resolve":
        return f"resolved: {about} ({_how_it_ended(alarm)}; it was {severity})"
    return f"{severity}: {about}{_measure(alarm, evidence)}"


def text(kind: Kind, alarm: Alarm, evidence: Mapping[str, Any]) -> str:
    """All of it, in lines."""
    lines = [title(kind, alarm, evidence), ""]
    if summary := _line(evidence.get("summary")):
        lines += [summary, ""]
    lines += _when(kind, alarm)
    lines += _counts(alarm, evidence)
    lines += _certainty(alarm, evidence)
    for name, section in _SECTIONS:
        if found := list(section(evidence)):
            lines += ["", f"{name}:", *(f"  {each}" for each in found)]
    if forecast := _forecast(evidence):
        lines += ["", f"Forecast: {forecast}"]
    if query := evidence.get("sql"):
        lines += ["", "The rest:", *(f"  {each}" for each in str(query).splitlines())]
    return "\n".join([*lines, *_orders(kind, alarm)])


def _about(alarm: Alarm) -> str:
    signal = _SIGNALS.get(alarm["signal"], alarm["signal"].replace("_", " "))
    dimension = alarm["dimension"].replace("_", " ")
    return _line(f"{signal} of {dimension} {alarm['value'][:_LONGEST_VALUE]}")


def _measure(alarm: Alarm, evidence: Mapping[str, Any]) -> str:
    rate, limit = _number(alarm["rate"]), _number(alarm["limit"])
    if rate is None:
        summary = _line(evidence.get("summary"))
        return f": {summary}" if summary else ""
    shown = _quantity(alarm["signal"], rate)
    return f" is {shown}" if limit is None else f" is {shown} (limit {_quantity(alarm['signal'], limit)})"


def _quantity(signal: str, value: float) -> str:
    if signal in _SHARES:
        return f"{_digits(value * 100)} %"
    return f"{_digits(value)} {UNITS.get(signal, '')}".rstrip()


def _digits(value: float) -> str:
    """Two significant digits or all of the whole ones, without an exponent."""
    if value == 0 or abs(value) >= 10:  # noqa: PLR2004 - two digits
        return f"{value:,.0f}"
    places = min(8, 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}".rstrip("0").rstrip(".")


def _how_it_ended(alarm: Alarm) -> str:
    return {
        "clean": "within the limit again",
        "quiet": "nothing more has come",
        "rule_gone": "its rule is gone",
        "reset": f"reset by {_line(alarm['operator'] or 'somebody')}",
    }.get(alarm["cause"], "over")


def _when(kind: Kind, alarm: Alarm) -> Iterator[str]:
    if opened := _time(alarm["opened_time"]):
        yield f"Since {opened}" + (f", over at {_time(alarm['time'])}" if kind == "resolve" else "")
    if alarm["state"] == "recovering":
        yield "It is recovering."


def _counts(alarm: Alarm, evidence: Mapping[str, Any]) -> Iterator[str]:
    hits, trials = _number(evidence.get("hits")), _number(evidence.get("trials"))
    if hits is not None and trials is not None:
        hit, trial = _line(evidence.get("hit")) or "hits", _line(evidence.get("trial")) or "trials"
        since = _line(evidence.get("since"))
        yield f"{hits:,.0f} {hit} in {trials:,.0f} {trial}" + (f" since {since}" if since else "")
    rate, limit = _number(alarm["rate"]), _number(alarm["limit"])
    low, high = _number(evidence.get("rate_low")), _number(evidence.get("rate_high"))
    if rate is not None:
        signal = alarm["signal"]
        between = (
            f" (95 %: {_quantity(signal, low)} to {_quantity(signal, high)})"
            if low is not None and high is not None
            else ""
        )
        against = f"; the limit is {_quantity(signal, limit)}" if limit is not None else ""
        yield f"That is {_quantity(signal, rate)}{between}{against}"


def _certainty(alarm: Alarm, evidence: Mapping[str, Any]) -> Iterator[str]:
    e_value = _number(alarm["e_value"])
    if e_value is None or e_value < _DAY_H:
        return
    yield (
        f"A false page as strong as this comes less than once in {_days(e_value / _DAY_H)} of traffic at the limit"
        f" (e-value {e_value:,.3g})"
    )
    mean = _number(evidence.get("mean_days_between_false_pages"))
    if mean is not None:
        yield f"Pages of this key are false less often than once in {_days(mean)}"


def _days(days: float) -> str:
    if days >= 2 * _YEAR_D:
        years = days / _YEAR_D
        return f"{years:,.0f} years" if years < 1e6 else "a million years"  # noqa: PLR2004
    return f"{days:,.0f} days"


def _drivers(evidence: Mapping[str, Any]) -> Iterator[str]:
    for each in _maps(evidence.get("drivers")):
        what = _line(f"{each.get('factor', '')} {each.get('value', '')}")
        rate, share = _number(each.get("rate")), _number(each.get("excess_share"))
        hits, trials = _number(each.get("hits")), _number(each.get("trials"))
        parts = [
            f"{_digits(share * 100)} % of the excess" if share is not None else "",
            f"{hits:,.0f} in {trials:,.0f}" if hits is not None and trials is not None else "",
            f"{_digits(rate * 100)} %" if rate is not None else "",
        ]
        yield f"{what}: {', '.join(part for part in parts if part)}".rstrip(": ")


def _replies(evidence: Mapping[str, Any]) -> Iterator[str]:
    yield from _counted(evidence, "smtp_replies", "reply")


def _reasons(evidence: Mapping[str, Any]) -> Iterator[str]:
    yield from _counted(evidence, "reasons", "reason")


def _counted(evidence: Mapping[str, Any], name: str, what: str) -> Iterator[str]:
    for each in _maps(evidence.get(name)):
        count = _number(each.get("count"))
        yield (f"{count:,.0f} times: " if count is not None else "") + _line(each.get(what))


def _samples(evidence: Mapping[str, Any]) -> Iterator[str]:
    yield from _listed(evidence, "sample_message_ids")


def _mails(evidence: Mapping[str, Any]) -> Iterator[str]:
    yield from _listed(evidence, "sample_mail_ids")


def _listed(evidence: Mapping[str, Any], name: str) -> Iterator[str]:
    found = evidence.get(name)
    yield from (_line(each) for each in (found[:_MOST] if isinstance(found, list) else ()))


_SECTIONS: Final = (
    ("What drives it", _drivers),
    ("SMTP replies", _replies),
    ("Reasons", _reasons),
    ("Messages", _samples),
    ("Mails received", _mails),
)


def _forecast(evidence: Mapping[str, Any]) -> str:
    found = evidence.get("forecast")
    if not isinstance(found, dict):
        return ""
    if sentence := _line(found.get("sentence")):
        return sentence
    hours, what = _number(found.get("in_hours")), _line(found.get("what")) or "the next limit"
    return f"{what} is crossed in {_digits(hours)} hours at this pace" if hours is not None else ""


def _orders(kind: Kind, alarm: Alarm) -> list[str]:
    key = alarm["alarm_key"].replace("'", "'\\''")
    about = ["", f"Alarm {_line(alarm['alarm_key'])}, rule {_line(alarm['rule'])}"]
    if kind == "resolve":
        return about
    return [
        *about,
        f"  ses-streams alarms ack '{_line(key)}'      (you have it: no more updates)",
        f"  ses-streams alarms silence '{_line(key)}'  (no pages for a while)",
    ]


def _maps(value: Any) -> list[dict[str, Any]]:
    return [each for each in value[:_MOST] if isinstance(each, dict)] if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    """A finite number, else none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _line(value: Any) -> str:
    """As one line of bounded length; empty for nothing."""
    return " ".join(str(value).split())[:_LONGEST_LINE] if value is not None else ""


def _time(ms: int) -> str:
    if not ms:
        return ""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return ""
