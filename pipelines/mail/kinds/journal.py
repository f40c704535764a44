"""Journal reports: an envelope in text, and the mail that it is about attached."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.mail.kinds.facts import Facts
    from pipelines.mail.parsed import ParsedMail


def inner_of(facts: Facts) -> ParsedMail | None:
    """The mail that was journaled; None: it is no journal report."""
    if "x-ms-journal-report" not in facts.fields:
        return None
    return next((part.message for part in facts.mail.parts if part.message is not None), None)
