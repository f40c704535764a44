"""The XML of a DMARC aggregate report, section by section, in bounded memory: no tree of the whole is ever made.

lxml (libxml2) reads it, as in parsedmarc: it takes text in pieces, tells of a DOCTYPE before it reads any of it, and
can go on after damage, which expat cannot. Entities are not resolved, nothing is fetched. Text is decoded here, for
what a report says of its own encoding is often wrong: no byte of it ends the reading.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from functools import lru_cache
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
_ELEMENTS: Final = 3_500_000
"""Of a report: as many as the most records that are read have. Telling of one costs a microsecond."""
_ATTRIBUTES: Final = 600
"""In a step: a tag of megabytes would hold as many as there is memory for."""
_ATTRIBUTE: Final = re.compile(r"""=\s*["']""")
_REPLACED: Final = 200_000
"""Characters: decoding what is no text takes a hundred times as long as decoding text."""
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
_RECORD_BEGINS: Final = re.compile(rb"<(?:[\w.-]{1,40}:)?record[\s>]", re.IGNORECASE)
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
        node = self
        for name in path:
            for child in node.children:
                if child.name == name:
                    node = child
                    break
            else:
                return ""
        return "" if node.children else node.text.strip()

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
    rest = data[: _end_of_records(data)] if truncated else data
    whole = _Sections(take)
    text = _Text(rest)
    _parse(whole, text.pieces(), recover=True)
    lost = whole.lost + bool(_RECORD_BEGINS.search(data, len(rest)))
    return Read(whole.feedback, whole.records, lost, damage, truncated, text.invalid)


def _end_of_records(data: bytes) -> int:
    """Where the last record that has an end ends; where none has, where the first begins."""
    first = _RECORD_BEGINS.search(data)
    end = first.start() if first else len(data)
    for match in _END_OF_RECORD.finditer(data, end):
        end = match.end()
    return end


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
        self._replaced = 0

    @property
    def invalid(self) -> bool:
        """Whether anything was replaced so far."""
        return self._replaced > 0

    def pieces(self) -> Iterator[bytes]:
        """Nothing of them ends a parser for its encoding or its characters."""
        decoder = codecs.getincrementaldecoder(self._encoding)("replace")
        for start in range(self._begin, len(self._data), _STEP):
            last = start + _STEP >= len(self._data)
            text = decoder.decode(self._data[start : start + _STEP], last)
            text = _ILLEGAL.sub("\ufffd", text)
            self._replaced += text.count("\ufffd")
            self._check(text)
            yield text.encode("utf-8", "replace")

    def _check(self, text: str) -> None:
        if self._replaced > _REPLACED:
            raise Refused("damaged_xml", "it is no text")
        if text.count("=") > _ATTRIBUTES and len(_ATTRIBUTE.findall(text)) > _ATTRIBUTES:
            raise Refused("damaged_xml", f"more than {_ATTRIBUTES} attributes in {_STEP // 1024} KiB")


def _python_name(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "utf-8"


@lru_cache(maxsize=1000)
def _name_of(tag: str) -> str:
    """Without namespace or prefix."""
    return tag.rpartition("}")[2].rpartition(":")[2].lower()


class _Sections:
    """What lxml tells of a document as it reads; keeps the section that is open."""

    def __init__(self, take: Callable[[int, Node], None]) -> None:
        self._take = take
        self._open: list[Node] = []
        self._nodes = 0
        self._number = 0
        self._elements = 0
        self.feedback = False
        self.records = 0
        self.lost = 0

    def doctype(self, *_: object) -> None:
        raise Refused(
            "xml_dtd", "a DOCTYPE, which no report has: it could hold entities that grow, or name files"
        )

    def start(self, tag: str, _: object) -> None:
        self._elements += 1
        if self._elements > _ELEMENTS:
            raise Refused("too_many_records", f"more than {_ELEMENTS} elements")
        name = _name_of(tag)
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
        name = _name_of(tag)
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
