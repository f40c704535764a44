"""What a person reads of a mail, and what its files are called."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipelines.mail.parsed import Part

_TEXT_CHARACTERS: Final = 256 * 1024
_NAME_CHARACTERS: Final = 255
_DROPPED: Final = re.compile(r"<(script|style|head|title)\b", re.IGNORECASE)
_BREAKING: Final = re.compile(r"<(?:br|/p|/div|/tr|/li|/h[1-6]|/table|hr)\b[^<>]*>", re.IGNORECASE)
_TAG: Final = re.compile(r"<[a-zA-Z/!?][^<>]*>")
_SPACES: Final = re.compile(r"[^\S\n]+")
_EMPTY_LINES: Final = re.compile(r"\n\s*\n\s*\n+")


def file_name(name: str) -> str:
    """Without any path and control characters."""
    name = name[:4096].replace("\\", "/").rstrip("/").rpartition("/")[2]
    if not name.isprintable():
        name = "".join(character for character in name if character.isprintable())
    name = name.strip(" \"'")
    return "" if name in (".", "..") else name[-_NAME_CHARACTERS:]


def is_attachment(part: Part) -> bool:
    """Whether a part is a file rather than something to read."""
    if part.opened:
        return False
    if part.disposition == "attachment" or part.filename:
        return True
    return not part.content_type.startswith(
        ("text/plain", "text/html", "text/enriched", "message/delivery-status")
    )


def reading_text(parts: list[Part]) -> str:
    """The first text/plain, else text/html without its markup."""
    found = None
    for part in parts:
        if part.disposition == "attachment" or part.filename or not part.text:
            continue
        if part.content_type == "text/plain" and part.text.strip():
            return _unflowed(part)[:_TEXT_CHARACTERS]
        if part.content_type == "text/html" and found is None:
            found = part
    return without_markup(found.text)[:_TEXT_CHARACTERS] if found else ""


def _unflowed(part: Part) -> str:
    """Lines that belong together joined (RFC 3676), where the text says that it flows."""
    if part.parameters.get("format", "").lower() != "flowed":
        return part.text
    delete = part.parameters.get("delsp", "").lower() == "yes"
    output: list[str] = []
    held, depth = "", 0
    for line in part.text.splitlines():
        text = line.lstrip(">")
        quoted = len(line) - len(text)
        text = text.removeprefix(" ")
        if held and quoted != depth:
            output.append("> " * bool(depth) + held)
            held = ""
        depth = quoted
        if text.endswith(" ") and text != "-- ":
            held += text[:-1] if delete else text
        else:
            output.append(">" * depth + " " * bool(depth) + held + text)
            held = ""
    if held:
        output.append(held)
    return "\n".join(output)


def without_markup(text: str) -> str:
    """What is left of HTML: a reader's approximation, in time that grows with the length."""
    text = _without_sections(text)
    text = _BREAKING.sub("\n", text)
    text = html.unescape(_TAG.sub("", text))
    text = _SPACES.sub(" ", text)
    return _EMPTY_LINES.sub("\n\n", text).strip()


def _without_sections(text: str) -> str:
    """Without comments, scripts, styles and the head."""
    output: list[str] = []
    position = 0
    lower = text.lower()
    if len(lower) != len(text):
        lower = text  # a character whose lower case is two
    opening = re.compile(r"<(?:!--|(?:script|style|head|title)\b)", re.IGNORECASE)
    while match := opening.search(text, position):
        output.append(text[position : match.start()])
        word = match.group()[1:].lower()
        end = "-->" if word == "!--" else f"</{word}"
        found = lower.find(end, match.end())
        if found < 0:
            position = match.end()
            break
        closing = text.find(">", found)
        position = len(text) if closing < 0 else closing + 1
    output.append(text[position:])
    return "".join(output)
