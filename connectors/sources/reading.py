"""From the bytes of one unit (a file, an object) through the intake into the bridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from connectors.bridge import sent_rows
from connectors.sources.gunzip import Damage, Gunzip
from schemas.dead_letters import DeadLetter, dead_letter

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from connectors.bridge import Entrance, Receipt
    from pipelines.intake.intake import Intake, Taken
    from pipelines.intake.outcomes import ObjectRef
    from pipelines.intake.provenance import Provenance


@dataclass(slots=True)
class Tally:
    """What came of the bytes read so far."""

    events: int = 0
    dead_letters: int = 0
    controls: int = 0


def read_into(
    bridge: Entrance,
    intake: Intake,
    chunks: Iterable[bytes],
    provenance: Provenance,
    receipt: Receipt,
    *,
    tally: Tally,
    stop: threading.Event,
    on_progress: Callable[[], None] = lambda: None,
) -> bool:
    """Submit all that the bytes hold; False when `stop` was set before their end (the receipt is then void).

    S3 objects that they announce are not read here: each becomes a dead letter of cause `object_not_fetched`.

    Raises:
        UserError: what the chunks or the bridge raise.
    """
    content = Gunzip(chunks)
    for taken in intake.take_stream(content, provenance):
        if stop.is_set():
            return False
        letters = taken.dead_letters + [not_fetched(ref, provenance) for ref in taken.objects]
        bridge.submit(taken.events, letters, receipt, sent_rows(taken.outbound))
        _count(tally, taken, len(letters))
        on_progress()
    if content.damage:
        bridge.submit((), [damaged(content.damage, provenance, content.given)], receipt)
        tally.dead_letters += 1
    elif not content.given:
        tally.controls += 1
    return not stop.is_set()


def damaged(damage: Damage, provenance: Provenance, size: int) -> DeadLetter:
    """The dead letter of a gzip stream that cannot be read to its end; what it held before is not in it."""
    return dead_letter(
        time=provenance.time,
        stage="read",
        cause=damage.cause,
        detail=damage.detail,
        source=provenance.uri,
        payload=b"",
        size=size,
    )


def not_fetched(ref: ObjectRef, provenance: Provenance) -> DeadLetter:
    """The dead letter of an S3 object that was announced where nothing is fetched from AWS."""
    uri = f"s3://{ref.bucket}/{ref.key}"
    return dead_letter(
        time=provenance.time,
        stage="read",
        cause="object_not_fetched",
        detail=f"{uri} is announced but not read here; replay it by its s3:// address",
        source=provenance.uri,
        payload=msgspec.json.encode(ref),
    )


def _count(tally: Tally, taken: Taken, letters: int) -> None:
    tally.events += len(taken.events)
    tally.dead_letters += letters
    tally.controls += taken.controls + len(taken.confirmations)
