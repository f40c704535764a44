"""Groups of header-like fields, as `message/delivery-status` and `message/feedback-report` hold them.

RFC 3464, section 2.1: fields as in RFC 5322, groups set apart by blank lines. Read as found in the wild: any line
end, blank lines more or fewer than should be, fields folded or broken without folding.
"""

from __future__ import annotations

import re
from typing import Final

from pipelines.mail.kinds.facts import LINE

MAX_FIELDS: Final = 20_000
"""Of a report; more is no report."""
_NAME: Final = re.compile(r"[!-9;-~]{1,76}")

Group = list[tuple[str, str]]
"""Fields in their order: name in lower case, value unfolded."""


def groups_of(text: str) -> list[Group]:
    """Every group that has a field."""
    groups: list[Group] = [[]]
    count = 0
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not line.strip():
            if groups[-1]:
                groups.append([])
            continue
        group = groups[-1]
        name, colon, value = line[: LINE * 4].partition(":")
        if line[0] in " \t" or not colon or not _NAME.fullmatch(name.rstrip()):
            _go_on(group, line[:LINE])
            continue
        count += 1
        if count > MAX_FIELDS:
            break
        group.append((name.rstrip().lower(), value.strip()))
    return groups if groups[-1] else groups[:-1]


def _go_on(group: Group, line: str) -> None:
    """A folded line, or one that lost its fold."""
    if group and len(group[-1][1]) < LINE * 4:
        name, value = group[-1]
        group[-1] = (name, f"{value} {line.strip()}".strip())


def first(group: Group, *names: str) -> str:
    """The first non-empty value of the first of these names that has one."""
    for name in names:
        for key, value in group:
            if key == name and value:
                return value
    return ""


def every(group: Group, name: str) -> list[str]:
    """All non-empty values of a name."""
    return [value for key, value in group if key == name and value]
