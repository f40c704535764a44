"""`sentence`: what msgspec says of settings that are wrong, in words that say what to write instead."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "Secret": "text",
    "array": "a list",
    "object": "a table",
    "list": "a list",
    "dict": "a table",
}
"""Of types, as people write them in TOML."""
_STEP: Final = re.compile(r"\.(\w+)|\[[^\]]*\]")
_TYPE: Final = re.compile(r"`(\w+)`")


def sentence(error: str, settings: type) -> str:
    """What is wrong with which setting.

    Args:
        error: a `msgspec.ValidationError`'s words.
        settings: the struct that was to be made.
    """
    text, _, where = error.partition(" - at `$")
    path = where.rstrip("`")
    name = path.lstrip(".")
    told = text.partition("`")[2].rstrip("`")
    if text.startswith("Object contains unknown field"):
        known = _fields(_at(settings, path))
        what = f"setting {name}.{told}" if name else f"section {told}"
        return f"there is no {what}{_nearest(told, known)}; there are {', '.join(known)}"
    if text.startswith("Object missing required field"):
        return f"setting {name}.{told} is not set"
    if text.startswith("Invalid enum value"):
        value = text.removeprefix("Invalid enum value ")
        choices = _choices(_at(settings, path))
        near = _nearest(value.strip("'"), choices)
        return f"setting {name} cannot be {value}{near}: write one of {', '.join(choices)}"
    said = _TYPE.sub(lambda found: _WORDS.get(found[1], found[0]), text[:1].lower() + text[1:])
    return f"setting {name}: {said}" if name else f"settings: {said}"


def _at(settings: type, path: str) -> inspect.Type:
    """The type of what stands at a path such as `.notify.routes[0].kind`."""
    found = inspect.type_info(settings)
    for step in _STEP.finditer(path):
        if isinstance(found, inspect.StructType) and step[1]:
            found = next(each.type for each in found.fields if each.encode_name == step[1])
        elif isinstance(found, inspect.CollectionType):
            found = found.item_type
        elif isinstance(found, inspect.DictType):
            found = found.value_type
        while isinstance(found, inspect.Metadata):
            found = found.type
    return found


def _fields(found: inspect.Type) -> list[str]:
    return [each.encode_name for each in found.fields] if isinstance(found, inspect.StructType) else []


def _choices(found: inspect.Type) -> list[str]:
    return [str(value) for value in found.values] if isinstance(found, inspect.LiteralType) else []


def _nearest(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""
