"""One replay: into an embedded instance, be it its own part or from outside, or into a production Kafka."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.cli import wiring
from connectors.sources.checkpoint import Checkpoint
from connectors.sources.replay import Replay

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from connectors.bridge import Entrance
    from connectors.cli.relay import Drain
    from connectors.inbound.mailroom import Mailroom
    from connectors.settings import Settings
    from connectors.sources.replay import Progress


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be replayed, and who is told."""

    settings: Settings
    sources: Sequence[str]
    """As `wiring.absolute` gives them."""
    directory: Path
    """Where the checkpoint is kept; not replayed itself."""
    mailroom: Mailroom
    on_progress: Callable[[Progress], None]
    on_waiting: Callable[[int], None]
    """Told how many Kafka records are still to come through, once everything is read."""
    drain: Drain
    """Of the Kafka that the bridge writes to when it is asked."""


def replay(job: Job, bridge: Entrance, stop: threading.Event) -> bool:
    """Read everything, and wait until it is in ClickHouse with all that follows; False when stopped before.

    Raises:
        UserError: when a source cannot be read, or Kafka does not answer.
    """
    checkpoint = Checkpoint(job.directory / "replay", job.sources)
    origins = wiring.origins_of(job.sources, job.directory)
    source = Replay(origins, wiring.intake_of(job.settings), job.mailroom, checkpoint, job.on_progress)
    try:
        source.run(bridge, stop)
        job.on_progress(source.progress)
        if not wiring.flush(bridge, stop.is_set):
            return False
        if not job.drain(stop.is_set, job.on_waiting):
            return False
        checkpoint.clear()
        return True
    finally:
        checkpoint.close()
