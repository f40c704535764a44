"""Splits a decompressed byte stream into JSON documents, whatever stands between them.

Firehose concatenates records byte for byte, so an object may hold NDJSON, glued `}{`, pretty-printed
documents, blank lines, CRLF, a truncated tail (Firehose developer guide, "Data delivery"); files may hold a
JSON array of events. What a frame is depends on the bytes alone, never on how they are cut into chunks.

A document is an object. It ends where its braces balance. It is broken where that cannot happen any more: a
line break inside a string, a closing bracket of the wrong kind, or a brace at the start of a line where
JSON allows none. Then reading goes on at the first line after its start that begins with a brace.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from pipelines.intake.sniffing import Sniffer
from schemas.dead_letters import PAYLOAD_LIMIT

if TYPE_CHECKING:
    from collections.abc import Generator

MAX_DOCUMENT: Final = 8 * 1024 * 1024
"""Bytes. Eight times what SQS, SNS, EventBridge or Firehose carry in one record; a longer one is no record
of theirs but a file whose braces never balance, and must not be gathered in memory."""

_USUAL: Final = 16 * 1024
"""Bytes of a document that is looked for by its end alone."""

_LOOK_BACK: Final = 64
"""Bytes of white space before a brace beyond which nobody asks what stood before it."""

_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_SEPARATORS: Final = re.compile(rb"[ \t\r\n,\[\]]*")
_RUN: Final = re.compile(rb'[^{}\[\]"]*')
_STRING: Final = re.compile(rb'(?:[^"\\\n]++|\\[^\n])*+')
_LINE_BRACE: Final = re.compile(rb"(?<=\n)\{")
_RESTART: Final = re.compile(rb"(?<=[\n}])\{")
_OPEN, _QUOTE, _NEWLINE, _BACKSLASH = b'{"\n\\'
_CLOSES: Final = {ord("}"): ord("{"), ord("]"): ord("[")}
_VALID: Final = Decoder(Raw)


class Document(Struct, frozen=True, gc=False):
    """What looks like one JSON object (or the text of an SNS control message), and where it begins."""

    offset: int
    data: bytes


class Fault(Struct, frozen=True, gc=False):
    """Bytes that are no document: one rejection."""

    offset: int
    cause: str
    """`truncated_json`, `malformed_json`, `not_json`, `unsupported_compression`, `record_too_large`."""
    detail: str
    payload: bytes
    """The first `PAYLOAD_LIMIT` of them."""
    size: int


Frame = Document | Fault


class _Scan:
    """Progress through a document that is not complete yet."""

    __slots__ = ("in_string", "position", "prefix", "stack", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        """Offset of its first byte in the stream."""
        self.position = start
        """Offset up to which it is scanned."""
        self.stack = bytearray()
        self.in_string = False
        self.prefix = b""
        """Its first bytes, once it is too large to be kept."""


class _Garbage:
    """Bytes that belong to no document, as they go by."""

    __slots__ = ("before", "broken", "cause", "detail", "offset", "prefix")

    def __init__(self, offset: int, cause: str, detail: str, prefix: bytes, *, broken: bool) -> None:
        self.offset = offset
        self.cause = cause
        self.detail = detail
        self.prefix = prefix
        """The first `PAYLOAD_LIMIT` of them."""
        self.broken = broken
        """Whether they are the rest of a broken document: then a brace inside them is likely one of its
        own."""
        self.before = prefix[-1:]
        """The last byte of them that went by."""

    def restart(self, data: bytes, start: int) -> int:
        """Where a document starts again; -1 if it does not."""
        if not self.broken:
            return data.find(b"{", start)
        if data[start : start + 1] == b"{" and self.before in (b"\n", b"}"):
            return start
        match = _RESTART.search(data, start + 1)
        return match.start() if match else -1

    def take(self, data: bytes) -> None:
        """More of them."""
        if data:
            if self.cause != "record_too_large":
                self.prefix += data[: PAYLOAD_LIMIT - len(self.prefix)]
            self.before = data[-1:]

    def end(self, offset: int) -> Fault:
        """The rejection of them all."""
        return Fault(self.offset, self.cause, self.detail, self.prefix, offset - self.offset)


class Splitter:
    """Feed it chunks; `finish` it at the end of the stream."""

    __slots__ = (
        "_array",
        "_base",
        "_data",
        "_floor",
        "_garbage",
        "_kept",
        "_limit",
        "_position",
        "_scan",
        "_sniffer",
    )

    def __init__(self, limit: int = MAX_DOCUMENT) -> None:
        self._limit = limit
        self._kept = min(limit, PAYLOAD_LIMIT)
        """Bytes of a record over the limit that are kept."""
        self._data = b""
        self._base = 0
        """Offset of `_data` in the stream."""
        self._position = 0
        """Index in `_data` of what is not framed yet."""
        self._sniffer: Sniffer | None = Sniffer()
        self._array = False
        self._scan: _Scan | None = None
        self._garbage: _Garbage | None = None
        self._floor = 0
        """Reading goes back behind a break only once: never for a document that starts before this offset."""

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that are complete with this chunk."""
        if self._sniffer is not None:
            opened = self._sniffer.feed(chunk)
            if opened is None:
                return []
            chunk, self._base, self._array = opened
            self._sniffer = None
        self._data = self._data[self._position :] + chunk if self._position < len(self._data) else chunk
        self._base += self._position
        self._position = 0
        return list(self._frames(final=False))

    def finish(self) -> list[Frame]:
        """The frames that the end of the stream completes."""
        if self._sniffer is not None:
            return self._not_json(self._sniffer)
        frames = list(self._frames(final=True))
        if self._garbage is not None:
            frames.append(self._garbage.end(self._base + len(self._data)))
        return frames

    def _not_json(self, sniffer: Sniffer) -> list[Frame]:
        verdict = sniffer.verdict()
        if verdict is None:
            return []
        cause, detail = verdict
        if not cause:
            return [Document(0, sniffer.prefix)]
        return [Fault(0, cause, detail, sniffer.prefix, sniffer.size)]

    def _frames(self, *, final: bool) -> Generator[Frame, None, None]:
        # The base moves on by what `feed` cuts off, so positions within one pass share it.
        while True:
            if self._scan is None:
                if self._garbage is None:
                    yield from self._usual()
                    if not final and len(self._data) - self._position < min(self._limit, _USUAL):
                        return  # what is cut here is likely whole with the next chunk
                started = yield from self._between()
                if not started:
                    return
                line = self._line(final=final)
                if line is not None:
                    yield line
                    continue
                self._scan = _Scan(self._base + self._position)
            frame = self._document(self._scan, final=final)
            if frame is not None:
                self._scan = None
                yield frame
            elif self._garbage is not None:
                self._scan = None
            else:
                return

    def _between(self) -> Generator[Frame, None, bool]:
        """Skip to where a document starts; whether one does."""
        data = self._data
        while self._position < len(data):
            if self._garbage is None:
                skip = _SEPARATORS if self._array else _SPACE
                match = skip.match(data, self._position)
                self._position = match.end() if match else self._position
                if self._position == len(data):
                    return False
                if data[self._position] == _OPEN:
                    return True
                offset, detail = self._base + self._position, "These bytes between records are not JSON."
                self._garbage = _Garbage(offset, "not_json", detail, b"", broken=False)
            start = self._garbage.restart(data, self._position)
            end = len(data) if start < 0 else start
            self._garbage.take(data[self._position : end])
            self._position = end
            if start >= 0:
                fault, self._garbage = self._garbage.end(self._base + end), None
                yield fault
                return True
        return False

    def _usual(self) -> Generator[Document, None, None]:
        """What SES and Firehose write, one after the other without looking between: lines, or glued `}{`."""
        data, start = self._data, self._position
        reach = min(self._limit, _USUAL)
        while data[start : start + 1] == b"{":
            end = data.find(b"\n", start, start + reach)
            text = data[start:end] if end >= 0 else b""
            if not _valid(text):
                end = data.find(b"}{", start, start + reach) + 1
                text = data[start:end]
                if not _valid(text):
                    return
            yield Document(self._base + start, text)
            start = end + (data[end] == _NEWLINE)
            self._position = start

    def _line(self, *, final: bool) -> Document | None:
        """The usual case: a line that is one document."""
        data, start = self._data, self._position
        end = data.find(b"\n", start, start + self._limit)
        if end < 0:
            if not final or len(data) - start > self._limit:
                return None
            end = len(data)
        text = data[start:end].rstrip(b" \t\r,]" if self._array else b" \t\r")
        try:
            _VALID.decode(text)
        except (DecodeError, RecursionError):
            return None
        self._position = start + len(text)
        return Document(self._base + start, text)

    def _document(self, scan: _Scan, *, final: bool) -> Frame | None:
        """Go on scanning; the frame, once it ends. None: it wants more bytes, or became `_garbage`."""
        data = self._data
        index = scan.position - self._base
        size = len(data)
        while index < size:
            if scan.in_string:
                index = _end(_STRING, data, index)
                if index == size or (data[index] == _BACKSLASH and index + 1 == size):
                    break
                if data[index] != _QUOTE:
                    line = index + (1 if data[index] == _NEWLINE else 2)
                    return self._broken(scan, line, "truncated_json", "A line break inside a string.")
                scan.in_string = False
            else:
                index = _end(_RUN, data, index)
                if index == size:
                    break
                if data[index] == _QUOTE:
                    scan.in_string = True
                elif (fault := self._bracket(scan, index)) is not None:
                    return self._broken(scan, *fault)
                elif not scan.stack:
                    return self._complete(scan, index + 1)
            index += 1
        scan.position = self._base + index
        if final:
            return self._broken(scan, size, "truncated_json", "The data ends inside this record.")
        self._forget(scan, index)
        return None

    def _bracket(self, scan: _Scan, index: int) -> tuple[int, str, str] | None:
        """Open or close a level; where and how the document is broken, if it does not fit."""
        byte = self._data[index]
        opened = _CLOSES.get(byte)
        if opened is None:
            if byte == _OPEN and scan.stack and self._misplaced(scan, index):
                return index, "truncated_json", "The next record starts inside this one."
            scan.stack.append(byte)
        elif scan.stack.pop() != opened:
            return index + 1, "malformed_json", "Brackets do not match."
        return None

    def _misplaced(self, scan: _Scan, index: int) -> bool:
        """Whether a brace inside a document, first in its line, can only be the next document's."""
        data = self._data
        if data[index - 1] != _NEWLINE:
            return False
        if self._base + index - scan.start > self._limit:
            return True
        before = data[max(index - _LOOK_BACK, 0) : index].rstrip()[-1:]
        return not (before in (b"[", b":", b"") or (before == b"," and scan.stack[-1] == ord("[")))

    def _complete(self, scan: _Scan, end: int) -> Frame:
        self._position = end
        if self._base + end - scan.start > self._limit:
            return self._too_large(scan, end)
        return Document(scan.start, self._data[scan.start - self._base : end])

    def _broken(self, scan: _Scan, end: int, cause: str, detail: str) -> Fault | None:
        """End a document that cannot end well: either go back to a line in it, or on to the next document."""
        self._position = end
        start = scan.start - self._base
        if self._base + end - scan.start > self._limit:
            fault = self._too_large(scan, end)
            self._garbage = _Garbage(fault.offset, fault.cause, fault.detail, fault.payload, broken=True)
        else:
            if scan.start >= self._floor:
                retreat = _LINE_BRACE.search(self._data, start + 1, end)
                if retreat:
                    self._floor = self._base + end
                    end = self._position = retreat.start()
                    payload = self._data[start : min(end, start + PAYLOAD_LIMIT)]
                    return Fault(scan.start, cause, detail, payload, end - start)
            payload = self._data[start : min(end, start + PAYLOAD_LIMIT)]
            self._garbage = _Garbage(scan.start, cause, detail, payload, broken=True)
        self._garbage.before = self._data[end - 1 : end]
        return None

    def _too_large(self, scan: _Scan, end: int) -> Fault:
        start = max(scan.start - self._base, 0)
        prefix = scan.prefix or self._data[start : start + self._kept]
        detail = f"A record is larger than {self._limit} bytes."
        return Fault(scan.start, "record_too_large", detail, prefix, self._base + end - scan.start)

    def _forget(self, scan: _Scan, index: int) -> None:
        """Drop what is scanned of a document that is already too large."""
        if scan.position - scan.start > self._limit:
            if not scan.prefix:
                start = scan.start - self._base
                scan.prefix = self._data[start : start + self._kept]
            self._position = max(index - 1, 0)


def _valid(text: bytes) -> bool:
    """Whether it is JSON and ends as an object does."""
    if text[-1:] != b"}":
        return False
    try:
        _VALID.decode(text)
    except (DecodeError, RecursionError):
        return False
    return True


def _end(pattern: re.Pattern[bytes], data: bytes, start: int) -> int:
    match = pattern.match(data, start)
    return match.end() if match else start


def split(data: bytes) -> list[Frame]:
    """The frames of a whole stream."""
    splitter = Splitter()
    return splitter.feed(data) + splitter.finish()
