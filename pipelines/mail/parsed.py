"""`ParsedMail`: a message taken apart. Made by `parse`, read by whatever tells kinds, reports and threads."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Headers:
    """Header fields in their order; names in any case, values unfolded and decoded (RFC 2047)."""

    fields: tuple[tuple[str, str], ...] = ()
    raw: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """Values not yet decoded: addresses are told apart before their names are read. Empty: as in `fields`."""
    _places: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = self._places
        for place, (name, _) in enumerate(self.fields):
            places.setdefault(name.lower(), []).append(place)

    def get(self, name: str, default: str = "") -> str:
        """The first of a name."""
        places = self._places.get(name.lower())
        return self.fields[places[0]][1] if places else default

    def all(self, name: str) -> list[str]:
        """All of a name."""
        return [self.fields[place][1] for place in self._places.get(name.lower(), ())]

    def undecoded(self, name: str) -> list[str]:
        """All of a name, with their encoded words."""
        values = self.raw or tuple(value for _, value in self.fields)
        return [values[place] for place in self._places.get(name.lower(), ())]


@dataclass(slots=True)
class Part:
    """A part of a message that is no multipart: a leaf, or a message in the message."""

    content_type: str
    """Lower case, such as `text/plain`; as declared, or what RFC 2045 says where it is not."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Of Content-Type; names in lower case."""
    disposition: str = ""
    """`inline`, `attachment`, or empty."""
    filename: str = ""
    """Decoded (RFC 2231, RFC 2047), without any path."""
    content_id: str = ""
    depth: int = 0
    """Multiparts around it; of a part in a message in the message those of that too."""
    content: bytes = b""
    """Transfer decoding undone; of a message in the message its bytes."""
    text: str = ""
    """Of text and of `message/*` other than messages: decoded, whatever its charset claims; else empty."""
    opened: bool = False
    """Of TNEF: all that is in it are the parts after it, so that nobody needs it itself."""
    message: ParsedMail | None = None
    """Of `message/rfc822`, `message/global` and `text/rfc822-headers`: that message, taken apart to a limit."""


@dataclass(slots=True)
class ParsedMail:
    """A message. Nothing in it is trusted: it says what the message says."""

    headers: Headers
    content_type: str
    """Of the whole, such as `multipart/report`."""
    parameters: dict[str, str]
    """Of its Content-Type: `report-type`, …"""
    parts: list[Part] = field(default_factory=list)
    """In order, those of multiparts within it as well; parts of messages within it are theirs."""
    text: str = ""
    """What a person would read: the first text/plain, else text/html without its markup; up to a limit."""
    defects: list[str] = field(default_factory=list)
    """What is wrong with it, in a word each."""
    size: int = 0
    """Bytes of the raw message."""
