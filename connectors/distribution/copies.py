"""Copies of one mail that came by several ways: what one of them does not say, another may."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from schemas.mail import InboundMail, Verdicts


def together(mail: InboundMail, other: InboundMail) -> InboundMail:
    """A mail, with what only another copy of it says: where its bytes are, and SES's verdicts."""
    verdicts = cast("dict[str, str]", mail["verdicts"])
    said = cast("dict[str, str]", other["verdicts"])
    filled = {name: verdict or said.get(name, "") for name, verdict in verdicts.items()}
    return {
        **mail,
        "object": mail["object"] or other["object"],
        "path": other["path"] if mail["path"] == "file" else mail["path"],
        "verdicts": cast("Verdicts", filled),
    }


def is_whole(mail: InboundMail) -> bool:
    """Whether a mail's bytes are somewhere, and SES says anything of who sent it."""
    verdicts = mail["verdicts"]
    return bool(mail["object"]) and any((verdicts["spf"], verdicts["dkim"], verdicts["dmarc"]))
