"""How many received mails a second one core reads into rows, and how much memory a mail of 40 MB takes.

`python bench/inbound.py [rounds]` measures in turns the reader here, the standard library's parser
(`email.policy.default`) and plain mail-parser, on the same mails: a reply of 52 KB with SES's header fields, text, HTML
and a file. All three tell senders, recipients, subject, date and ids, decode text and files, and hash the files; ours
also tells verdicts, kind, tenant and the rest of a row, and encodes it. Then each reads one mail of 40 MB, in a process
of its own.
"""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from time import process_time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MAILS = 200
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "we",
    "receive",
    "quarterly",
    "figures",
    "of",
    "several",
    "subsidiaries",
]
MB = 1024 * 1024
HEADER = """\
Return-Path: <bob{number}@customer.example>
Received: from mail-yw1-f171.customer.example (mail-yw1-f171.customer.example [192.0.2.171])
 by inbound-smtp.us-east-1.amazonaws.com with SMTP id {number:040x}
 for support+case-{number}@in.example.com;
 Fri, 02 Jan 2026 03:04:05 +0000 (UTC)
X-SES-Spam-Verdict: PASS
X-SES-Virus-Verdict: PASS
Received-SPF: pass (spfCheck: domain of customer.example designates 192.0.2.171 as permitted sender);
 client-ip=192.0.2.171;
Authentication-Results: amazonses.com;
 spf=pass (spfCheck: domain of customer.example designates 192.0.2.171 as permitted sender) client-ip=192.0.2.171;
 envelope-from=bob@customer.example; helo=mail-yw1-f171.customer.example;
 dkim=pass header.i=@customer.example;
 dmarc=pass header.from=customer.example;
X-SES-RECEIPT: AEFBQUFBQUFBQUFGaFZ6
X-SES-DKIM-SIGNATURE: a=rsa-sha256; q=dns/txt; b=Zm9v; c=relaxed/simple; s=abc; d=amazonses.com; t=1767323045; v=1
Received: by mail-yw1-f171.customer.example with SMTP id 00721157ae682; Fri, 02 Jan 2026 03:04:04 +0000
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=customer.example; s=20230601; t=1767323044;
        h=cc:to:subject:message-id:date:from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;
        b=Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFy
MIME-Version: 1.0
References: <0100019b7c{number:06x}-00000001-5f6c-4b5f-9b7c-9f0b1e2d3c4d-000000@email.amazonses.com>
In-Reply-To: <0100019b7c{number:06x}-00000001-5f6c-4b5f-9b7c-9f0b1e2d3c4d-000000@email.amazonses.com>
From: =?UTF-8?Q?Bob_M=C3=BCller?= <bob{number}@customer.example>
Date: Fri, 2 Jan 2026 04:04:04 +0100
Message-ID: <CAEPk3RKsi{number}@mail.customer.example>
Subject: Re: =?UTF-8?B?V2hhdCBpcyBuZXcgaW4gSsOkbm5lcg==?=, number {number}
To: "Support, Example" <support+case-{number}@in.example.com>
Cc: Alice Smith <alice@customer.example>, carol@customer.example
Content-Type: multipart/mixed; boundary="000000000000mixed{number}"

--000000000000mixed{number}
Content-Type: multipart/alternative; boundary="000000000000alternative{number}"

--000000000000alternative{number}
Content-Type: text/plain; charset="UTF-8"
Content-Transfer-Encoding: quoted-printable

"""
PART = """
--{boundary}
Content-Type: {kind}
Content-Transfer-Encoding: {encoding}
{more}
"""


def text(random: Random, size: int, line: str = "{}") -> str:
    """Lines of words."""
    lines: list[str] = []
    while size > 0:
        lines.append(line.format(" ".join(random.choices(WORDS, k=11))))
        size -= len(lines[-1])
    return "\n".join(lines)


def mail(number: int) -> bytes:
    """A reply to a message of ours."""
    random = Random(number)
    file = base64.encodebytes(random.randbytes(18_000)).decode()
    page = text(random, 20_000, '<p style=3D"margin:0">{}</p>')
    pdf = 'Content-Disposition: attachment; filename="figures.pdf"\n'
    alternative, mixed = f"000000000000alternative{number}", f"000000000000mixed{number}"
    whole = [
        HEADER.format(number=number),
        text(random, 4_000),
        PART.format(
            boundary=alternative, kind='text/html; charset="UTF-8"', encoding="quoted-printable", more=""
        ),
        f"<html><head><style>p{{margin:0}}</style></head><body>{page}</body></html>\n--{alternative}--",
        PART.format(boundary=mixed, kind='application/pdf; name="figures.pdf"', encoding="base64", more=pdf),
        f"{file}--{mixed}--\n",
    ]
    return "".join(whole).replace("\n", "\r\n").encode()


