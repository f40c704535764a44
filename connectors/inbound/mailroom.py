"""`Mailroom`: from the bytes of a mail to the rows that are submitted, its attachments stored."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from connectors.bridge.rows import MailRows
from connectors.inbound.budget import Budget
from connectors.inbound.spool import Spool
from pipelines.mail.outcome import Content
from pipelines.mail.parsed import Headers
from pipelines.mail.reading import MailReader
from pipelines.mail.tenants import tenant_of

if TYPE_CHECKING:
    import mmap

    from connectors.attachments.store import AttachmentStore
    from pipelines.intake.provenance import Provenance
    from pipelines.mail.notice import Notice
    from pipelines.mail.outcome import MailRead
    from pipelines.mail.policy import MailPolicy
    from schemas.dead_letters import DeadLetter
    from schemas.mail import InboundMail

_MEMORY: Final = 128 * 1024 * 1024


@dataclass(slots=True)
class Numbers:
    """What became of mails since the start."""

    mails: int = 0
    bytes: int = 0
    rejected: int = 0
    """Those with a dead letter."""
    contents: int = 0
    """Attachments given to the store, again and again included."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, size: int, contents: int, *, rejected: bool) -> None:
        """One more."""
        with self._lock:
            self.mails += 1
            self.bytes += size
            self.contents += contents
            self.rejected += rejected


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a mail is from."""

    notice: Notice | None
    provenance: Provenance
    path: str
    """Of the row."""
    uri: str = ""
    """Where it can be read again; empty: nowhere."""


@dataclass(frozen=True, slots=True)
class Read:
    """What is to be submitted of a mail."""

    rows: MailRows
    dead_letters: list[DeadLetter]


class Mailroom:
    """Reads mails for all threads of a process, as many at once as there is memory for.

    Nothing of a mail is given back before its attachments are stored: so whoever then submits the rows and acknowledges
    only once they are safe never has a row whose attachment is missing.
    """

    def __init__(
        self, policy: MailPolicy, store: AttachmentStore | None = None, *, memory: int = _MEMORY
    ) -> None:
        """Args: how mails are read; where attachments are kept; bytes of mails that are read at once."""
        self._policy = policy
        self._store = store
        self._budget = Budget(memory)
        self._of_thread = threading.local()
        """`reader`: a reader is not thread-safe."""
        self.numbers = Numbers()

    def spool(self) -> Spool:
        """For the bytes of a mail, up to the size that is read."""
        return Spool(self._policy.limits.size)

    def tenant_of(self, notice: Notice) -> str:
        """The tenant that the envelope's recipients name, before anything is read; empty: none."""
        return tenant_of(self._policy.tenants, notice.recipients, Headers())

    def read_content(self, raw: bytes, notice: Notice, provenance: Provenance, path: str) -> Read:
        """A mail that came as bytes and is nowhere else: it is stored as an attachment is, if there is a store.

        Raises:
            StoreError: when the store does not take it now.
        """
        uri = ""
        if self._store is not None and len(raw) <= self._policy.limits.size:
            digest = hashlib.sha256(raw).hexdigest()
            uri = self._store.put(Content(digest, "mail.eml", "message/rfc822", raw))
        with self._budget.of(len(raw)):
            return self._read(raw, len(raw), Origin(notice, provenance, path, uri))

    def read_spooled(self, spool: Spool, origin: Origin) -> Read:
        """A mail that was gathered.

        Raises:
            StoreError: when the store does not take an attachment now.
        """
        with self._budget.of(min(spool.size, self._policy.limits.size)), spool.raw() as raw:
            return self._read(raw, spool.size, origin)

    def _read(self, raw: bytes | mmap.mmap, size: int, origin: Origin) -> Read:
        read = self._reader().read(
            raw, origin.notice, origin.provenance, object_uri=origin.uri, path=origin.path
        )
        if size > len(raw):
            # Too large to be kept: its size is still the whole.
            read.mail["size"] = size
            for letter in read.dead_letters:
                letter["payload_size"] = size
        self._keep(read)
        self.numbers.add(size, len(read.contents), rejected=bool(read.dead_letters))
        rows = MailRows(mails=(read.mail,), dmarc=read.dmarc, tls=read.tls)
        return Read(rows, read.dead_letters)

    def _keep(self, read: MailRead) -> None:
        """Store its attachments, and say in its row where they are."""
        if self._store is None:
            return
        keys = {content.sha256: self._store.put(content) for content in read.contents}
        _name(read.mail, keys)

    def _reader(self) -> MailReader:
        reader: MailReader | None = getattr(self._of_thread, "reader", None)
        if reader is None:
            reader = self._of_thread.reader = MailReader(self._policy)
        return reader


def _name(mail: InboundMail, keys: dict[str, str]) -> None:
    for attachment in mail["attachments"]:
        attachment["key"] = keys.get(attachment["sha256"], "")
