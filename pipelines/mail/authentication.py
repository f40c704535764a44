"""Authentication-Results (RFC 8601) as SES writes it, and the verdicts that follow from it."""

from __future__ import annotations

import re
from typing import Final

from schemas.mail import Verdicts

_CHARACTERS: Final = 16 * 1024
_RESULT: Final = re.compile(r"\s*(spf|dkim|dmarc)\s*=\s*([a-z]{1,20})\b", re.IGNORECASE)
_COMMENT: Final = re.compile(r"\([^()]*\)")
_LEXEME: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|\\.?|[()]|[^"\\()]+', re.DOTALL)
_POLICY: Final = re.compile(r"\bp=(none|quarantine|reject)\b", re.IGNORECASE)
_WORDS: Final = {
    "pass": "PASS",
    "fail": "FAIL",
    "hardfail": "FAIL",
    "softfail": "GRAY",
    "neutral": "GRAY",
    "none": "GRAY",
    "policy": "GRAY",
    "bestguesspass": "GRAY",
    "temperror": "PROCESSING_FAILED",
    "permerror": "PROCESSING_FAILED",
    "error": "PROCESSING_FAILED",
}
_BEST_FIRST: Final = ("PASS", "FAIL", "GRAY", "PROCESSING_FAILED")
_WORST_FIRST: Final = ("FAIL", "PROCESSING_FAILED", "GRAY", "PASS")

NO_VERDICTS: Final = Verdicts(spf="", dkim="", dmarc="", spam="", virus="", dmarc_policy="")


def authserv_id(value: str) -> str:
    """Who says so, in lower case."""
    words = _without_comments(value[:_CHARACTERS]).partition(";")[0].split()
    return words[0].lower() if words else ""


def verdict_of(word: str) -> str:
    """SES's word for a result: `softfail` is `GRAY`. Unknown ones in upper case, as they are."""
    return _WORDS.get(word.lower(), word.upper())


def verdicts_of(value: str) -> Verdicts:
    """What a field says of SPF, DKIM and DMARC; the others are empty.

    Several DKIM signatures pass if one does. SPF and DMARC have one result: of several the worst counts, since what is
    quoted in the field (an envelope sender) is the sender's to choose.
    """
    value = value[:_CHARACTERS]
    found: dict[str, set[str]] = {"spf": set(), "dkim": set(), "dmarc": set()}
    for clause in _without_comments(value).split(";")[1:]:
        if match := _RESULT.match(clause):
            found[match[1].lower()].add(verdict_of(match[2]))
    verdicts = NO_VERDICTS.copy()
    verdicts["spf"] = _chosen(found["spf"], _WORST_FIRST)
    verdicts["dkim"] = _chosen(found["dkim"], _BEST_FIRST)
    verdicts["dmarc"] = _chosen(found["dmarc"], _WORST_FIRST)
    if verdicts["dmarc"] == "FAIL":
        behind = value[value.lower().rfind("dmarc") :]
        if policy := _POLICY.search(behind):
            verdicts["dmarc_policy"] = policy[1].lower()
    return verdicts


def _chosen(found: set[str], order: tuple[str, ...]) -> str:
    return next((word for word in order if word in found), min(found, default=""))


def _without_comments(value: str) -> str:
    """Without comments, however they are nested, and without what is in quotes."""
    if '"' not in value and "\\" not in value:
        value = _COMMENT.sub("", value)
        if "(" not in value:
            return value
    output: list[str] = []
    depth = 0
    for match in _LEXEME.finditer(value):
        text = match.group()
        if text == "(":
            depth += 1
        elif text == ")":
            depth = max(0, depth - 1)
        elif not depth and text[0] not in '"\\':
            output.append(text)
    return "".join(output)
