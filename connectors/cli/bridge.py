"""`bridge`: the configured sources into Kafka."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from connectors.cli.production import logged, until_signalled
from connectors.errors import SettingsError

if TYPE_CHECKING:
    import argparse

LOG: Final = logging.getLogger(__name__)
_POLL_S: Final = 0.2
_PATIENCE_S: Final = 15.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Options: none of its own."""


def run(args: argparse.Namespace) -> int:
    """Read until stopped; what is under way by then is finished first."""
    import time

    from connectors.cli import wiring
    from connectors.metrics.serving import serving

    settings = logged(args)
    mailroom = wiring.mailroom_of(settings, None)
    sources, _ = wiring.sources_of(settings, mailroom)
    if not sources:
        raise SettingsError(
            "there is nothing to read: set bridge.queues or bridge.http.bind (or use `ses-streams replay`)"
        )
    with (
        until_signalled() as stop,
        wiring.bridge_to(settings) as bridge,
        serving(settings.metrics.bind, lambda: wiring.figures_of(bridge, sources, mailroom)),
    ):
        running = wiring.Running(sources, bridge)
        LOG.info("reading %s", ", ".join(source.name for source in sources))
        while not stop.wait(_POLL_S):
            running.check()
            bridge.check()
        running.stop()
        deadline = time.monotonic() + _PATIENCE_S
        wiring.flush(bridge, lambda: time.monotonic() > deadline)
    return 0
