"""The XML of a DMARC aggregate report, section by section, in bounded memory: no tree of the whole is ever made.

lxml (libxml2) reads it, as in parsedmarc: it takes text in pieces, tells of a DOCTYPE before it reads any of it, and
can go on after damage, which expat cannot. Entities are not resolved, nothing is fetched. Text is decoded here, for
what a report says of its own encoding is often wrong: no byte of it ends the reading.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from lxml import etree

from pipelines.mail.reports.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

METADATA: Final = "report_metadata"
POLICY: Final = "policy_published"
RECORD: Final = "record"
_SECTIONS: Final = frozenset({METADATA, POLICY, RECORD})
_NODES: Final = 5_000
"""Elements of a section."""
_TEXT: Final = 4_096
"""Characters of an element that are kept."""
_STEP: Final = 64 * 1024
_DECLARATION: Final = re.compile(rb"""<\?xml\b[^>]{0,500}?\?>""")
_ENCODING: Final = re.compile(rb"""encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_KNOWN_ENCODING: Final = re.compile(
    r"utf-?8|(us-)?ascii|iso-?8859-?\d+|latin-?1|(windows-|cp)12\d\d|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis"
    r"|euc-(jp|kr)"
)
"""Those in which markup is ASCII. Python knows stranger ones."""
_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no place for (section 2.2)."""
_END_OF_RECORD: Final = re.compile(rb"</(?:[\w.-]{1,40}:)?record\s{0,10}>", re.IGNORECASE)
_END: Final = re.compile(rb"</(?:[\w.-]{1,40}:)?feedback\s{0,10}>", re.IGNORECASE)


@dataclass(slots=True)
class Node:
    """An element of a section; names without their namespaces, in lower case."""

    name: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def value(self, *path: str) -> str:
        """Text of the first element at a path, without white space around it; empty: there is none.

        What holds elements is no text: where that comes of damage, the text would only be the beginning of one.
        """
        node: Node | None = self
        for name in path:
            node = next((child for child in node.children if child.name == name), None) if node else None
        return node.text.strip() if node and not node.children else ""

    def all(self, *path: str) -> list[Node]:
        """All elements at a path."""
        found = [self]
        for name in path:
            found = [child for node in found for child in node.children if child.name == name]
        return found


@dataclass(slots=True)
class Read:
    """How the reading of a report ended."""

    feedback: bool
    """Whether there was an element `feedback`."""
    records: int
    """Begun."""
    lost: int
    """Of them those that were not whole."""
    damage: str = ""
    """What is wrong with the XML; empty: it is well-formed."""
    truncated: bool = False
    invalid_text: bool = False
    """Whether there were bytes or characters that have no place in it; each is U+FFFD now."""


class TooMuch(Exception):  # noqa: N818
    """Raised by a taker of sections that wants no more."""


def read(data: bytes, take: Callable[[int, Node], None], restart: Callable[[], None]) -> Read:
    """Hand over each section as it ends, with its number among those of its name.

    Args:
        data: a report, unpacked.
        take: gets each section; what it raises is passed on.
        restart: called when all has to be read once more, for it is not well-formed; sections then come again.

    Raises:
        Refused: it has a DOCTYPE.
    """
    whole = _Sections(take)
    text = _Text(data)
    damage = _parse(whole, text.pieces(), recover=False)
    if not damage:
        return Read(whole.feedback, whole.records, whole.lost, invalid_text=text.invalid)
    restart()
    # A record that is cut off would end with the document: only what ends itself is read again.
    truncated = _END.search(data) is None
    ends = [match.end() for match in _END_OF_RECORD.finditer(data)] if truncated else []
    rest = data[: ends[-1]] if ends else data
    whole = _Sections(take)
    text = _Text(rest)
    _parse(whole, text.pieces(), recover=True)
    lost = whole.lost + bool(truncated and b"<" in data[len(rest) :].strip()[:1] and len(rest) < len(data))
    return Read(whole.feedback, whole.records, lost, damage, truncated, text.invalid)


def _parse(target: _Sections, pieces: Iterator[bytes], *, recover: bool) -> str:
    """What is wrong with the XML; empty: nothing."""
    parser = etree.XMLParser(
        target=target,
        encoding="utf-8",
        recover=recover,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        for piece in pieces:
            parser.feed(piece)
        parser.close()
    except etree.XMLSyntaxError as error:
        return (error.msg or "not well-formed")[:300]
    return ""


class _Text:
    """The text of a report in UTF-8, without its declaration, piece by piece."""

    def __init__(self, data: bytes) -> None:
        if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or data[:4] in (b"<\0?\0", b"\0<\0?"):
            wide = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}.get(data[:2], "utf-16")
            data = data.decode(wide, "replace").encode("utf-8")
        self._data = data.removeprefix(codecs.BOM_UTF8).lstrip()
        self._encoding = "utf-8"
        self._begin = 0
        if declaration := _DECLARATION.match(self._data):
            self._begin = declaration.end()
            said = _ENCODING.search(declaration[0])
            name = said[1].decode("ascii").lower() if said else ""
            if _KNOWN_ENCODING.fullmatch(name):
                self._encoding = _python_name(name)
        self.invalid = False

    def pieces(self) -> Iterator[bytes]:
        """Nothing of them ends a parser for its encoding or its characters."""
        decoder = codecs.getincrementaldecoder(self._encoding)("replace")
        for start in range(self._begin, len(self._data), _STEP):
            last = start + _STEP >= len(self._data)
            text = decoder.decode(self._data[start : start + _STEP], last)
            text = _ILLEGAL.sub("\ufffd", text)
            if "\ufffd" in text:
                self.invalid = True
            yield text.encode("utf-8", "replace")


def _python_name(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "utf-8"


class _Sections:
    """What lxml tells of a document as it reads; keeps the section that is open."""

    def __init__(self, take: Callable[[int, Node], None]) -> None:
        self._take = take
        self._open: list[Node] = []
        self._nodes = 0
        self._number = 0
        self.feedback = False
        self.records = 0
        self.lost = 0

    def doctype(self, *_: object) -> None:
        raise Refused(
            "xml_dtd", "a DOCTYPE, which no report has: it could hold entities that grow, or name files"
        )

    def start(self, tag: str, _: object) -> None:
        name = tag.rpartition("}")[2].rpartition(":")[2].lower()
        if name in _SECTIONS:
            # Within another one: that has lost its end.
            self._abandon()
            if name == RECORD:
                self._number = self.records
                self.records += 1
            self._open = [Node(name)]
            self._nodes = 0
        elif self._open:
            self._nodes += 1
            if self._nodes > _NODES:
                self._abandon()
                return
            node = Node(name)
            self._open[-1].children.append(node)
            self._open.append(node)
        elif name == "feedback":
            self.feedback = True

    def data(self, text: str) -> None:
        if self._open and len(self._open[-1].text) < _TEXT:
            self._open[-1].text = (self._open[-1].text + text)[:_TEXT]

    def end(self, tag: str) -> None:
        if not self._open:
            return
        name = tag.rpartition("}")[2].rpartition(":")[2].lower()
        # After damage not each element that began ends.
        for depth in range(len(self._open) - 1, -1, -1):
            if self._open[depth].name == name:
                section = self._open[0]
                del self._open[depth:]
                if depth == 0:
                    self._take(self._number if name == RECORD else 0, section)
                return

    def close(self) -> None:
        self._abandon()

    def _abandon(self) -> None:
        if self._open and self._open[0].name == RECORD:
            self.lost += 1
        self._open = []
