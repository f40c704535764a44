"""`Chosen`: which received mails are for distribution, by the recipients of their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.mail.addresses import Pseudonyms
    from schemas.mail import InboundMail

_ALL_OF: Final = "*@"


class Chosen:
    """Rows hold addresses as keyed hashes, so those of the settings are hashed to be compared."""

    def __init__(self, recipients: Iterable[str], pseudonyms: Pseudonyms) -> None:
        self.domains = frozenset(
            each.removeprefix(_ALL_OF).lower() for each in recipients if each.startswith(_ALL_OF)
        )
        self.addresses = frozenset(
            pseudonyms.recipient(each.lower()).address for each in recipients if not each.startswith(_ALL_OF)
        )

    def __call__(self, mail: InboundMail) -> bool:
        """Whether a mail is."""
        return any(
            each["domain"] in self.domains or each["address"].lower() in self.addresses
            for each in mail["recipients"]
        )
