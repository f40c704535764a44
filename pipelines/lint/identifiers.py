"""Identifiers that spoil a report: unique per message, repeated across fields, spelt in several ways.

Gmail adds up each field of Feedback-ID on its own and reports an identifier only above a volume of mail and of
distinct readers who complain; "identifiers across fields" are not to be repeated, and none is to be unique per
message (support.google.com/a/answer/6254652). What holds for Gmail's tables holds for ours: a value a message is a
row of `rates` a message, with nothing to learn from any of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pipelines.intake.feedback_id import MAX_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Kind = Literal["unique", "repeated", "variants", "characters"]

LEAST_MESSAGES: Final = 100
LEAST_VALUES: Final = 50
"""Less is no evidence: a sender may have begun today, or have many small campaigns."""
_MESSAGES_A_VALUE: Final = 3
_MANY_SINGLES: Final = 1000
"""So many values of one message each are no test sends, even beside a campaign of millions."""
SHOWN: Final = 3
"""Examples of a finding."""
_SEPARATORS: Final = re.compile(r"[\s_.:/-]+")
_ODD: Final = re.compile(r"[^!-9;-~]")
"""White space, a colon, or what is not printable ASCII."""


@dataclass(frozen=True, slots=True)
class Field:
    """How one field is used."""

    name: str
    """Of the dimension: `feedback_a`, …, `tag:NAME`."""
    messages: int
    """That have the field."""
    values: int
    """Different ones."""
    singles: int
    """Values that one message alone has."""
    examples: tuple[str, ...] = ()
    """Some of these, else some of all."""


@dataclass(frozen=True, slots=True)
class Use:
    """A value in a field."""

    field: str
    value: str
    messages: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to put right."""

    kind: Kind
    fields: tuple[str, ...]
    what: str
    """A sentence."""
    todo: str
    """Another."""
    examples: tuple[str, ...]


def summary(name: str, found: Sequence[tuple[Use, bool]], share: int = 1) -> Field:
    """A field from its values, each with whether one message alone has it; of one in `share` values."""
    singles = [use.value for use, single in found if single]
    examples = sorted(singles or (use.value for use, _ in found))[:SHOWN]
    messages = sum(use.messages for use, _ in found)
    return Field(name, messages * share, len(found) * share, len(singles) * share, tuple(examples))


def lint(fields: Iterable[Field], uses: Iterable[Use]) -> list[Finding]:
    """Everything that is found, by kind; within a kind the most used first.

    Args:
        fields: a summary of each field.
        uses: their values, or such a share of them that has all spellings of a value or none.
    """
    ordered = sorted(uses, key=lambda use: (-use.messages, use.field, use.value))
    groups: dict[str, list[Use]] = {}
    for use in ordered:
        groups.setdefault(spelling(use.value), []).append(use)
    alike = [group for group in groups.values() if len(group) > 1]
    odd = (use for use in ordered if len(use.value) > MAX_FIELD or _ODD.search(use.value))
    return [*_unique(fields), *_repeated(alike), *_variants(alike), *_characters(odd)]


def spelling(value: str) -> str:
    """What values that differ only in case and separators have in common."""
    return _SEPARATORS.sub("-", value.casefold())


def looks_unique(field: Field) -> bool:
    """Whether its values look made for one message each.

    There are few messages to a value, or very many values with one message and they are most of all.
    """
    if field.messages < LEAST_MESSAGES or field.values < LEAST_VALUES:
        return False
    mostly_singles = field.singles >= _MANY_SINGLES and field.singles * 2 > field.values
    return mostly_singles or field.messages < _MESSAGES_A_VALUE * field.values


def _unique(fields: Iterable[Field]) -> Iterable[Finding]:
    for field in fields:
        if looks_unique(field):
            yield Finding(
                "unique",
                (field.name,),
                f"{field.name} looks unique per message: about {field.values:,} values on {field.messages:,} "
                f"messages, about {field.singles:,} of them on one message alone",
                "put a campaign or a mail stream there, never an id: Gmail reports none of these, and each "
                "makes rows of its own in rates",
                field.examples[:SHOWN],
            )


def _repeated(alike: Iterable[Sequence[Use]]) -> Iterable[Finding]:
    """The very same value in several of Feedback-ID's fields, one finding for each set of fields."""
    found: dict[tuple[str, ...], list[str]] = {}
    for group in alike:
        places: dict[str, set[str]] = {}
        for use in group:
            if use.field.startswith("feedback_"):
                places.setdefault(use.value, set()).add(use.field)
        for value, names in places.items():
            if len(names) > 1:
                found.setdefault(tuple(sorted(names)), []).append(value)
    for fields, values in found.items():
        yield Finding(
            "repeated",
            fields,
            f"the same identifiers stand in {' and '.join(fields)}: {_counted(len(values))}",
            "give each field words of its own, such as a prefix: Gmail adds an identifier up wherever it stands, "
            "so unrelated mail is mixed",
            tuple(values[:SHOWN]),
        )


def _variants(alike: Iterable[Sequence[Use]]) -> Iterable[Finding]:
    """Several spellings in one field, one finding for each field."""
    found: dict[str, list[str]] = {}
    for group in alike:
        spellings: dict[str, list[Use]] = {}
        for use in group:
            spellings.setdefault(use.field, []).append(use)
        for field, uses in spellings.items():
            if len({use.value for use in uses}) > 1:
                found.setdefault(field, []).append(" / ".join(use.value for use in uses))
    for field, examples in found.items():
        yield Finding(
            "variants",
            (field,),
            f"{field} has identifiers that differ only in case or separators: {_counted(len(examples))}",
            "settle on one spelling: each is counted apart",
            tuple(examples[:SHOWN]),
        )


def _characters(odd: Iterable[Use]) -> Iterable[Finding]:
    found: dict[str, list[str]] = {}
    for use in odd:
        found.setdefault(use.field, []).append(use.value)
    for field, values in found.items():
        yield Finding(
            "characters",
            (field,),
            f"{field} has identifiers with white space, a colon or characters beyond ASCII, or of more than 256 "
            f"characters: {_counted(len(values))}",
            "use letters, digits, - and _ only: a colon parts the fields of Feedback-ID, and what SES does not allow "
            "in a tag is lost on the way to CloudWatch",
            tuple(value[:80] for value in values[:SHOWN]),
        )


def _counted(number: int) -> str:
    return "one" if number == 1 else f"{number:,}"
