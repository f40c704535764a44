"""How long ClickHouse keeps what (`[retention]`), and what the settings must not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from connectors.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

Days = Annotated[int, Meta(ge=0, le=3650)]

_MEMORY_DAYS: Final = 14
"""A worker begins with hours closed that events may be missing of: no more than `counting.open_hours` can be."""
_MARGIN_DAYS: Final = 2
"""Of a day that is kept whole, and of clocks."""
_REPORTS_DAYS: Final = 31
"""The watch knows senders by reports that it looks at for so long."""


class Retention(Struct, frozen=True, forbid_unknown_fields=True):
    """Days after which rows go; 0: never. docs/operations.md says what that means for each."""

    events: Days = 0
    """Since the message was sent. Hours whose events are gone are not counted again."""
    rates: Days = 0
    """Since the cohort hour."""
    mail: Days = 0
    """Since it was received; what became of mail that was sent on, likewise."""
    threads: Days = 0
    """Since the message of the thread."""
    outbound: Days = 0
    """Since the message was sent."""
    reports: Days = 0
    """DMARC and TLS reports: since the end of what they are about."""
    dead_letters: Days = 0
    """Since the record was written."""
    postmaster: Days = 0
    """Since the day that a figure is of."""


def check(
    retention: Retention, *, counting_days: int, thread_days: int, outbound_days: int, postmaster_days: int
) -> None:
    """Refuse what would take from the program what it needs.

    Args:
        retention: the settings.
        counting_days: `counting.retention_days`.
        thread_days: `inbound.thread_days`.
        outbound_days: `inbound.outbound_days`.
        postmaster_days: `postmaster.days`.

    Raises:
        SettingsError: with the least that is allowed.
    """
    for name, least, why in _least(counting_days, thread_days, outbound_days, postmaster_days):
        days = getattr(retention, name)
        if days and days < least:
            raise SettingsError(
                f"retention.{name} = {days} is too short: {why}; set it to {least} or more, or to 0 to keep all"
            )


def _least(
    counting_days: int, thread_days: int, outbound_days: int, postmaster_days: int
) -> Iterator[tuple[str, int, str]]:
    counted = max(counting_days, _MEMORY_DAYS) + _MARGIN_DAYS
    hours = f"late events have the hours of counting.retention_days ({counting_days}) counted again"
    yield "events", counted, f"{hours}, from events"
    yield "rates", counted, f"{hours}, and alarms rest on them"
    joined = f"a worker joins mail of inbound.thread_days ({thread_days})"
    yield "mail", thread_days + 1, joined
    yield "threads", thread_days + 1, joined
    yield (
        "outbound",
        outbound_days + 1,
        f"a worker joins mail to messages of inbound.outbound_days ({outbound_days})",
    )
    yield "reports", _REPORTS_DAYS, "who is new among the senders is told by older reports"
    yield (
        "postmaster",
        postmaster_days + 1,
        f"figures of postmaster.days ({postmaster_days}) are asked for again",
    )
