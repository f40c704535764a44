"""`[notify]`: who is told of alarms, of which, and when. docs/notify.md shows each kind of route."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from connectors.errors import SettingsError
from connectors.notify.quiet import QuietHours
from connectors.secret import Secret
from schemas.alarms import SIGNALS, Severity

_EVIDENCE_WANTED: Final = frozenset({"alertmanager"})
"""Kinds that replace what they show, so that better evidence wakes nobody again."""


class Route(Struct, frozen=True, forbid_unknown_fields=True):
    """One place that alarms are delivered to, and which of them."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    """Unique; memory of what was delivered goes by it."""
    kind: Literal["alertmanager", "pagerduty", "slack", "sns", "email", "webhook"]
    url: Secret = Secret("")
    """Of Alertmanager, of Slack's incoming webhook, of a webhook; of PagerDuty's service region."""
    key: Secret = Secret("")
    """PagerDuty's routing key, a webhook's signing secret, Slack's bot token, Alertmanager's credentials."""
    to: tuple[str, ...] = ()
    """Recipients of the e-mail; the channel of Slack's bot."""
    sender: str = ""
    """From of the e-mail."""
    topic_arn: str = ""
    """Of SNS."""
    configuration_set: str = ""
    """That the e-mail is sent with."""
    region: str = ""
    role_arn: str = ""
    """To assume."""
    endpoint_url: str = ""
    """Other than AWS's own, for local stand-ins."""
    link: str = ""
    """Where a person sees more; `{alarm_key}`, `{dimension}` and `{value}` are replaced."""
    timeout_s: Annotated[float, Meta(ge=1, le=120)] = 10.0
    """After which a try is given up, whatever the receiver does."""
    min_severity: Severity = "warning"
    """The least that is delivered here."""
    severities: tuple[Severity, ...] = ()
    """The only ones that are delivered here; empty: from `min_severity` on."""
    signals: tuple[str, ...] = ("*",)
    """Patterns (`fnmatch`) of the signals that are delivered here; the same for dimensions and values."""
    dimensions: tuple[str, ...] = ("*",)
    values: tuple[str, ...] = ("*",)
    quiet: tuple[str, ...] = ()
    """Hours of the day in which nothing is begun, such as `22:00-07:00`; what is still open at their end is told
    then. An end is told at any time."""
    timezone: str = "UTC"
    """Of `quiet`, such as `Europe/Berlin`."""
    quiet_critical: bool = True
    """Whether critical alarms are delivered in quiet hours as well."""
    evidence: Literal["usual", "always", "never"] = "usual"
    """Whether better evidence of what was delivered is delivered too. Usual: where it replaces what is shown
    (alertmanager)."""

    @property
    def wants_evidence(self) -> bool:
        """Whether better evidence of what was delivered is delivered too."""
        return self.evidence == "always" or (self.evidence == "usual" and self.kind in _EVIDENCE_WANTED)


class Notify(Struct, frozen=True, forbid_unknown_fields=True):
    """How alarms are delivered: docs/notify.md."""

    max_age_s: Annotated[int, Meta(ge=60)] = 6 * 3600
    """Transitions older than that are not delivered, so that replaying last week wakes nobody."""
    evidence_wait_s: Annotated[float, Meta(ge=0, le=600)] = 10.0
    """How long a page waits for what drives the alarm to be found."""
    give_up_after_s: Annotated[int, Meta(ge=1)] = 3600
    """After which a page that no try could deliver is given up."""
    routes: tuple[Route, ...] = ()


def check(notify: Notify) -> None:
    """What their types do not say.

    Raises:
        SettingsError: with the route, and what is wrong with it.
    """
    names = [route.name for route in notify.routes]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(
                f"notify.routes: {names.count(name)} routes are named {name}: give each its own name"
            )
    for route in notify.routes:
        try:
            QuietHours.of(route.quiet, route.timezone)
        except ValueError as error:
            raise SettingsError(f"notify.routes: of the route {route.name} {error}") from None
        _check_signals(route)


def _check_signals(route: Route) -> None:
    """A pattern that is no signal's would keep pages from a route, and nobody would know."""
    for pattern in route.signals:
        if not any(fnmatchcase(signal, pattern) for signal in SIGNALS):
            raise SettingsError(
                f"notify.routes: signals of the route {route.name} has {pattern!r}, which is no signal; "
                f"there are {', '.join(SIGNALS)}"
            )
