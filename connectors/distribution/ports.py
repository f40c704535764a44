"""What the forwarder asks of the outside, each a small Protocol; and why something is to be tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from schemas.forwards import MailForward


class Later(Exception):  # noqa: N818 - named by what it says
    """Nothing is wrong with the mail: try again. `reason` is a sentence."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Book(Protocol):
    """Where rows of `mail.forwards` are written; for one thread."""

    def record(self, row: MailForward) -> None:
        """Write a row. Returns once it is durable, and the ledger has taken all rows of its partition up to it.

        Raises:
            UserError: it is not known to be durable. Whoever asked must begin anew, with what the topic holds.
        """


class Mails(Protocol):
    """Raw mails."""

    def read(self, uri: str) -> bytes:
        """A mail.

        Raises:
            Later: it cannot be read now.
            Unsuitable: it never can be.
        """


class Sender(Protocol):
    """Sends mail."""

    def send(self, raw: bytes, recipients: Sequence[str]) -> str:
        """Send a raw mail, once; gives SES's id of it.

        Raises:
            NotDelivered: it was not sent; or nobody knows (`unknown`).
        """


class Fallback(Protocol):
    """Who is told of what is not sent."""

    def tell(self, mail_id: bytes, message: Mapping[str, Any]) -> str:
        """Tell; gives the id of the message. The same may be told twice; empty: there is nobody to tell.

        Raises:
            NotDelivered: it was not taken, or nobody knows.
        """
