"""Framing: what a stream of bytes holds, however it is cut and however it is broken."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.intake.framing import Document, Fault, Splitter, split

A, B = b'{"a":{"b":"}{\\"\\\\"}}', b'{"b":[1,{"c":"[x]"}]}'


def frames(*chunks: bytes, limit: int = 8 << 20) -> list[Document | Fault]:
    splitter = Splitter(limit)
    return [frame for chunk in chunks for frame in splitter.feed(chunk)] + splitter.finish()


def shown(data: bytes) -> list[tuple[int, bytes | str]]:
    return [(f.offset, f.data if isinstance(f, Document) else f.cause) for f in split(data)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (A + b"\n" + B + b"\n", [(0, A), (len(A) + 1, B)]),
        (A + B, [(0, A), (len(A), B)]),
        (
            A + B + b"\n" + B + A + b'{"s":"}{"}' + B,
            [(0, A), (20, B), (42, B), (63, A), (83, b'{"s":"}{"}'), (93, B)],
        ),
        (A + b"\r\n\r\n \n" + B, [(0, A), (len(A) + 6, B)]),
        (b"\xef\xbb\xbf" + A, [(3, A)]),
        (b"\n  " + A, [(3, A)]),
        (b"[" + A + b",\n" + B + b"]", [(1, A), (len(A) + 3, B)]),
        (b"[\n" + A + b",\n" + B + b"\n]\n", [(2, A), (len(A) + 4, B)]),
        (b"[" + A + b"]\n[" + B + b"]", [(1, A), (len(A) + 4, B)]),
        (b"[]", []),
        (b"", []),
        (b" \r\n", []),
        (A + b"\n" + b'{"cut":"in a st', [(0, A), (len(A) + 1, "truncated_json")]),
        (A + b"\n" + b'{"cut":{"x":1,', [(0, A), (len(A) + 1, "truncated_json")]),
        (b'{"cut":"here\n' + A + b"\n", [(0, "truncated_json"), (13, A)]),
        (b'{"cut":{"x":1,\n' + A + b"\n" + B, [(0, "truncated_json"), (15, A), (16 + len(A), B)]),
        (b'{"cut":\n' + A + b"\n" + B, [(0, "truncated_json"), (8, A), (9 + len(A), B)]),
        (A + b" lorem\nipsum " + B, [(0, A), (len(A) + 1, "not_json"), (len(A) + 13, B)]),
        (A + b"}}\n" + B, [(0, A), (len(A), "not_json"), (len(A) + 3, B)]),
        (b'{"a":]}' + A, [(0, "malformed_json"), (7, A)]),
        (b'{"a" b}\n' + A, [(0, b'{"a" b}'), (8, A)]),
        (b'{\n "a": {\n  "x": "1\n  {"\n }\n}\n' + A, [(0, "truncated_json"), (30, A)]),
    ],
)
def test_frames(data: bytes, expected: list[tuple[int, bytes | str]]) -> None:
    assert shown(data) == expected


def test_pretty_printed_documents_are_whole() -> None:
    one = json.dumps({"eventType": "Send", "headers": [{"name": "X"}, {"name": "{Y"}]}, indent=2).encode()
    flush_left = b'{\n"a":\n{\n"b":[\n{\n},\n{\n}\n]\n}\n}'
    assert [data for _, data in shown(one + b"\n" + flush_left + one)] == [one, flush_left, one]


def test_a_record_over_the_limit_is_one_fault_and_the_stream_goes_on() -> None:
    large = b'{"x":"' + b"y" * 2000 + b'","z":{}}'
    found = frames(A + b"\n" + large + b"\n" + B, limit=1000)
    assert [f.offset for f in found] == [0, len(A) + 1, len(A) + len(large) + 2]
    fault = found[1]
    assert isinstance(fault, Fault)
    assert (fault.cause, fault.size, fault.payload) == ("record_too_large", len(large), large[:1000])


def test_memory_is_bounded_while_a_record_never_ends() -> None:
    splitter = Splitter(limit=1 << 20)
    splitter.feed(b'{"x":"')
    for _ in range(64):
        assert splitter.feed(b"y" * (1 << 18)) == []
        assert len(splitter._data) <= 3 << 20
    (fault,) = splitter.feed(b'"}\n' + A)[:1]
    assert isinstance(fault, Fault)
    assert fault.size == 6 + 64 * (1 << 18) + 2
    assert len(fault.payload) == 64 * 1024


def test_an_oversized_record_that_never_closes_ends_at_the_next_line_with_a_brace() -> None:
    found = frames(b'{"x":[' + b"1," * 1000 + b"\n" + A + b"\n" + B, limit=1000)
    assert [f.data if isinstance(f, Document) else f.cause for f in found] == ["record_too_large", A, B]


@pytest.mark.parametrize(
    ("data", "cause", "word"),
    [
        (b"\x1f\x8b\x08\x00", "unsupported_compression", "gzip"),
        (b"PK\x03\x04rest", "unsupported_compression", "zip"),
        (b"\xff\x06\x00\x00sNaPpY", "unsupported_compression", "snappy"),
        (b"\x28\xb5\x2f\xfd", "unsupported_compression", "zstd"),
        (b'From: a@b\n\n{"a":1}\n', "not_json", "JSON"),
        (b'<?xml version="1.0"?>\n<a/>\n', "not_json", "JSON"),
        (b"\xff\xfe{\x00}\x00", "not_json", "JSON"),
    ],
)
def test_content_that_is_not_json_is_one_rejection(data: bytes, cause: str, word: str) -> None:
    (fault,) = split(data)
    assert isinstance(fault, Fault)
    assert (fault.cause, fault.payload, fault.size) == (cause, data, len(data))
    assert word in fault.detail


def test_the_text_of_a_validated_topic_is_a_document() -> None:
    text = b"Successfully validated SNS topic for Amazon SES event publishing.\n"
    assert split(text) == [Document(0, text)]


_piece = st.sampled_from(
    [
        A,
        B,
        b"\n",
        b"\r\n",
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b",",
        b" ",
        b":",
        b"x",
        b"\xef\xbb\xbf",
        b"\n{",
        b"}{",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(_piece, max_size=25).map(b"".join), st.data())
def test_frames_do_not_depend_on_chunks(data: bytes, draw: st.DataObject) -> None:
    data = draw.draw(st.sampled_from([b"", b"{", b"["])) + data
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=12)))
    chunks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    single = [data[i : i + 1] for i in range(len(data))]
    limit = draw.draw(st.sampled_from([12, 40, 8 << 20]))
    whole = frames(data, limit=limit)
    assert frames(*chunks, limit=limit) == whole
    assert frames(*single, limit=limit) == whole


@settings(max_examples=200, deadline=None)
@given(st.lists(_piece, max_size=25).map(b"".join))
def test_no_byte_that_is_not_a_separator_is_lost(data: bytes) -> None:
    data = b"{" + data
    position = 0
    for frame in split(data):
        assert not data[position : frame.offset].strip(b" \r\n\t")
        size = len(frame.data) if isinstance(frame, Document) else frame.size
        if isinstance(frame, Document):
            assert data[frame.offset : frame.offset + size] == frame.data
        position = frame.offset + size
    assert not data[position:].strip(b" \r\n\t")
