"""The one door: bytes in; events, rejections and side notes out. Nothing here raises, whatever the bytes."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from pipelines.intake.envelopes import Rejection
from pipelines.intake.framing import Document, Frame, Splitter
from pipelines.intake.normalise import Normaliser
from pipelines.intake.outbound import Outbound
from pipelines.intake.outcomes import (
    Confirmation,
    Control,
    MailContent,
    MailElsewhere,
    MailObject,
    ObjectRef,
    SesPayload,
)
from pipelines.intake.unwrap import letter, refused, unwrap
from schemas.events import FUTURE_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pipelines.intake.outcomes import Outcome
    from pipelines.intake.policy import NormalisePolicy
    from pipelines.intake.provenance import Provenance
    from schemas.dead_letters import DeadLetter
    from schemas.events import SesEvent
    from schemas.mail import OutboundMessage

_CHUNK: Final = 256 * 1024
"""Bytes framed at a time: some 200 events, which become one `Taken` of about a megabyte."""

_KEPT_BY_OTHERS: Final = frozenset({"Lambda", "Bounce", "Stop", "WorkMail"})
"""Receipt actions whose topic tells of a mail that is stored, refused or delivered by something else."""

_NOT_INCLUDED: Final = (
    "A notification of received mail that neither holds the mail nor names its object: let the rule store mails in S3"
    " before, and name bucket and prefix in inbound.objects."
)

_BATCH: Final = 1000
"""Frames to a `Taken` at the most: a file of `{}{}{}…` holds a thousand times as many as one of events."""


@dataclass(slots=True)
class Taken:
    """What came of some bytes, in their order."""

    events: list[SesEvent] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    objects: list[ObjectRef] = field(default_factory=list)
    """S3 objects that were announced; the source reads them, then acknowledges the announcement."""
    mails: list[MailContent | MailObject] = field(default_factory=list)
    """Received mails; the source reads them, then acknowledges what brought them."""
    outbound: list[OutboundMessage] = field(default_factory=list)
    """What threads want to know of messages sent."""
    confirmations: list[Confirmation] = field(default_factory=list)
    controls: int = 0
    """Messages about the plumbing, which need nothing done."""
    control_kinds: Counter[str] = field(default_factory=Counter)
    """Of what kinds they are."""

    def control(self, kind: str) -> None:
        """One message about the plumbing more."""
        self.controls += 1
        self.control_kinds[kind] += 1


class Intake:
    """Unwraps, parses and normalises. Not thread-safe: one for each thread."""

    def __init__(self, policy: NormalisePolicy, clock: Callable[[], float] = time.time) -> None:
        """Args: the policy; and seconds since the epoch, looked at once for each `Taken`."""
        self._normaliser = Normaliser(policy)
        self._outbound = Outbound(policy.outbound) if policy.outbound else None
        self._mail_objects = policy.mail_objects
        self._clock = clock

    def take(self, document: bytes, provenance: Provenance, offset: int = 0) -> Taken:
        """One document, such as the body of a queue's message; `offset` is its place in the source."""
        taken = self._begin()
        self._add(taken, document, provenance, offset)
        return taken

    def take_stream(self, chunks: Iterable[bytes], provenance: Provenance) -> Iterator[Taken]:
        """A decompressed file or object of any size, in bounded memory; many records to a `Taken`.

        What `chunks` raises passes through; the frames before it have been yielded.
        """
        splitter = Splitter()
        for chunk in chunks:
            for start in range(0, len(chunk), _CHUNK):
                yield from self._batches(splitter.feed(chunk[start : start + _CHUNK]), provenance)
        yield from self._batches(splitter.finish(), provenance)

    def _batches(self, frames: list[Frame], provenance: Provenance) -> Iterator[Taken]:
        for start in range(0, len(frames), _BATCH):
            yield self._take_frames(frames[start : start + _BATCH], provenance)

    def _take_frames(self, frames: Iterable[Frame], provenance: Provenance) -> Taken:
        taken = self._begin()
        for frame in frames:
            if isinstance(frame, Document):
                self._add(taken, frame.data, provenance, frame.offset)
            else:
                taken.dead_letters.append(letter(refused(frame), provenance, frame.offset))
        return taken

    def _begin(self) -> Taken:
        self._normaliser.horizon = int(self._clock() * 1000) + FUTURE_MS
        return Taken()

    def _add(self, taken: Taken, document: bytes, provenance: Provenance, offset: int) -> None:
        try:
            outcomes = unwrap(document, provenance, offset)
            for outcome in outcomes:
                self._sort(taken, outcome, provenance, offset)
        except Exception:  # noqa: BLE001 - a bug that one record uncovers must not stop the others
            rejection = Rejection("parse", "internal_error", traceback.format_exc(), document)
            taken.dead_letters.append(letter(rejection, provenance, offset))

    def _elsewhere(self, taken: Taken, outcome: MailElsewhere, provenance: Provenance, offset: int) -> None:
        if self._mail_objects and outcome.notice.ses_id:
            bucket, prefix = self._mail_objects
            ref = ObjectRef(bucket, prefix + outcome.notice.ses_id, "", -1, "", "Received")
            taken.mails.append(MailObject(ref, outcome.notice))
        elif outcome.action in _KEPT_BY_OTHERS:
            taken.control(f"receipt_{outcome.action.lower()}")
        else:
            rejection = Rejection("unwrap", "mail_not_included", _NOT_INCLUDED, _facts(outcome))
            taken.dead_letters.append(letter(rejection, provenance, offset))

    def _sort(
        self,
        taken: Taken,
        outcome: Outcome,
        provenance: Provenance,
        offset: int,
    ) -> None:
        if isinstance(outcome, SesPayload):
            event = self._normaliser.normalise(outcome, provenance, offset)
            if isinstance(event, Rejection):
                taken.dead_letters.append(letter(event, provenance, offset))
            else:
                taken.events.append(event)
                if self._outbound and (row := self._outbound.of(event, outcome.payload)):
                    taken.outbound.append(row)
        elif isinstance(outcome, ObjectRef):
            taken.objects.append(outcome)
        elif isinstance(outcome, MailContent | MailObject):
            taken.mails.append(outcome)
        elif isinstance(outcome, Confirmation):
            taken.confirmations.append(outcome)
        elif isinstance(outcome, MailElsewhere):
            self._elsewhere(taken, outcome, provenance, offset)
        elif isinstance(outcome, Control):
            taken.control(outcome.kind)
        else:
            taken.dead_letters.append(outcome)


def _facts(outcome: MailElsewhere) -> bytes:
    """Of a mail that we cannot get: what its notification says of it."""
    notice = outcome.notice
    return msgspec.json.encode(
        {
            "action": outcome.action,
            "messageId": notice.ses_id,
            "source": notice.envelope_from,
            "recipients": notice.recipients,
        }
    )
