"""`Facts`: what several kinds ask of a mail, found out once."""

from __future__ import annotations

import re
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING, Final

import msgspec

from pipelines.mail.addresses import listed

if TYPE_CHECKING:
    from pipelines.mail.notice import Notice
    from pipelines.mail.parsed import ParsedMail

VALUE: Final = 2_000
"""Characters of a header field's value that are looked at: what is longer says nothing more of a kind."""
TEXT: Final = 64 * 1024
"""Characters of a text that are looked at."""
LINES: Final = 1_500
"""Lines of a text that are looked at, and no more than `LINE` characters of each."""
LINE: Final = 1_000

_COMMENT: Final = re.compile(r"\([^()]*\)")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`machines.toml`."""

    daemons: frozenset[str]
    daemons_within: tuple[str, ...]
    daemons_begin: tuple[str, ...]
    unattended: tuple[str, ...]
    passed_on: frozenset[str]


@cache
def table() -> Table:
    """The table.

    Raises:
        msgspec.ValidationError: if it has an unknown key or a wrong type.
    """
    data = resources.files("pipelines.mail.kinds").joinpath("machines.toml").read_bytes()
    return msgspec.toml.decode(data, type=Table)


class Facts:
    """Of one mail."""

    def __init__(self, mail: ParsedMail, notice: Notice | None) -> None:
        self.mail = mail
        self.notice = notice

    def has(self, *names: str) -> bool:
        """Whether it has a field of one of these names."""
        return any(self.mail.headers.all(name) for name in names)

    def first(self, name: str) -> str:
        """The first value of a field; stripped and cut to `VALUE`."""
        return self.mail.headers.get(name)[:VALUE].strip()

    def every(self, name: str) -> list[str]:
        """All values of a field; each cut to `VALUE`."""
        return [value[:VALUE].strip() for value in self.mail.headers.all(name)]

    def word(self, name: str) -> str:
        """The first word of a value in lower case, without comments and parameters (RFC 3834, section 5)."""
        value = _COMMENT.sub(" ", self.first(name)[:VALUE]).partition(";")[0].split()
        return value[0].lower() if value else ""

    @cached_property
    def subject(self) -> str:
        """In one line."""
        return " ".join(self.first("subject")[:500].split())

    @cached_property
    def sender(self) -> str:
        """The address of From in lower case."""
        return next(iter(listed(self.mail.headers, "from")), "").lower()

    @cached_property
    def daemon(self) -> bool:
        """Whether its From is that of a program which reports on mail."""
        rows, value = table(), self.first("from").lower()
        local = self.sender.partition("@")[0]
        return (
            local in rows.daemons
            or local.startswith(rows.daemons_begin)
            or any(words in value for words in rows.daemons_within)
            or (not self.sender and "<>" in value)
        )

    @cached_property
    def null_sender(self) -> bool:
        """Whether it came from nobody (`Return-Path: <>`, RFC 5321, 4.5.5): nothing may answer it."""
        if not self.has("return-path"):
            return False
        value = self.first("return-path").lower()
        return value in ("", "<>") or "mailer-daemon" in value

    @cached_property
    def submitted(self) -> str:
        """`Auto-Submitted` (RFC 3834, section 5): `no`, `auto-generated`, `auto-replied`, … or empty."""
        return self.word("auto-submitted")

    @property
    def precedence(self) -> str:
        """`bulk`, `list`, `junk`, … or empty."""
        return self.word("precedence")

    @cached_property
    def listed(self) -> bool:
        """Whether it came through a mailing list: its header fields are then in part those of the list."""
        return (
            self.precedence == "list"
            or self.has("list-id", "list-post", "mailing-list", "x-mailing-list")
            or self.first("sender").lower().startswith("owner-")
        )

    @cached_property
    def unattended(self) -> bool:
        """Whether its From says that nobody reads answers."""
        local = self.sender.partition("@")[0]
        return local.replace("-", "").replace("_", "").replace(".", "").startswith(table().unattended)

    @cached_property
    def machine(self) -> bool:
        """Whether a machine wrote it, as far as its header says outright."""
        said = self.submitted not in ("", "no")
        return said or self.daemon or self.null_sender or self.unattended or self.has("x-failed-recipients")

    @cached_property
    def prefixed(self) -> bool:
        """Whether its subject begins as an answer's does, or as that of what is sent on."""
        before, colon, _ = self.subject.replace("\uff1a", ":").partition(":")
        return colon != "" and before.strip().lower() in table().passed_on

    @property
    def passed_on(self) -> bool:
        """Whether somebody sent on what he had received: its parts are then not its own."""
        return not self.machine and self.prefixed

    @cached_property
    def answers(self) -> bool:
        """Whether it names a message that it answers."""
        return bool(self.first("in-reply-to") or self.first("references"))

    @cached_property
    def failed(self) -> list[str]:
        """`X-Failed-Recipients`: Exim's, Gmail's and Mail.ru's."""
        return listed(self.mail.headers, "x-failed-recipients")

    @cached_property
    def lines(self) -> list[str]:
        """Lines of what a person would read, as many as are looked at."""
        return lines_of(self.mail.text)

    @cached_property
    def lowered(self) -> list[str]:
        """`lines` in lower case."""
        return [line.lower() for line in self.lines]


def lines_of(text: str) -> list[str]:
    """Lines as far as they are looked at, whatever ends them."""
    cut = text[:TEXT].replace("\r\n", "\n").replace("\r", "\n")
    return [line[:LINE].rstrip() for line in cut.split("\n", LINES)[:LINES]]