def large() -> bytes:
    """A mail of 40 MB with a file of 28."""
    line = base64.b64encode(bytes(range(57))) + b"\r\n"
    head = mail(1).partition(b'Content-Disposition: attachment; filename="figures.pdf"\r\n\r\n')
    return head[0] + head[1] + line * (40 * MB // len(line) - 500) + b"--000000000000mixed1--\r\n"


def ours() -> Callable[[bytes], Any]:
    """Mails to encoded rows."""
    from pipelines.intake.provenance import Provenance
    from pipelines.intake.providers import Directory
    from pipelines.mail.policy import MailPolicy
    from pipelines.mail.reading import MailReader
    from schemas.avro import newest
    from schemas.blocks import BlockBuilder

    reader = MailReader(MailPolicy(directory=Directory(), pii_key=b"bench"))
    builder = BlockBuilder(newest("inbound_mail"))
    provenance = Provenance("s3://mails/key", 1_767_323_045_000, "s3")

    def read(raw: bytes) -> Any:
        found = reader.read(raw, None, provenance, path="s3")
        if found.dead_letters:
            raise SystemExit(found.dead_letters[0]["detail"])
        builder.add(found.mail)
        if builder.full:
            builder.take()
        return found.mail["base_subject"], found.mail["attachments"][0]["sha256"]

    return read


def standard_library() -> Callable[[bytes], Any]:
    """As its documentation reads a mail."""

    def read(raw: bytes) -> Any:
        message = email.message_from_bytes(raw, policy=email.policy.default)
        wanted = ("Subject", "From", "To", "Cc", "Date", "Message-ID", "In-Reply-To", "References")
        values = [str(message[name]) for name in wanted]
        contents = [part.get_content() for part in message.walk() if not part.is_multipart()]
        return values, [hashlib.sha256(each).hexdigest() for each in contents if isinstance(each, bytes)]

    return read


def mail_parser() -> Callable[[bytes], Any]:
    """As its documentation reads a mail."""
    import mailparser

    def read(raw: bytes) -> Any:
        parsed = mailparser.parse_from_bytes(raw)
        values = [
            parsed.subject,
            parsed.from_,
            parsed.to,
            parsed.cc,
            parsed.date,
            parsed.message_id,
            parsed.headers,
        ]
        contents = [base64.b64decode(each["payload"]) for each in parsed.attachments]
        return values, parsed.text_plain, [hashlib.sha256(each).hexdigest() for each in contents]

    return read


READERS = {"SES Streams": ours, "standard library": standard_library, "mail-parser": mail_parser}


def alone(name: str, path: str) -> None:
    """In a process of its own: read a file, and print seconds and the peak of memory."""
    read = READERS[name]()
    read(mail(0))
    raw = Path(path).read_bytes()
    Path("/proc/self/clear_refs").write_text("5")
    start = process_time()
    read(raw)
    seconds = process_time() - start
    peak = next(
        line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    )
    print(json.dumps({"seconds": seconds, "peak": int(peak) // 1024}))


def measured_alone(name: str, path: Path) -> dict[str, float]:
    """What `alone` prints."""
    done = subprocess.run(
        [sys.executable, __file__, "alone", name, str(path)], capture_output=True, check=True
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    """Measure, in turns, so that a busy machine slows all alike."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    mails = [mail(number) for number in range(MAILS)]
    readers = {name: make() for name, make in READERS.items()}
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, read in readers.items():
            start = process_time()
            for raw in mails:
                read(raw)
            rates[name].append(MAILS / (process_time() - start))
    print(f"{MAILS} mails of {len(mails[0]):,} bytes, {rounds} rounds; mails/s of processor time")
    ours_rates = rates["SES Streams"]
    for name, each in rates.items():
        times = statistics.median(one / other for one, other in zip(ours_rates, each, strict=True))
        spread = f"({min(each):,.0f} to {max(each):,.0f})"
        print(f"{name:>17}: {statistics.median(each):>6,.0f} {spread:>18}  ours is {times:.1f} times as many")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.eml")
        path.write_bytes(large())
        print(f"one mail of {path.stat().st_size / MB:.1f} MB, each in a process of its own, {rounds} rounds")
        found: dict[str, list[dict[str, float]]] = {name: [] for name in READERS}
        for _ in range(rounds):
            for name, results in found.items():
                results.append(measured_alone(name, path))
    for name, results in found.items():
        seconds = [result["seconds"] for result in results]
        spread = f"({min(seconds):.2f} to {max(seconds):.2f})"
        peak = max(result["peak"] for result in results)
        print(
            f"{name:>17}: {statistics.median(seconds):.2f} s {spread}, {peak:,.0f} MB of process memory at the most"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["alone"]:
        alone(*sys.argv[2:])
    else:
        main()
