"""Mails made to cost time or memory. A square of these sizes is hours: the timeout of a test tells it from a line."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mail_making import HEAD, mail, read, received, tnef

if TYPE_CHECKING:
    from collections.abc import Callable

MB = 1024 * 1024
MULTIPART = HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "100,000 boundaries": (lambda: MULTIPART + b"--b\r\n\r\nx\r\n" * 100_000, "too_many_parts"),
    "multiparts 10,000 deep": (
        lambda: (
            HEAD
            + b"".join(
                b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(10_000)
            )
        ),
        "nested_too_deep",
    ),
    "messages 10,000 deep": (
        lambda: HEAD + b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n" * 10_000,
        "nested_too_deep",
    ),
    "40 MB, 29 deep": (
        lambda: (
            HEAD
            + b"".join(
                b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(29)
            )
            + b"\r\n--" * (9 * MB)
        ),
        "nested_too_deep",
    ),
    "a million header fields": (lambda: HEAD + b"X: y\r\n" * 1_000_000, "too_many_header_bytes"),
    "100,000 short fields": (lambda: HEAD + b"X: y\r\n" * 100_000, "too_many_headers"),
    "fields in every part": (
        lambda: MULTIPART + (b"--b\n" + b"X: y\n" * 1_900 + b"\n") * 500,
        "too_many_headers",
    ),
    "lines folded in every part": (
        lambda: MULTIPART + (b"--b\nX: y\n" + b" \n" * 450_000 + b"\n") * 40,
        "too_many_header_bytes",
    ),
    "40 MB of one field": (lambda: HEAD + b"X: " + b"x" * (39 * MB), "too_many_header_bytes"),
    "40 MB of encoded words begun": (
        lambda: HEAD + b"Subject: " + b"=?utf-8?q?" * (39 * MB // 10),
        "too_many_header_bytes",
    ),
    "40 MB of NUL": (lambda: bytes(40 * MB), "empty_mail"),
    "more than 40 MB": (lambda: HEAD + bytes(41 * MB), "too_large"),
}
TAKEN: dict[str, Callable[[], bytes]] = {
    "40 MB in a line": lambda: HEAD + b"\r\n" + b"x" * (39 * MB),
    "40 MB of false boundaries": lambda: MULTIPART + b"\n--bX" * (39 * MB // 5),
    "a megabyte of encoded words begun": lambda: HEAD + b"Subject: " + b"=?utf-8?q?a" * 90_000 + b"\r\n\r\n",
    "a megabyte of encoded words": lambda: (
        HEAD + b"Subject: " + b"=?utf-8?q?a?= =?koi8-r?b?zMw?= " * 30_000 + b"\r\n\r\n"
    ),
    "comments 10,000 deep": lambda: mail(
        b"From: " + b"(" * 10_000 + b")" * 10_000 + b" a@example.com",
        b"Date: " + b"(" * 10_000 + b"2 Jan 2026",
        b"Received: " + b"(" * 10_000,
        "",
        "",
    ),
    "unclosed quotes and brackets": lambda: mail(
        *(
            name + b": " + frame * 50_000
            for name in (b"From", b"To", b"Cc", b"Reply-To")
            for frame in (b'"<', b"(@")
        ),
        "",
        "",
    ),
    "fields of thousands of addresses": lambda: mail(
        *(b"To: " + b", ".join(b"a%d@x.example" % n for n in range(2_000)) for _ in range(30)), "", ""
    ),
    "giant References": lambda: mail(
        b"From: a@example.com",
        b"References: " + b"<a@b> " * 100_000,
        b"In-Reply-To: " + b"<" * 300_000 + b"a@" * 30_000,
        "",
        "",
    ),
    "traps in Received and results": lambda: mail(
        received() + " ;" * 50_000,
        b"Received-SPF: " + b"(" * 50_000,
        b"Authentication-Results: amazonses.com;" + b'spf=pass (" \\' * 50_000,
        HEAD,
        "",
    ),
    "parameters without end": lambda: HEAD + b"Content-Type: a/b" + b'; a*0*="' * 90_000 + b"\r\n\r\n",
    "markup without end": lambda: HEAD + b"Content-Type: text/html\r\n\r\n" + b"<!--<script><a " * (2 * MB),
    "padding everywhere": lambda: HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"A=" * (19 * MB),
    "files begun": lambda: HEAD + b"\r\n" + b"begin 644 a\nend\n" * (2 * MB),
    "attributes of TNEF": lambda: HEAD + b"Content-Type: application/ms-tnef\r\n\r\n" + tnef(bytes(30 * MB)),
    "escapes of ISO-2022-JP": lambda: (
        HEAD + b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n" + b"\x1b$B" * (10 * MB)
    ),
    "thirty messages, each encoded": lambda: HEAD + encoded_messages(28),
}


def encoded_messages(depth: int) -> bytes:
    raw = b"Subject: innermost\r\n\r\n" + b"x" * 1000
    for _ in range(depth):
        raw = (
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + base64.encodebytes(raw)
        )
    return raw


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", REFUSED)
def test_bombs_are_refused_and_their_header_is_had(name: str) -> None:
    made, cause = REFUSED[name]
    raw = made()
    found = read(raw)
    assert [letter["cause"] for letter in found.dead_letters] == [cause]
    assert found.mail["from_domain"] == ("example.com" if raw.startswith(HEAD) else "")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", TAKEN)
def test_traps_are_walked_around(name: str) -> None:
    found = read(TAKEN[name]())
    assert found.dead_letters == []
    assert len(str(found.mail)) < 200_000


MEASURE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from mail_making import read

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

for path in sys.argv[2:]:
    Path("/proc/self/clear_refs").write_text("5")
    found = read(Path(path).read_bytes())
    assert found.dead_letters == [], found.dead_letters
    print(peak() // 1024, sum(row["size"] for row in found.mail["attachments"]) // 2**20)
    del found
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads peaks from /proc (Linux)")
def test_a_mail_of_40_mb_is_read_within_200_mb_of_memory(tmp_path: Path) -> None:
    line = base64.b64encode(bytes(range(57))) + b"\r\n"
    file = b"Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n" + line * (
        39 * MB // len(line)
    )
    shapes = {
        "file": HEAD + file,
        "forwarded": HEAD + b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n" + file,
        "page": HEAD
        + b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + b"=41 " * (39 * MB // 4),
    }
    paths = [tmp_path / name for name in shapes]
    for path, raw in zip(paths, shapes.values(), strict=True):
        path.write_bytes(raw)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(Path(__file__).parent), *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    peaks = [tuple(map(int, each.split())) for each in done.stdout.splitlines()]
    assert [size for _, size in peaks] == [28, 39, 0]
    assert max(peak for peak, _ in peaks) < 200
