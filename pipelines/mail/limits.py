"""What ends the reading of a mail: `MailRefused`, and what a sound mail never comes near."""

from __future__ import annotations

from typing import Final

VALUE_CHARACTERS: Final = 64 * 1024
"""Of a field that is taken apart (addresses, parameters, ids): what is beyond is not looked at."""

ADDRESSES: Final = 1_000
"""Of a field; each costs the library some 30 µs."""

ADDRESS_CHARACTERS: Final = 512
"""RFC 5321, 4.5.3.1: 64 octets of local part, 255 of domain; what is much longer is no address."""

TEXT_BYTES: Final = 1024 * 1024
"""Of a part that are decoded for reading; its `content` is whole."""

TEXTS_BYTES: Final = 4 * TEXT_BYTES
"""Of all parts of a mail: text takes up to four bytes a character."""

DEFECTS: Final = 50
"""Words: a mail may be broken in more ways than anybody wants to know."""


class MailRefused(Exception):  # noqa: N818 - its name is its meaning: nothing went wrong with us
    """A mail that is not taken apart: beyond a limit, or no mail."""

    def __init__(self, cause: str, detail: str) -> None:
        """Args: a word, such as `too_many_parts`; and a sentence."""
        super().__init__(detail)
        self.cause = cause
        self.detail = detail
