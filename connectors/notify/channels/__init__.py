"""Where alarms are delivered: one module for each kind of place.

No notification library stands in between. apprise (2.2.0, well kept) was tried: its `notify` answers only whether
all went well, so neither Retry-After nor "never try again" can be heeded; its dedup keys are part of an address and so
the same for all incidents; and it logs what it sends, routing keys included. What has no kind here is reached
through Alertmanager, SNS or a webhook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from connectors.notify.channels.alertmanager import Alertmanager
from connectors.notify.channels.email import Email
from connectors.notify.channels.pagerduty import PagerDuty
from connectors.notify.channels.place import refuse
from connectors.notify.channels.slack import Slack
from connectors.notify.channels.sns import Sns
from connectors.notify.channels.webhook import Webhook
from connectors.notify.page import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connectors.notify.channels.place import Place
    from connectors.notify.page import Page


class RepeatingChannel(Channel, Protocol):
    """A channel that may want to hear again what is still true."""

    @property
    def repeats_every_s(self) -> float:
        """How often `refresh` is to be called; 0: never."""

    def refresh(self, pages: Sequence[Page]) -> str:
        """Say again what is still true.

        Args:
            pages: the last page or update of each incident that is open and was delivered here.

        Raises:
            NotDelivered: not all of it was taken.
        """


_CHANNELS: Final[dict[str, Callable[[Place], RepeatingChannel]]] = {
    "alertmanager": Alertmanager,
    "pagerduty": PagerDuty,
    "slack": Slack,
    "sns": Sns,
    "email": Email,
    "webhook": Webhook,
}
KINDS: Final = tuple(_CHANNELS)


def channel_of(place: Place) -> RepeatingChannel:
    """The channel of a route; for one thread. Connects to nothing yet.

    Raises:
        SettingsError: what is wrong with the route's settings.
    """
    if place.kind not in _CHANNELS:
        refuse(place, "kind", f"must be one of {', '.join(KINDS)}")
    return _CHANNELS[place.kind](place)
