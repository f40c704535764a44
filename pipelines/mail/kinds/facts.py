"""`Facts`: what several kinds ask of a mail, found out once."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

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

_DAEMONS: Final = frozenset(
    {
        "mailer-daemon",
        "mailerdaemon",
        "mail-daemon",
        "maildaemon",
        "mailer_daemon",
        "mailer",
        "postmaster",
        "mta-admin",
        "post_master",
        "mail-delivery",
        "maildelivery",
        "mdaemon",
        "mmdf",
    }
)
"""Local parts that programs write bounces from (RFC 5321, 4.5.1 names Postmaster; the rest is practice)."""
_PASSED_ON: Final = re.compile(
    r"(?:re|fwd?|wg|aw|tr|rv|enc|i|vs|doorst|转发|轉寄|転送)[ \t]?[:\uff1a]", re.IGNORECASE
)
_COMMENT: Final = re.compile(r"\([^()]*\)")


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
        value = self.first("from").lower()
        local = self.sender.partition("@")[0]
        return (
            local in _DAEMONS
            or "mailer-daemon" in value
            or "mail delivery s" in value
            or local.startswith(("bounce", "postmaster"))
            or (not self.sender and ("delivery" in value or "<>" in value))
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
        return self.precedence == "list" or self.has("list-id", "list-post")

    @cached_property
    def unattended(self) -> bool:
        """Whether its From says that nobody reads answers."""
        local = self.sender.partition("@")[0]
        return local.replace("-", "").replace("_", "").replace(".", "").startswith(("noreply", "donotreply"))

    @cached_property
    def machine(self) -> bool:
        """Whether a machine wrote it, as far as its header says outright."""
        said = self.submitted not in ("", "no")
        return said or self.daemon or self.null_sender or self.unattended or self.has("x-failed-recipients")

    @cached_property
    def passed_on(self) -> bool:
        """Whether somebody sent on what he had received: its parts are then not its own."""
        return not self.machine and _PASSED_ON.match(self.subject) is not None

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


def lines_of(text: str) -> list[str]:
    """Lines as far as they are looked at, whatever ends them."""
    cut = text[:TEXT].replace("\r\n", "\n").replace("\r", "\n")
    return [line[:LINE].rstrip() for line in cut.split("\n", LINES)[:LINES]]
