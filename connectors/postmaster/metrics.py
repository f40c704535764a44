"""The metrics that Postmaster Tools is asked for, and the names they have in our table.

Standard metrics and filters are those of `MetricDefinition` in version 2 of the API:
https://developers.google.com/workspace/gmail/postmaster/reference/rest/v2/MetricDefinition
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SPAM_RATE: Final = "spam_rate"
FEEDBACK_LOOP_SPAM_RATE: Final = "feedback_loop_spam_rate"
COMPLIANCE: Final = "compliance"
"""1 where Gmail finds a requirement for senders met, 0 where not; not of `domainStats`."""

_AT_ONCE: Final = 20
"""Metrics in one query at the most: with the usual ten days, the answer fits one page."""

_REASONS: Final = {
    "reject": (
        *("bad_attachment", "bad_or_missing_ptr_record", "ip_in_rbls", "low_domain_reputation"),
        *("low_ip_reputation", "spammy_content", "stamp_policy_error", "other"),
    ),
    "temp_fail": ("anomalous_traffic_pattern", "other"),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One series of figures: a value per day."""

    name: str
    """In our table; Google's standard metric is the same in upper case."""
    identifier: str = ""
    """What of it, in our table: `spf`, `inbound`, `reject/ip_in_rbls`, or an identifier of Feedback-ID."""
    filter: str = ""
    """The same in the words of the API."""


def groups() -> Iterator[tuple[Metric, ...]]:
    """What every domain is asked for, one query each: one that Google refuses costs no more than itself."""
    yield (
        Metric(SPAM_RATE),
        *(Metric("auth_success_rate", each, _is("auth_type", each)) for each in ("spf", "dkim", "dmarc")),
        *(
            Metric(name, each, _is("traffic_direction", each))
            for name in ("tls_encryption_rate", "tls_encryption_message_count")
            for each in ("inbound", "outbound")
        ),
    )
    yield tuple(_delivery_errors("delivery_error_rate"))
    yield tuple(_delivery_errors("delivery_error_count"))


FEEDBACK_LOOP_ID: Final = Metric("feedback_loop_id")
"""Not figures but, for each day, the identifiers that there are figures of."""


def feedback_loops(identifiers: Iterable[str]) -> Iterator[tuple[Metric, ...]]:
    """The spam rate of each identifier, as many in a query as suits."""
    every = [
        Metric(FEEDBACK_LOOP_SPAM_RATE, each, _is("feedback_loop_id", each)) for each in sorted(identifiers)
    ]
    for start in range(0, len(every), _AT_ONCE):
        yield tuple(every[start : start + _AT_ONCE])


def _delivery_errors(name: str) -> Iterator[Metric]:
    yield Metric(name)
    for kind, reasons in _REASONS.items():
        of_kind = _is("error_type", kind)
        yield Metric(name, kind, of_kind)
        for reason in reasons:
            yield Metric(name, f"{kind}/{reason}", f"{of_kind} AND {_is('error_reason', reason)}")


def _is(field: str, value: str) -> str:
    """A comparison as filters have it (https://google.aip.dev/160)."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{field} = "{escaped}"'
