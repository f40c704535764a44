"""`[response]`: what is paused by itself when an alarm becomes critical; docs/response.md."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from connectors.errors import SettingsError
from schemas.alarms import SIGNALS


class Response(Struct, frozen=True, forbid_unknown_fields=True):
    """When sending is paused, and for how long. `ses-streams pause` goes by region, role and expiry alone."""

    enabled: bool = False
    """Whether critical alarms pause anything by themselves."""
    dry_run: bool = True
    """Whether it is only written down what would have been paused."""
    signals: tuple[str, ...] = ("complaint_rate", "hard_bounce_rate")
    """Of the alarms that pause."""
    dimensions: tuple[Literal["configuration_set", "tenant"], ...] = ("configuration_set", "tenant")
    """Of the alarms that pause; there is nothing else that is paused, least of all the account."""
    values: tuple[str, ...] = ("*",)
    """Patterns (`fnmatch`) of the names that may be paused."""
    never: tuple[str, ...] = ()
    """Patterns of names that are never paused by themselves, such as those of password resets and alarms."""
    expires_h: Annotated[float, Meta(gt=0, le=24 * 30)] = 24.0
    """Hours after which sending resumes by itself."""
    resume_on_resolve: bool = False
    """Whether it resumes as soon as the incident is over."""
    at_most: Annotated[int, Meta(ge=1, le=1000)] = 3
    """Pauses by themselves at a time: when more go bad at once, pausing them all would be pausing the account."""
    region: str = ""
    """Of SES; empty: that of the default credential chain."""
    role_arn: str = ""
    """To assume."""
    endpoint_url: str = ""
    """Other than AWS's own, for local stand-ins."""


def check(response: Response) -> None:
    """What their types do not say.

    Raises:
        SettingsError: with what is wrong.
    """
    for signal in response.signals:
        if signal not in SIGNALS:
            raise SettingsError(
                f"response.signals: there is no signal {signal}; there are {', '.join(SIGNALS)}"
            )
