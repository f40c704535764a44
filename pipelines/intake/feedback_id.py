"""The Feedback-ID header as Gmail reads it.

`Feedback-ID: a:b:c:SenderId`: the last four fields count, from the right; SenderId is mandatory, of 5 to 15
characters; a, b and c are optional, an empty one is skipped, and Gmail adds each up on its own, wherever it
stands. So an identifier that recurs in another field, or on every message anew, spoils the report.
Sources: support.google.com/a/answer/6254652; AWS blog, "Understanding Google Postmaster Tools (spam complaints)
for Amazon SES email senders". SES writes `a:b:1.REGION.HASH:AmazonSES`, with a and b from the message tags
`ses:feedback-id-a` and `-b`; until 2024 it wrote `1.REGION.HASH:AmazonSES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Problem = Literal[
    "no_sender_id",
    "sender_id_length",
    "too_many_fields",
    "no_identifier",
    "repeated_identifier",
    "not_ascii",
    "whitespace",
    "field_too_long",
]

SEPARATOR: Final = ":"
MAX_FIELD: Final = 256
"""Characters: as many as SES allows the value of a message tag, from which a and b come."""
_FIELDS: Final = 4
_SENDER_MIN, _SENDER_MAX = 5, 15


@dataclass(frozen=True, slots=True)
class FeedbackId:
    """A header's value, read. Absent fields are empty; without a SenderId Gmail reports nothing, so all are."""

    a: str = ""
    b: str = ""
    c: str = ""
    sender_id: str = ""
    repeated: tuple[str, ...] = ()
    """Identifiers that stand in more than one field."""
    problems: tuple[Problem, ...] = ()


def parse(value: str) -> FeedbackId:
    """Read a header's value, however malformed.

    White space around a field belongs to the folding of the header (RFC 5322, 2.2.3), white space inside one
    does not: it is kept and flagged. A field of more than `MAX_FIELD` characters is left out and flagged.
    """
    raw = value.split(SEPARATOR)
    fields = [field.strip() for field in raw[-_FIELDS:]]
    fields = [""] * (_FIELDS - len(fields)) + fields
    sender_id = fields[-1]
    if not sender_id:
        return FeedbackId(problems=("no_sender_id",))
    kept = ["" if len(field) > MAX_FIELD else field for field in fields]
    repeated = repeats(kept)
    found: list[tuple[bool, Problem]] = [
        (not _SENDER_MIN <= len(sender_id) <= _SENDER_MAX, "sender_id_length"),
        (any(field.strip() for field in raw[:-_FIELDS]), "too_many_fields"),
        (not any(fields[:-1]), "no_identifier"),
        (bool(repeated), "repeated_identifier"),
        (not all(field.isascii() for field in fields), "not_ascii"),
        (any(character.isspace() for field in fields for character in field), "whitespace"),
        (kept != fields, "field_too_long"),
    ]
    a, b, c, sender_id = kept
    return FeedbackId(a, b, c, sender_id, repeated, tuple(problem for holds, problem in found if holds))


def repeats(fields: Sequence[str]) -> tuple[str, ...]:
    """Values that stand in more than one field, in order of appearance; empty fields are none."""
    return tuple(
        field
        for index, field in enumerate(fields)
        if field and fields.index(field) == index < _last(fields, field)
    )


def _last(fields: Sequence[str], field: str) -> int:
    return len(fields) - 1 - fields[::-1].index(field)


def of_headers(values: Sequence[str]) -> FeedbackId | None:
    """What a message's Feedback-ID headers say together; None where they say nothing.

    A message should have one. Of several, copies of the same one are one; any others contradict each other, and
    which of them a receiver goes by depends on the signatures, which events do not show.
    """
    distinct = {value.strip() for value in values}
    if len(distinct) != 1:
        return None
    read = parse(distinct.pop())
    return read if read.sender_id else None
