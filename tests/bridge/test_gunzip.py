"""gzip in any shape: whole, in members, broken, and as a bomb."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sources.gunzip import PIECE, Gunzip

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = b"".join(b'{"number": %d}\n' % number for number in range(30_000))
NOISE = bytes((zlib.crc32(bytes([each % 251, each // 251]))) & 0xFF for each in range(60_000))


def cut(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def read(data: bytes, size: int = 4096) -> tuple[bytes, str]:
    content = Gunzip(cut(data, size))
    found = b"".join(content)
    assert content.given == len(found)
    return found, content.damage.cause if content.damage else ""


@given(
    parts=st.lists(st.binary(max_size=2000), min_size=1, max_size=4),
    size=st.integers(1, 700),
    padding=st.integers(0, 600),
)
def test_members_cut_anywhere(parts: list[bytes], size: int, padding: int) -> None:
    data = b"".join(gzip.compress(part) for part in parts) + bytes(padding)
    assert read(data, size) == (b"".join(parts), "")


@given(data=st.binary(max_size=500).filter(lambda data: data[:2] != b"\x1f\x8b"), size=st.integers(1, 9))
def test_what_is_not_gzip_is_given_as_it_is(data: bytes, size: int) -> None:
    assert read(data, size) == (data, "")


@given(end=st.integers(2, len(gzip.compress(NOISE)) - 1), size=st.integers(50, 5000))
def test_a_truncated_stream_gives_what_was_readable(end: int, size: int) -> None:
    found, cause = read(gzip.compress(NOISE)[:end], size)
    assert cause == "truncated_gzip"
    assert NOISE.startswith(found)
    reference = zlib.decompressobj(31)
    assert found == reference.decompress(gzip.compress(NOISE)[:end]) + reference.flush()


def test_truncation_in_the_second_member() -> None:
    data = gzip.compress(b"first\n") + gzip.compress(TEXT)[:-9]
    found, cause = read(data)
    assert cause == "truncated_gzip"
    assert found.startswith(b"first\n" + TEXT[:100_000])


@pytest.mark.parametrize("garbage", [b"\n", b"garbage after it", b"\0\0garbage", b"\x1f\x8bgarbage"])
def test_garbage_behind_the_last_member(garbage: bytes) -> None:
    assert read(gzip.compress(TEXT) + garbage) == (TEXT, "corrupt_gzip")


def test_a_wrong_checksum() -> None:
    data = bytearray(gzip.compress(TEXT))
    data[-8] ^= 1
    assert read(bytes(data)) == (TEXT, "corrupt_gzip")


def test_what_stands_before_an_error_is_given() -> None:
    data = bytearray(gzip.compress(NOISE, compresslevel=1))
    middle = len(data) // 2
    data[middle : middle + 40] = b"\xff" * 40
    found, cause = read(bytes(data), len(data))
    assert cause == "corrupt_gzip"
    assert len(found) > len(NOISE) // 3
    assert found[:20_000] == NOISE[:20_000]


@pytest.mark.parametrize("data", [b"", gzip.compress(b"", mtime=0)])
def test_nothing(data: bytes) -> None:
    assert read(data) == (b"", "")


def test_a_bomb_is_streamed_in_bounded_memory() -> None:
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(300)) + compressor.flush()
    assert len(bomb) < 400_000
    tracemalloc.start()
    try:
        largest = total = 0
        for piece in Gunzip([bomb]):
            largest = max(largest, len(piece))
            total += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 300 << 20
    assert largest <= PIECE
    assert peak < 4 << 20
