"""What is inside an attachment: gzip (RFC 1952), zip, one in the other; or what was not packed at all.

By the bytes alone: MIME types and file names of reports say anything. Inflating is zlib's work, and zipfile's. The gzip
frame is read here, for zlib and `gzip` give nothing at all of a stream whose checksum is wrong, that has something
after its end, or that ends early, and such streams are sent every day.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from pipelines.mail.reports.refusal import Refused

if TYPE_CHECKING:
    from pipelines.mail.policy import Limits

GZIP: Final = b"\x1f\x8b"
ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_LAYERS: Final = 3
"""Packed more often than that is a game."""
_FREE: Final = 1024 * 1024
"""Up to here no ratio counts: small texts that repeat themselves deflate very well."""
_FILES: Final = 1_000
"""Entries of a zip: `zipfile` reads them all, at half a kilobyte each."""
_MEMBERS: Final = 100
"""Of a gzip: they are one text in pieces."""
_STEP: Final = 512
"""Bytes inflated at a time: what a damaged stream gives before its damage is lost by no more than a step."""
_READ: Final = 64 * 1024
_PEEK: Final = 4096
_DEFLATE: Final = 8
_EXTRA, _NAME, _COMMENT, _HEADER_CRC = 4, 8, 16, 2
"""Flags of a gzip header."""


@dataclass(slots=True)
class Unpacked:
    """Bytes, and what was wrong with what they were packed in: `bad_checksum`, `truncated_gzip`, `trailing_bytes`."""

    data: bytes
    defects: list[str] = field(default_factory=list)


def unpack(data: bytes, limits: Limits) -> Unpacked:
    """The innermost bytes.

    Raises:
        Refused: they cannot be had, or they would be too many.
    """
    most = min(limits.inflated, max(_FREE, limits.ratio * len(data)))
    found = Unpacked(data)
    zipped = False
    for _ in range(_LAYERS):
        if found.data[:2] == GZIP:
            found.data = _gunzip(found.data, most, found.defects)
        elif found.data[:4] in ZIP:
            if zipped:
                raise Refused("nested_zip", "a zip file in a zip file")
            zipped = True
            found.data = _unzip(found.data, most, found.defects)
        else:
            break
    if len(found.data) > limits.inflated:
        raise Refused("inflates_too_much", f"{len(found.data)} bytes; {limits.inflated} are read at the most")
    if found.data[:2] == GZIP or found.data[:4] in ZIP:
        raise Refused("nested_too_deep", f"packed more than {_LAYERS} times")
    return found


def peek(data: bytes) -> bytes:
    """The first few kilobytes of what is inside; empty where it cannot be had. Cheap: asked of every attachment."""
    for _ in range(_LAYERS):
        try:
            if data[:2] == GZIP:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(
                    data[_gzip_header(data, 0) : _READ], _PEEK
                )
            elif data[:4] in ZIP:
                with _opened(data) as packed, packed.open(_chosen(packed)) as file:
                    data = file.read(_PEEK)
            else:
                return data[:_PEEK]
        except Exception:  # noqa: BLE001 - whatever zipfile raises: nothing can be seen
            return b""
    return data[:_PEEK]


def _gunzip(data: bytes, most: int, defects: list[str]) -> bytes:
    pieces: list[bytes] = []
    size = position = 0
    for _ in range(_MEMBERS):
        start = _gzip_header(data, position)
        member, position, whole = _inflate(data, start, most - size)
        pieces.append(member)
        size += len(member)
        if not whole:
            _note(defects, "truncated_gzip")
            break
        trailer = zlib.crc32(member).to_bytes(4, "little") + (len(member) & 0xFFFFFFFF).to_bytes(4, "little")
        if data[position : position + 8] != trailer:
            _note(defects, "bad_checksum")
        position += 8
        if data[position : position + 2] != GZIP:
            break
    if data[position:].strip(b"\0"):
        _note(defects, "trailing_bytes")
    if not size and "truncated_gzip" in defects:
        raise Refused("damaged_gzip", "nothing of it can be inflated")
    return b"".join(pieces)


def _gzip_header(data: bytes, start: int) -> int:
    """Where the deflated bytes begin (RFC 1952, section 2.3)."""
    fixed = data[start : start + 10]
    if len(fixed) < 10 or fixed[2] != _DEFLATE:  # noqa: PLR2004 - octets of the fixed part
        raise Refused("damaged_gzip", "its header is none")
    flags, position = fixed[3], start + 10
    if flags & _EXTRA:
        position += 2 + int.from_bytes(data[position : position + 2], "little")
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            end = data.find(b"\0", position)
            if end < 0:
                raise Refused("damaged_gzip", "its header has no end")
            position = end + 1
    return position + (2 if flags & _HEADER_CRC else 0)


def _inflate(data: bytes, start: int, most: int) -> tuple[bytes, int, bool]:
    """Inflated bytes, where the deflated ones end, and whether they do."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces: list[bytes] = []
    size, position = 0, start
    while not inflater.eof and position < len(data):
        step = data[position : position + _STEP]
        try:
            piece = inflater.decompress(step, most - size + 1)
        except zlib.error:
            return b"".join(pieces), len(data), False
        size += len(piece)
        if size > most:
            raise Refused("inflates_too_much", f"more than {most} bytes inside {len(data)}")
        pieces.append(piece)
        position += len(step) - len(inflater.unused_data)
    return b"".join(pieces), position, inflater.eof


def _unzip(data: bytes, most: int, defects: list[str]) -> bytes:
    try:
        with _opened(data) as packed:
            chosen = _chosen(packed)
            if sum(not info.is_dir() for info in packed.infolist()) > 1:
                _note(defects, "other_files")
            with packed.open(chosen) as file:
                return _read(file, most, len(data))
    except Refused:
        raise
    except Exception as error:  # zipfile raises nearly anything, from struct.error to RuntimeError
        raise Refused("damaged_zip", f"{error}"[:200] or type(error).__name__) from error


def _opened(data: bytes) -> zipfile.ZipFile:
    if data.count(b"PK\x01\x02") > _FILES:
        raise Refused("too_many_files", f"more than {_FILES} of them")
    return zipfile.ZipFile(io.BytesIO(data))


def _chosen(packed: zipfile.ZipFile) -> zipfile.ZipInfo:
    files = [
        info for info in packed.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")
    ]
    if not files:
        raise Refused("empty_zip", "there is no file in it")
    chosen = next(
        (info for info in files if info.filename.lower().endswith((".xml", ".json", ".gz"))), files[0]
    )
    if chosen.flag_bits & 1:
        raise Refused("encrypted_zip", f"{chosen.filename[:200]} wants a password")
    if chosen.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # LZMA would reserve whatever memory the file says it needs.
        raise Refused("damaged_zip", f"compression method {chosen.compress_type} is not read")
    return chosen


def _read(file: IO[bytes], most: int, packed: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := file.read(_READ):
        size += len(piece)
        if size > most:
            raise Refused("inflates_too_much", f"more than {most} bytes inside {packed}")
        pieces.append(piece)
    return b"".join(pieces)


def _note(defects: list[str], defect: str) -> None:
    if defect not in defects:
        defects.append(defect)
