"""One replay: into an embedded instance, be it its own part or from outside, or into a production Kafka."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.cli import wiring
from connectors.sources.checkpoint import Checkpoint
from connectors.sources.replay import Replay
from connectors.sources.units import Unit

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from connectors.bridge import Bridge
    from connectors.settings import Settings
    from connectors.sources.replay import Progress
    from connectors.sources.units import Origin


class Recycle(Exception):  # noqa: N818 - a request
    """The instance wants to end this generation: a good point is reached."""


@dataclass(frozen=True, slots=True)
class Gate:
    """An origin whose units are not begun any more once a recycle is wanted."""

    origin: Origin
    wanted: Callable[[], bool]

    def units(self) -> Iterator[Unit]:
        """The origin's, each behind the gate."""
        for unit in self.origin.units():
            yield Unit(unit.provenance, unit.size, unit.identity, self._behind(unit))

    def _behind(self, unit: Unit) -> Callable[[], Iterator[bytes]]:
        def chunks() -> Iterator[bytes]:
            if self.wanted():
                raise Recycle
            yield from unit.chunks()

        return chunks


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be replayed, and who is told."""

    settings: Settings
    sources: Sequence[str]
    """As `wiring.absolute` gives them."""
    directory: Path
    """Where the checkpoint is kept; not replayed itself."""
    on_progress: Callable[[Progress], None]
    on_waiting: Callable[[int], None] = lambda _: None
    """Told how many Kafka records are still to come through, once everything is read."""
    recycle: Callable[[], bool] = lambda: False


def replay(job: Job, bridge: Bridge, stop: threading.Event) -> bool:
    """Read everything, and wait until it is in ClickHouse with all that follows; False when stopped before.

    Raises:
        Recycle: when that was wanted: what was begun is submitted, the rest is not.
        UserError: when a source cannot be read, or Kafka does not answer.
    """
    checkpoint = Checkpoint(job.directory / "replay", job.sources)
    origins = [Gate(origin, job.recycle) for origin in wiring.origins_of(job.sources, job.directory)]
    source = Replay(origins, wiring.intake_of(job.settings), checkpoint, job.on_progress)
    try:
        source.run(bridge, stop)
        job.on_progress(source.progress)
        if not wiring.flush(bridge, stop.is_set):
            return False
        if not wiring.drain(job.settings, stop.is_set, job.on_waiting):
            return False
        checkpoint.clear()
        return True
    finally:
        checkpoint.close()
