"""Reports, and mails that bring them."""

from __future__ import annotations

import gzip
import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.mail.parsed import Headers, ParsedMail, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEAD = """<?xml version="1.0" encoding="UTF-8" ?>
<feedback>
 <version>1.0</version>
 <report_metadata>
  <org_name>Example Receiver</org_name>
  <email>dmarc@receiver.example</email>
  <report_id>2026-001</report_id>
  <date_range><begin>1767225600</begin><end>1767311999</end></date_range>
 </report_metadata>
 <policy_published>
  <domain>Shop.Example</domain><adkim>r</adkim><aspf>s</aspf><p>reject</p><sp>none</sp><pct>100</pct><fo>1</fo>
 </policy_published>"""
FOOT = "\n</feedback>\n"


def _record(
    ip: str = "192.0.2.1", count: object = 3, *, dkim: str = "pass", spf: str = "fail", more: str = ""
) -> str:
    return f"""
 <record>
  <row><source_ip>{ip}</source_ip><count>{count}</count>
   <policy_evaluated><disposition>none</disposition><dkim>{dkim}</dkim><spf>{spf}</spf>{more}</policy_evaluated>
  </row>
  <identifiers><header_from>shop.example</header_from></identifiers>
  <auth_results>
   <dkim><domain>shop.example</domain><selector>s1</selector><result>pass</result></dkim>
   <spf><domain>amazonses.com</domain><result>pass</result></spf>
  </auth_results>
 </record>"""


@pytest.fixture(scope="session")
def record() -> Callable[..., str]:
    """The XML of a record: `record("192.0.2.1", 3, dkim="fail")`."""
    return _record


@pytest.fixture(scope="session")
def report() -> Callable[..., bytes]:
    """A whole report of some records."""

    def make(*records: str, head: str = HEAD, foot: str = FOOT) -> bytes:
        return (head + "".join(records or [_record()]) + foot).encode()

    return make


@pytest.fixture(scope="session")
def zipped() -> Callable[..., bytes]:
    """A zip of files: `zipped(("r.xml", b"…"))`."""

    def make(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", method) as archive:
            for name, content in files:
                archive.writestr(name, content)
        return packed.getvalue()

    return make


@pytest.fixture(scope="session")
def mail() -> Callable[..., ParsedMail]:
    """A mail with attachments: `mail(b"…", subject="…")`."""

    def make(
        *contents: bytes,
        subject: str = "",
        name: str = "",
        content_type: str = "application/octet-stream",
        fields: Sequence[tuple[str, str]] = (),
        **more: Any,
    ) -> ParsedMail:
        parts = [Part(content_type, filename=name, content=each) for each in contents]
        headers = Headers((("Subject", subject), *fields))
        return ParsedMail(headers, "multipart/mixed", {}, parts, **more)

    return make


@pytest.fixture(scope="session")
def packings(zipped: Callable[..., bytes]) -> dict[str, Callable[[bytes], bytes]]:
    """Every way in which a report comes packed."""
    return {
        "plain": lambda data: data,
        "gzip": gzip.compress,
        "gzip in gzip": lambda data: gzip.compress(gzip.compress(data)),
        "zip": lambda data: zipped(("r.xml", data)),
        "gzip in zip": lambda data: zipped(("r.xml.gz", gzip.compress(data))),
        "zip in gzip": lambda data: gzip.compress(zipped(("r.xml", data))),
        "stored": lambda data: zipped(("r.xml", data), method=zipfile.ZIP_STORED),
        "members": lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:]),
    }
