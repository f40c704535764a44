"""The base subject (RFC 5256, section 2.1): what is left when replying and forwarding is taken off."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Final

_CHARACTERS: Final = 998
"""What is beyond is not looked at (RFC 5322, 2.1.1: a line has no more)."""
_SPACES: Final = re.compile(r"\s+")
_TRAILER: Final = re.compile(r"\(fwd\)\s*$")
_BLOB: Final = re.compile(r"\[[^\[\]]*\]\s*")
_WRAPPER: Final = "[fwd:"


@cache
def _leader() -> re.Pattern[str]:
    """`Re:`, `AW :`, `Re[2]:` …, with blobs before them; the colon may be a wide one."""
    rows = resources.files(__package__).joinpath("subject_prefixes.tsv").read_text("utf-8").splitlines()
    words = {row.split("\t")[0].strip().lower() for row in rows if row.strip() and not row.startswith("#")}
    longest_first = "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
    return re.compile(
        rf"(?:\[[^\[\]]*\]\s*)*(?:{longest_first})\.?\s*(?:\[[^\[\]]*\]|\(\d+\)|\d{{1,3}})?\s*[:\uff1a]\s*"
    )


def base_subject(subject: str) -> str:
    """The base subject in lower case; empty where nothing is left but prefixes."""
    text = _SPACES.sub(" ", subject[:_CHARACTERS].lower()).strip()
    leader = _leader()
    while True:
        before = text
        while match := _TRAILER.search(text):
            text = text[: match.start()].rstrip()
        while True:
            if match := leader.match(text):
                text = text[match.end() :]
                continue
            blob = _BLOB.match(text)
            if blob and text[blob.end() :]:
                text = text[blob.end() :]
                continue
            break
        if text.startswith(_WRAPPER) and text.endswith("]"):
            text = text[len(_WRAPPER) : -1].strip()
        if text == before:
            return text
