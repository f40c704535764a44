"""From the bytes of one unit (a file, an object) to what it holds, and into the bridge."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from connectors.bridge import sent_rows
from connectors.inbound.mailroom import Origin
from connectors.sources.gunzip import Damage, Gunzip
from pipelines.intake.mbox import MboxSplitter
from pipelines.intake.outcomes import MailContent
from pipelines.intake.provenance import Provenance
from pipelines.intake.receipts import SETUP
from pipelines.intake.sniffing import is_mbox, looks_like_mail
from schemas.dead_letters import DeadLetter, dead_letter

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator

    from connectors.bridge import Entrance, Receipt
    from connectors.inbound.mailroom import Mailroom, Read
    from connectors.inbound.spool import Spool
    from pipelines.intake.intake import Intake, Taken
    from pipelines.intake.outcomes import ObjectRef
    from pipelines.mail.notice import Notice

_HEAD: Final = 4096
"""Bytes by which it is known what a unit holds."""
_JSON: Final = (b"{", b"[")
_SUFFIXES: Final = (".eml", ".eml.gz")

What = Literal["events", "mail", "mbox", "setup"]


@dataclass(slots=True)
class Tally:
    """What came of the bytes read so far."""

    events: int = 0
    mails: int = 0
    dead_letters: int = 0
    controls: int = 0


@dataclass(frozen=True, slots=True)
class Desk:
    """What turns bytes into rows, and where those go. For one thread, as its intake is."""

    intake: Intake
    mailroom: Mailroom
    bridge: Entrance
    stop: threading.Event


@dataclass(frozen=True, slots=True)
class Paper:
    """A unit on a desk."""

    provenance: Provenance
    receipt: Receipt
    tally: Tally = field(default_factory=Tally)
    size: int = 0
    """Bytes as stored; 0: not known."""
    notice: Notice | None = None
    """Of a unit that is said to be a mail."""
    on_progress: Callable[[], None] = lambda: None

    @property
    def mail_path(self) -> str:
        """Path of mails in it: an object is one whoever stored it."""
        return "s3" if self.provenance.uri.startswith("s3://") else self.provenance.path


def read_into(desk: Desk, chunks: Iterable[bytes], paper: Paper) -> bool:
    """Submit all that the bytes hold; False when told to stop before their end (the receipt is then void).

    S3 objects that they announce are not read here: each becomes a dead letter of cause `object_not_fetched`.

    Raises:
        UserError: what the chunks, the bridge or the store of attachments raise.
    """
    content = Gunzip(chunks)
    head, stream = _peek(content)
    what = _what(head, paper)
    if what == "setup":
        paper.tally.controls += 1
        return not desk.stop.is_set()
    read = {"events": _events, "mail": _mail, "mbox": _mbox}[what]
    if not read(desk, stream, paper):
        return False
    if content.damage:
        letter = damaged(content.damage, paper.provenance, content.given)
        desk.bridge.submit((), [letter], paper.receipt)
        paper.tally.dead_letters += 1
    elif not content.given and what == "events":
        paper.tally.controls += 1
    return not desk.stop.is_set()


def take_mails(desk: Desk, taken: Taken, provenance: Provenance, receipt: Receipt, tally: Tally) -> None:
    """Submit the mails that were in what was taken; objects that are mails are the caller's.

    Raises:
        UserError: what the bridge or the store of attachments raise.
    """
    for mail in taken.mails:
        if isinstance(mail, MailContent):
            read = desk.mailroom.read_content(mail.raw, mail.notice, provenance, mail.path)
            _submit(desk, read, receipt, tally)


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


def letters(taken: Taken, provenance: Provenance) -> list[DeadLetter]:
    """Its dead letters, and one for each S3 object it announces."""
    announced = (*taken.objects, *(mail.ref for mail in taken.mails if not isinstance(mail, MailContent)))
    return taken.dead_letters + [not_fetched(ref, provenance) for ref in announced]


def _peek(content: Gunzip) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all of them."""
    pieces: list[bytes] = []
    stream = iter(content)
    held = 0
    for piece in stream:
        pieces.append(piece)
        held += len(piece)
        if held >= _HEAD:
            break
    return b"".join(pieces)[:_HEAD], chain(pieces, stream)


def _what(head: bytes, paper: Paper) -> What:
    uri = paper.provenance.uri
    if uri.endswith("/" + SETUP):
        return "setup"
    if paper.notice is not None or looks_like_mail(head):
        return "mail"
    if is_mbox(head):
        return "mbox"
    named = uri.lower().endswith(_SUFFIXES) and head.strip() and not head.lstrip().startswith(_JSON)
    return "mail" if named else "events"


def _events(desk: Desk, stream: Iterator[bytes], paper: Paper) -> bool:
    tally, provenance = paper.tally, paper.provenance
    for taken in desk.intake.take_stream(stream, provenance):
        if desk.stop.is_set():
            return False
        rejected = letters(taken, provenance)
        desk.bridge.submit(taken.events, rejected, paper.receipt, sent_rows(taken.outbound))
        tally.events += len(taken.events)
        tally.dead_letters += len(rejected)
        tally.controls += taken.controls + len(taken.confirmations)
        if taken.mails:
            take_mails(desk, taken, provenance, paper.receipt, tally)
        paper.on_progress()
    return True


def _mail(desk: Desk, stream: Iterator[bytes], paper: Paper) -> bool:
    with desk.mailroom.spool() as spool:
        for piece in stream:
            if desk.stop.is_set():
                return False
            spool.add(piece)
            if spool.full:
                spool.size = max(spool.size, paper.size)
                break
        _submit_spooled(desk, spool, paper, paper.provenance)
    return True


def _mbox(desk: Desk, stream: Iterator[bytes], paper: Paper) -> bool:
    splitter = MboxSplitter()
    pieces = chain(chain.from_iterable(map(splitter.feed, stream)), splitter.finish())
    spool, at = desk.mailroom.spool(), paper.provenance
    try:
        for piece in pieces:
            if isinstance(piece, bytes):
                spool.add(piece)
                continue
            _submit_begun(desk, spool, paper, at)
            if desk.stop.is_set():
                return False
            source = paper.provenance
            spool, at = desk.mailroom.spool(), Provenance(source.at(piece), source.time, source.path)
        _submit_begun(desk, spool, paper, at)
    finally:
        spool.close()
    return True


def _submit_begun(desk: Desk, spool: Spool, paper: Paper, at: Provenance) -> None:
    """Of a mail that has ended; of none before the first."""
    with spool:
        if spool.size:
            _submit_spooled(desk, spool, paper, at)


def _submit_spooled(desk: Desk, spool: Spool, paper: Paper, at: Provenance) -> None:
    uri = at.uri if at.uri.startswith(("s3://", "file://")) else ""
    read = desk.mailroom.read_spooled(spool, Origin(paper.notice, at, paper.mail_path, uri))
    _submit(desk, read, paper.receipt, paper.tally)
    paper.on_progress()


def _submit(desk: Desk, read: Read, receipt: Receipt, tally: Tally) -> None:
    desk.bridge.submit((), read.dead_letters, receipt, read.rows)
    tally.mails += 1
    tally.dead_letters += len(read.dead_letters)
