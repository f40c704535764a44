"""How our threads agree with those of another rule, on a mailing list's archive.

`python bench/threads_agree.py PATH…`: mboxes (`.mbox`, or `.txt` as pipermail has them) and folders of mails. The other
rule is notmuch's (lib/add-message.cc, `_notmuch_database_link_message`): whatever In-Reply-To and References name is
one thread, whatever the subject. Mails are joined in a random order, in batches. Told are the pairs of mails in one
thread: which share of ours they have too (precision), and which share of theirs we have (recall).
"""

from __future__ import annotations

import email
import re
import sys
from collections import defaultdict
from email.header import decode_header, make_header
from itertools import combinations, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from pipelines.mail.subject import base_subject
from pipelines.threads.join import Received, Threads, join_mails

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

_ID = re.compile(r"<([^<>\s]+)>")
_FROM = re.compile(rb"(?m)^From .+\d\d\d\d\r?\n(?=[A-Z][A-Za-z-]+: )")
CLOCK = 10**6
BATCH = 50
Row = dict[str, Any]


def mails(paths: Sequence[str]) -> list[Row]:
    """Every mail that has a Message-ID, once."""
    found: dict[str, Row] = {}
    for root in map(Path, paths):
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file():
                raw = path.read_bytes()
                for part in _FROM.split(raw) if path.suffix in (".mbox", ".txt") else [raw]:
                    for row in _mail(part, len(found)):
                        found.setdefault(row["message_id"], row)
    return list(found.values())


def _mail(raw: bytes, number: int) -> Iterator[Row]:
    parsed = email.message_from_bytes(raw)

    def field(name: str) -> str:
        return " ".join(map(str, parsed.get_all(name, [])))

    ids = _ID.findall(field("Message-ID"))
    if ids:
        try:
            subject = str(make_header(decode_header(field("Subject"))))
        except (LookupError, ValueError):
            subject = field("Subject")
        yield {
            "mail_id": number.to_bytes(16, "big"),
            "received_time": 0,
            "kind": "reply",
            "tenant": "",
            "message_id": ids[0],
            "subject": subject,
            "base_subject": base_subject(subject),
            "in_reply_to": _ID.findall(field("In-Reply-To")),
            "references": _ID.findall(field("References")),
            "conversations": [],
            "feedback": [],
            "automatic": False,
        }


def ours(rows: Sequence[Row]) -> list[Hashable]:
    """The thread of each."""
    state = Threads(apart=False)
    shuffled: list[Any] = Random(1).sample(rows, len(rows))
    for start in range(0, len(shuffled), BATCH):
        join_mails(state, [Received(1, row) for row in shuffled[start : start + BATCH]], CLOCK)
    return [state.graph.of(state.graph.facts[b"m" + row["mail_id"]]).least for row in rows]


def theirs(rows: Sequence[Row]) -> list[Hashable]:
    """The thread of each, by notmuch's rule."""
    parent: dict[str, str] = {}

    def find(each: str) -> str:
        while (up := parent.setdefault(each, each)) != each:
            each = up
        return each

    for row in rows:
        for cited in (*row["in_reply_to"], *row["references"]):
            parent[find(row["message_id"])] = find(cited)
    return [find(row["message_id"]) for row in rows]


def pairs(threads: Sequence[Hashable]) -> set[tuple[int, int]]:
    """Pairs of mails in one thread."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for number, thread in enumerate(threads):
        members[thread].append(number)
    return {pair for each in members.values() for pair in combinations(each, 2)}


def main() -> None:
    """Compare."""
    rows = mails(sys.argv[1:])
    one, other = ours(rows), theirs(rows)
    mine, known = pairs(one), pairs(other)
    both = len(mine & known)
    print(f"{len(rows):,} mails; {len(set(one)):,} threads of ours, {len(set(other)):,} of theirs")
    print(f"precision {both / max(1, len(mine)):.4f}, recall {both / max(1, len(known)):.4f}")
    for name, only in (("ours", mine - known), ("theirs", known - mine)):
        for first, second in islice(sorted(only), 5):
            print(f"only {name}: {rows[first]['subject'][:60]!r} and {rows[second]['subject'][:60]!r}")


if __name__ == "__main__":
    main()
