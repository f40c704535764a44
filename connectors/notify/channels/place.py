"""`Place`: what a channel is told of where it delivers; and how such settings are checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn, Protocol
from urllib.parse import quote, urlsplit

from connectors.errors import SettingsError

if TYPE_CHECKING:
    from schemas.alarms import Alarm

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Place(Protocol):
    """The part of a route's settings that says where; empty text: not set."""

    @property
    def name(self) -> str:
        """Of the route."""

    @property
    def kind(self) -> str:
        """One of `KINDS`."""

    @property
    def url(self) -> str:
        """Of Alertmanager, of Slack's incoming webhook, of a webhook; of PagerDuty when it is not the usual one."""

    @property
    def key(self) -> str:
        """PagerDuty's routing key, a webhook's signing secrets, Slack's bot token, Alertmanager's credentials."""

    @property
    def to(self) -> tuple[str, ...]:
        """Recipients of the e-mail; the channel of Slack's bot."""

    @property
    def sender(self) -> str:
        """From of the e-mail."""

    @property
    def topic_arn(self) -> str:
        """Of SNS."""

    @property
    def configuration_set(self) -> str:
        """That the e-mail is sent with."""

    @property
    def region(self) -> str:
        """AWS's."""

    @property
    def role_arn(self) -> str:
        """AWS's: to assume."""

    @property
    def endpoint_url(self) -> str:
        """Other than AWS's own."""

    @property
    def link(self) -> str:
        """Where a person sees more; `{alarm_key}`, `{dimension}` and `{value}` are replaced."""

    @property
    def timeout_s(self) -> float:
        """After which a try is given up, whatever the receiver does."""


def refuse(place: Place, field: str, what: str) -> NoReturn:
    """Say which setting of which route is wrong, never what it is.

    Raises:
        SettingsError: always.
    """
    raise SettingsError(f"notify.routes: {field} of the route {place.name} {what}")


def needs(place: Place, *fields: str) -> None:
    """Check that fields are set.

    Raises:
        SettingsError: when one is not.
    """
    for field in fields:
        if not getattr(place, field):
            refuse(place, field, f"is not set: kind {place.kind} needs it")


def http_url(place: Place, url: str, *, secret: bool) -> str:
    """The URL, checked.

    Args:
        place: the route.
        url: what is set, or the usual one.
        secret: whether it, or what is sent, must not be seen on the way: then only https, or this machine, will do.

    Raises:
        SettingsError: it is none that can be used.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        refuse(place, "url", "is no URL")
    if parts.scheme not in {"http", "https"} or not host:
        refuse(place, "url", "must be an http:// or https:// address")
    if parts.username is not None:
        refuse(place, "url", "has credentials in it: put them into key")
    if secret and parts.scheme == "http" and host not in _LOOPBACK:
        refuse(place, "url", "must be https://, for a secret goes there")
    if any(each <= " " for each in url):
        refuse(place, "url", "has a space or a line break in it")
    return url


def secrets_of(place: Place) -> list[str]:
    """What nobody shall read in an error, though a receiver may repeat it."""
    found = [str(place.key), *place.key.split(), str(place.url), urlsplit(place.url).path]
    return [each for each in found if len(each) > 1]


def link_of(place: Place, alarm: Alarm) -> str:
    """Where a person sees more of an alarm; empty where the route has no link."""
    link = place.link
    for name in ("alarm_key", "dimension", "value"):
        link = link.replace(f"{{{name}}}", quote(str(alarm[name]), safe=""))
    return link
