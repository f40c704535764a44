"""Conversations that addresses name outright: rules of `[[inbound.conversations]]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.mail.addresses import Pseudonyms
    from pipelines.mail.policy import ConversationRule

_CHARACTERS: Final = 320
"""Of an address (RFC 5321, 4.5.3.1): patterns are not tried on what is longer."""
_MOST: Final = 100


def conversations_of(
    rules: Iterable[ConversationRule], addresses: Iterable[str], pseudonyms: Pseudonyms
) -> list[str]:
    """`RULE:KEY` for each address that a rule knows, each once, in order.

    Addresses are bare, in any case; the key is hashed unless `pii = "plain"`. The same function serves mail received
    and messages sent, so both come to the same conversation.
    """
    lowered = [address.lower() for address in addresses if len(address) <= _CHARACTERS]
    found: dict[str, None] = {}
    for rule in rules:
        for address in lowered:
            match = rule.pattern.fullmatch(address)
            if match is None:
                continue
            groups = [group for group in match.groups() if group]
            found.setdefault(f"{rule.name}:{pseudonyms.word('|'.join(groups) or address)}")
            if len(found) >= _MOST:
                return list(found)
    return list(found)
