"""`Replay`: reads files and S3 prefixes to their end, and resumes where it was interrupted."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from connectors.bridge import Entrance, Receipt
from connectors.sources.reading import Desk, Paper, Tally, read_into
from connectors.sources.s3 import ObjectEncrypted, ObjectMissing
from schemas.dead_letters import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from connectors.inbound.mailroom import Mailroom
    from connectors.sources.checkpoint import Checkpoint
    from connectors.sources.units import Origin, Unit
    from pipelines.intake.intake import Intake


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is."""

    bytes_done: int
    """Of `bytes_total`, as stored; units that were skipped count as done."""
    bytes_total: int
    units_done: int
    """Read or skipped; not all of them safe yet."""
    units_total: int
    skipped: int
    """Safe since an earlier, interrupted run."""
    events: int
    mails: int
    dead_letters: int
    controls: int
    """Messages about the plumbing, empty files, confirmations."""
    current: str
    """Uri of the unit being read, or just read; empty for one that is skipped."""
    current_events: int
    """Of that unit, so far."""
    current_mails: int
    current_dead_letters: int


class Replay:
    """A source that ends. It does not wait for one unit to be safe before it reads the next.

    When everything was read and has become safe the checkpoint is cleared: the next replay of the same
    sources reads all of it again, and its events are duplicates. Until then each safe unit is in the
    checkpoint.
    """

    def __init__(
        self,
        origins: Sequence[Origin],
        intake: Intake,
        mailroom: Mailroom,
        checkpoint: Checkpoint,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.name = "replay"
        self._origins = origins
        self._intake = intake
        self._mailroom = mailroom
        self._checkpoint = checkpoint
        self._on_progress = on_progress
        self._tally = Tally()
        self._before = Tally()
        self._units: list[Unit] = []
        self._bytes_total = self._bytes_done = self._units_done = self._skipped = 0
        self._current = ""
        self._lock = threading.Lock()
        self._unsafe = 0
        self._exhausted = False

    @property
    def progress(self) -> Progress:
        """How far it is now."""
        return Progress(
            bytes_done=self._bytes_done,
            bytes_total=self._bytes_total,
            units_done=self._units_done,
            units_total=len(self._units),
            skipped=self._skipped,
            events=self._tally.events,
            mails=self._tally.mails,
            dead_letters=self._tally.dead_letters,
            controls=self._tally.controls,
            current=self._current,
            current_events=self._tally.events - self._before.events,
            current_mails=self._tally.mails - self._before.mails,
            current_dead_letters=self._tally.dead_letters - self._before.dead_letters,
        )

    def run(self, bridge: Entrance, stop: threading.Event) -> None:
        """Read everything that is not safe yet.

        Raises:
            UserError: when a unit cannot be listed or read, or the bridge is broken.
        """
        self._units = [unit for origin in self._origins for unit in origin.units()]
        self._bytes_total = sum(unit.size for unit in self._units)
        for unit in self._units:
            if stop.is_set() or not self._read(unit, bridge, stop):
                return
        with self._lock:
            self._exhausted = True
        self._finish()

    def _read(self, unit: Unit, bridge: Entrance, stop: threading.Event) -> bool:
        """False when stopped before the end of the unit."""
        self._current = unit.provenance.uri
        self._before = replace(self._tally)
        before = self._bytes_done
        if unit.identity and unit.identity in self._checkpoint:
            self._current = ""
            self._skipped += 1
        else:
            with self._lock:
                self._unsafe += 1
            receipt = Receipt(lambda: self._safe(unit))
            if not self._submit(unit, bridge, receipt, stop):
                return False
            receipt.close()
        self._bytes_done = before + unit.size
        self._units_done += 1
        self._report()
        return True

    def _submit(self, unit: Unit, bridge: Entrance, receipt: Receipt, stop: threading.Event) -> bool:
        try:
            desk = Desk(self._intake, self._mailroom, bridge, stop)
            paper = Paper(unit.provenance, receipt, self._tally, unit.size, on_progress=self._report)
            return read_into(desk, self._counted(unit), paper)
        except (ObjectMissing, ObjectEncrypted) as error:
            gone = "; it was there when its prefix was listed" if isinstance(error, ObjectMissing) else ""
            letter = dead_letter(
                time=unit.provenance.time,
                stage="read",
                cause=error.cause,
                detail=f"{error}{gone}",
                source=unit.provenance.uri,
                payload=b"",
            )
            bridge.submit((), [letter], receipt)
            self._tally.dead_letters += 1
            return True

    def _counted(self, unit: Unit) -> Iterator[bytes]:
        for chunk in unit.chunks():
            self._bytes_done += len(chunk)
            yield chunk

    def _report(self) -> None:
        self._on_progress(self.progress)

    def _safe(self, unit: Unit) -> None:
        """Runs in a thread of the bridge."""
        if unit.identity:
            self._checkpoint.add(unit.identity)
        with self._lock:
            self._unsafe -= 1
        self._finish()

    def _finish(self) -> None:
        with self._lock:
            if not self._exhausted or self._unsafe:
                return
            self._exhausted = False
        self._checkpoint.clear()
