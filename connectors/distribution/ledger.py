"""`Ledger`: which mails have been sent on, or may have been, as the rows of `mail.forwards` have it. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from schemas.forwards import FINAL, INTENDED

if TYPE_CHECKING:
    from schemas.forwards import MailForward

_REMEMBERED_MS: Final = 400 * 86_400_000
"""Rows written longer ago are left out, so that memory does not grow for ever: about 100 bytes a mail."""


class Ledger:
    """For one thread. Takes the rows of a mail in their order; those of the past, once each, in any."""

    def __init__(self) -> None:
        self._final: set[bytes] = set()
        self._live: dict[bytes, dict[str, int]] = {}
        """By mail and attempt, when it was intended; in the order of their rows."""

    def take(self, row: MailForward, now_ms: int) -> None:
        """Learn of a row."""
        mail_id, attempt = row["mail_id"], row["attempt"]
        if now_ms - row["time"] > _REMEMBERED_MS:
            return
        if row["outcome"] in FINAL:
            self._final.add(mail_id)
            self._live.pop(mail_id, None)
        elif row["outcome"] == INTENDED:
            if mail_id not in self._final:
                self._live.setdefault(mail_id, {}).setdefault(attempt, row["time"])
        elif live := self._live.get(mail_id):
            live.pop(attempt, None)
            if not live:
                del self._live[mail_id]

    @property
    def empty(self) -> bool:
        """Whether there are no rows: nothing was ever sent on."""
        return not self._final and not self._live

    def is_final(self, mail_id: bytes) -> bool:
        """Whether nothing more is to be done about a mail."""
        return mail_id in self._final

    def intended_at(self, mail_id: bytes) -> int:
        """When it was last intended to send a mail, of what may have been done; 0: never."""
        return max(self._live.get(mail_id, {"": 0}).values())

    def may_send(self, mail_id: bytes, attempt: str) -> bool:
        """Whether a mail may be sent by an attempt, once all rows up to its intent are taken."""
        return mail_id not in self._final and next(iter(self._live.get(mail_id, ())), "") == attempt
