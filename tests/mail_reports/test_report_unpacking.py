"""What attachments are packed in, and bombs."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from typing import Any

import pytest

from pipelines.mail.policy import Limits
from pipelines.mail.reports import looks_like_report, reports_of
from pipelines.mail.reports.refusal import Refused
from pipelines.mail.reports.unpacking import peek, unpack

LIMITS = Limits()
MB = 1024 * 1024


def refused(data: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(Refused) as caught:
        unpack(data, limits)
    return caught.value.cause


def test_every_packing_gives_what_is_inside(packings: Any, report: Any, mail: Any) -> None:
    for name, pack in packings.items():
        unpacked = unpack(pack(report()), LIMITS)
        assert (unpacked.data, unpacked.defects) == (report(), []), name
        found = mail(pack(report()))
        assert looks_like_report(found) == "dmarc", name
        assert len(reports_of(found, LIMITS).dmarc) == 1, name


def test_a_gzip_with_every_field_in_its_header(report: Any) -> None:
    plain = gzip.compress(report())
    header = (
        b"\x1f\x8b\x08"
        + bytes([2 | 4 | 8 | 16])
        + bytes(6)
        + b"\x03\0abc"
        + b"name\0"
        + b"comment\0"
        + b"\0\0"
    )
    assert unpack(header + plain[10:], LIMITS).data == report()


def test_a_gzip_that_is_odd_gives_what_it_has(report: Any, mail: Any) -> None:
    packed = gzip.compress(report())
    wrong = packed[:-8] + b"\0" * 8
    assert unpack(wrong, LIMITS).defects == ["bad_checksum"]
    assert unpack(packed + b"\0\0\0", LIMITS).defects == []
    assert unpack(packed + b"-- \nsent by", LIMITS).defects == ["trailing_bytes"]
    assert unpack(packed[:-8], LIMITS).data == report()
    for odd in (wrong, packed + b"rest", packed[:-8]):
        assert len(reports_of(mail(odd), LIMITS).dmarc) == 1


def test_a_gzip_that_ends_early_or_is_damaged_gives_what_is_before(
    report: Any, record: Any, mail: Any
) -> None:
    data = report(*(record(f"10.1.{n % 200}.{n * 7 % 251}", n * 31) for n in range(2000)))
    packed = gzip.compress(data)
    short = unpack(packed[: len(packed) // 2], LIMITS)
    assert short.defects == ["truncated_gzip"]
    assert data.startswith(short.data)
    assert len(short.data) > len(data) // 4
    found = reports_of(mail(packed[: len(packed) // 2]), LIMITS)
    assert 500 < len(found.dmarc) < 2000
    assert [row["row"] for row in found.dmarc] == list(range(len(found.dmarc)))
    assert [cause for cause, _ in found.refusals] == ["truncated_xml"]
    broken = bytearray(packed)
    broken[len(packed) // 2 :] = b"\xff" * (len(packed) - len(packed) // 2)
    assert len(unpack(bytes(broken), LIMITS).data) > len(data) // 4


def test_a_gzip_of_which_nothing_is_left() -> None:
    assert refused(b"\x1f\x8b") == "damaged_gzip"
    assert refused(b"\x1f\x8b\x08\x08" + b"x" * 30) == "damaged_gzip"
    assert refused(b"\x1f\x8b\x08\0" + bytes(6) + b"\xff" * 30) == "damaged_gzip"
    assert refused(b"\x1f\x8b\x09\0" + bytes(30)) == "damaged_gzip"


def test_bombs_are_refused_before_they_are_inflated(zipped: Any) -> None:
    zeros = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(zeros.compress(bytes(MB)) for _ in range(100)) + zeros.flush()
    assert refused(bomb) == "inflates_too_much"
    assert refused(gzip.compress(bomb)) == "inflates_too_much"
    assert refused(zipped(("r.xml", bytes(100 * MB)))) == "inflates_too_much"
    # By their ratio, though they would fit.
    assert refused(gzip.compress(bytes(8 * MB))) == "inflates_too_much"
    assert refused(zipped(("r.xml", bytes(8 * MB)))) == "inflates_too_much"
    # Small ones may repeat themselves.
    assert len(unpack(gzip.compress(bytes(MB)), LIMITS).data) == MB
    assert refused(gzip.compress(bytes(1000)), Limits(inflated=999)) == "inflates_too_much"


def test_what_is_packed_again_and_again_is_a_game(zipped: Any) -> None:
    data = b"<feedback/>"
    for _ in range(3):
        data = gzip.compress(data)
    assert unpack(data, LIMITS).data == b"<feedback/>"
    assert refused(gzip.compress(data)) == "nested_too_deep"
    assert refused(zipped(("inner.zip", zipped(("r.xml", b"<feedback/>"))))) == "nested_zip"
    assert peek(gzip.compress(data)) != b"<feedback/>"


def test_of_a_zip_the_report_is_taken(zipped: Any) -> None:
    found = unpack(
        zipped(("__MACOSX/x.xml", b"no"), ("readme.txt", b"hello"), ("d/r.XML", b"<feedback/>")), LIMITS
    )
    assert (found.data, found.defects) == (b"<feedback/>", ["other_files"])
    assert unpack(zipped(("any name", b"<feedback/>")), LIMITS).data == b"<feedback/>"


def test_a_zip_that_cannot_be_read(zipped: Any) -> None:
    packed = zipped(("r.xml", b"<feedback>" + b"0123456789" * 99))
    assert refused(packed[:-10]) == "damaged_zip"
    assert refused(packed.replace(b"PK\x01\x02", b"PK\x09\x09")) == "damaged_zip"
    assert refused(zipped()) == "empty_zip"
    assert refused(zipped(("r.xml", b"<feedback/>"), method=zipfile.ZIP_LZMA)) == "damaged_zip"
    locked = bytearray(packed)
    locked[packed.index(b"PK\x01\x02") + 8] |= 1
    assert refused(bytes(locked)) == "encrypted_zip"
    wrong = bytearray(packed)
    wrong[packed.index(b"PK\x01\x02") + 16] ^= 255
    assert refused(bytes(wrong)) == "damaged_zip"
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(1001):
            archive.writestr(str(number), b"")
    assert refused(many.getvalue()) == "too_many_files"
