"""Requests of List-Unsubscribe by mail (RFC 2369, section 3.2)."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pipelines.intake.addresses import listed

if TYPE_CHECKING:
    from pipelines.mail.kinds.facts import Facts
    from pipelines.mail.policy import MailPolicy

_WORD: Final = re.compile(r"(?:un-?subscribe|list-unsubscribe=one-click)", re.IGNORECASE)
_NAMED: Final = 20


@lru_cache(16)
def _pattern(addresses: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(translate(each.lower()) for each in addresses)) if addresses else None


def recipients_of(facts: Facts) -> list[str]:
    """Whom it was sent to: of the envelope where that is known; in lower case."""
    known = facts.notice.recipients if facts.notice else ()
    return [each.lower() for each in known] or [
        each.lower() for each in listed(facts.fields.get("to", []) + facts.fields.get("cc", []))
    ]


def read(facts: Facts, policy: MailPolicy) -> tuple[str, list[str]]:
    """Why it is one, and what it unsubscribes from; two empties: it is none."""
    pattern = _pattern(policy.list_addresses)
    if pattern is None:
        return "", []
    to = [each for each in recipients_of(facts)[:1000] if len(each) <= 320 and pattern.fullmatch(each)]  # noqa: PLR2004
    if not to:
        return "", []
    named = [each.partition("@")[0].partition("+")[2] for each in to]
    return "sent to a list address", list(dict.fromkeys(filter(None, [*named, facts.subject])))[:_NAMED]
