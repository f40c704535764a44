"""`MailRows`: what of a unit goes to the mail topics; and which record goes where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from schemas import topics
from schemas.partitioning import of_message, of_tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from schemas.mail import DmarcRecord, InboundMail, OutboundMessage, TlsResult


@dataclass(frozen=True, slots=True)
class MailRows:
    """Rows of received mail, and of messages sent as far as threads want to know of them."""

    mails: Iterable[InboundMail] = ()
    outbound: Iterable[OutboundMessage] = ()
    dmarc: Iterable[DmarcRecord] = ()
    tls: Iterable[TlsResult] = ()

    def by_record(self) -> Iterator[tuple[str, Iterable[Any]]]:
        """The name of the Avro record of each, and its rows."""
        return iter(
            (
                ("inbound_mail", self.mails),
                ("outbound_message", self.outbound),
                ("dmarc_record", self.dmarc),
                ("tls_result", self.tls),
            )
        )


NO_MAIL: Final = MailRows()


def sent_rows(outbound: Iterable[OutboundMessage]) -> MailRows:
    """Rows of messages sent alone; usually there are none."""
    return MailRows(outbound=outbound) if outbound else NO_MAIL


def _of_row(name: str) -> Callable[[Any, int], int]:
    """By the first bytes of an id, which is a hash."""
    return lambda row, partitions: int.from_bytes(row[name][:4], "big") % partitions


PLACES: Final[dict[str, tuple[str, Callable[[Any, int], int]]]] = {
    "ses_event": (topics.EVENTS, lambda row, partitions: of_message(row["message_id"], partitions)),
    "dead_letter": (topics.DEAD_LETTERS, _of_row("dead_letter_id")),
    "inbound_mail": (topics.INBOUND, lambda row, partitions: of_tenant(row["tenant"], partitions)),
    "outbound_message": (topics.OUTBOUND, lambda row, partitions: of_tenant(row["tenant"], partitions)),
    "dmarc_record": (topics.REPORTS, _of_row("mail_id")),
    "tls_result": (topics.REPORTS, _of_row("mail_id")),
}
"""Topic of each record that a bridge writes, and how the partition of a row is told."""

OF_TENANTS: Final = frozenset({"inbound_mail", "outbound_message"})
"""Records that tenants have partitions for, if tenants are told apart at all."""
