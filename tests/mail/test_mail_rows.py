"""From a mail to its row, its attachments, and what is refused of it."""

from __future__ import annotations

import gzip
import hashlib
import mmap
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mail_making import DIRECTORY, HEAD, SES_ID, STEADY, mail, policy, read, received

from pipelines.intake.provenance import Provenance
from pipelines.mail import reading
from pipelines.mail.identity import is_setup_notification, mail_id
from pipelines.mail.notice import Notice
from pipelines.mail.policy import ConversationRule, Limits, MailPolicy, TenantRule
from pipelines.mail.reading import MailReader
from schemas.avro import newest
from schemas.blocks import BlockBuilder

RAW = mail(
    received(),
    'From: "Doe, Ann" <Ann@Example.com>',
    "To: Help <help+case-7@acme.in.example.net>, second@example.org",
    "Cc: third@example.org",
    "Reply-To: ann@private.example",
    "Subject: AW: =?utf-8?q?Gr=C3=BC=C3=9Fe?=",
    "Date: Fri, 2 Jan 2026 04:04:05 +0100",
    "Message-ID: <abc@example.com>",
    "In-Reply-To: <0100-1-000000@eu-west-1.amazonses.com> <ann@private.example>",
    "References: <x@y> <0100-1-000000@eu-west-1.amazonses.com>",
    'Content-Type: multipart/mixed; boundary="b"',
    "",
    "--b",
    "",
    "hello",
    "--b",
    'Content-Type: image/png; name="a.png"',
    "Content-ID: <img@x>",
    "Content-Disposition: inline",
    "Content-Transfer-Encoding: base64",
    "",
    "eA==",
    "--b",
    "Content-Type: application/x; name=b",
    "Content-Disposition: attachment; filename=c.txt",
    "",
    "x",
    "--b--",
    "",
)
X = hashlib.sha256(b"x").hexdigest()


def test_a_row_says_what_the_mail_says() -> None:
    found = read(RAW, object_uri="s3://bucket/key")
    row = found.mail
    assert (row["from_address"], row["from_domain"]) == ("Ann@example.com", "example.com")
    assert (row["subject"], row["base_subject"]) == ("AW: Grüße", "grüße")
    assert (row["message_id"], row["date"]) == ("abc@example.com", 1_767_323_045_000)
    assert row["in_reply_to"] == ["0100-1-000000@eu-west-1.amazonses.com"]
    assert row["references"] == ["x@y", "0100-1-000000@eu-west-1.amazonses.com"]
    assert (row["kind"], row["parts"], row["size"], row["object"]) == (
        "reply",
        3,
        len(RAW),
        "s3://bucket/key",
    )
    assert (found.dead_letters, row["defects"], row["path"]) == ([], [], "file")


def test_attachments_have_a_row_each_and_their_bytes_once() -> None:
    found = read(RAW)
    assert [
        (row["name"], row["content_type"], row["size"], row["inline"]) for row in found.mail["attachments"]
    ] == [
        ("a.png", "image/png", 1, True),
        ("c.txt", "application/x", 1, False),
    ]
    assert {row["sha256"] for row in found.mail["attachments"]} == {X}
    assert [(content.sha256, content.content) for content in found.contents] == [(X, b"x")]


def test_a_row_fits_its_schema() -> None:
    builder = BlockBuilder(newest("inbound_mail"))
    for raw in (RAW, b"", b"\xff" * 99, HEAD, RAW.replace(b"hello", b"\xed\xa0\x80")):
        builder.add(read(raw).mail)
    assert len(builder.take()) > 0


def test_addresses_are_hashed_unless_they_are_to_be_plain() -> None:
    row = read(RAW, pii="hashed", pii_key=b"key").mail
    assert not re.search(r"ann@|help|second@|third@", str(row), re.IGNORECASE)
    again = read(RAW.replace(b"Ann@Example.com", b"ann@EXAMPLE.com"), pii="hashed", pii_key=b"key").mail
    assert (row["from_address"], row["from_domain"]) == (again["from_address"], "example.com")
    assert row["from_address"] != read(RAW, pii="hashed", pii_key=b"other").mail["from_address"]


def test_the_envelope_of_the_notice_comes_first() -> None:
    notice = Notice(
        ses_id="n" * 20,
        time=5,
        account="1",
        region="r",
        envelope_from="v@e.example",
        recipients=("B@x.example",),
    )
    row = read(RAW, notice).mail
    assert (row["received_time"], row["account"], row["region"]) == (5, "1", "r")
    assert (row["envelope_from"], row["envelope_domain"]) == ("v@e.example", "e.example")
    assert row["recipients"] == [{"address": "B@x.example", "domain": "x.example"}]


def test_without_an_envelope_recipients_are_those_of_the_header() -> None:
    row = read(RAW.partition(b"+0000 (UTC)\r\n")[2]).mail
    assert [each["address"] for each in row["recipients"]] == [
        "help+case-7@acme.in.example.net",
        "second@example.org",
        "third@example.org",
    ]
    assert row["received_time"] == 1_767_323_000_000


@pytest.mark.parametrize(
    ("hops", "time"),
    [
        (["Fri, 02 Jan 2026 03:04:05 +0000", "Thu, 01 Jan 2026 00:00:00 +0000"], 1_767_323_045_000),
        (["Wed, 02 Jan 2036 03:04:05 +0000"], 1_767_400_000_000),
        (["no date at all"], 1_767_400_000_000),
        ([], 1_767_400_000_000),
    ],
)
def test_archived_mail_came_when_its_last_server_says(hops: list[str], time: int) -> None:
    fields = [f"Received: from a.example by mx.example.net with ESMTP id 1; {hop}" for hop in hops]
    raw = mail(*fields, HEAD, b"text")
    provenance = Provenance("file:///archive.mbox", 1_767_400_000_000, "file")
    found = MailReader(policy()).read(raw, None, provenance, path="file").mail
    assert found["received_time"] == time
    stored = MailReader(policy()).read(raw, None, provenance, path="s3").mail
    assert stored["received_time"] == 1_767_400_000_000


@pytest.mark.parametrize(
    ("rules", "recipients", "tenant"),
    [
        ([TenantRule("in.example.net")], ("a@acme.in.example.net",), "acme"),
        ([TenantRule(".IN.example.net.")], ("x@example.org", "a@mail.acme.in.example.net"), "acme"),
        ([TenantRule("in.example.net")], ("a@in.example.net", "b@notin.example.net"), ""),
        ([TenantRule("in.example.net"), TenantRule(header="X-Tenant")], ("a@example.org",), "globex"),
        ([TenantRule(header="x-tenant"), TenantRule("in.example.net")], ("a@acme.in.example.net",), "globex"),
        ([TenantRule(header="X-Other")], ("a@acme.in.example.net",), ""),
        ([], ("a@acme.in.example.net",), ""),
    ],
)
def test_tenants(rules: list[TenantRule], recipients: tuple[str, ...], tenant: str) -> None:
    raw = HEAD + b"X-Tenant: globex \r\n\r\n"
    assert read(raw, Notice(recipients=recipients), tenants=tuple(rules)).mail["tenant"] == tenant


def test_conversations_that_addresses_name() -> None:
    rules = (
        ConversationRule("case", re.compile(r"help\+case-(\d+)@.*")),
        ConversationRule("sms", re.compile(r"\+\d+@sms\.example\.com")),
    )
    notice = Notice(
        recipients=("HELP+case-7@in.example.net", "+6140@sms.example.com", "xhelp+case-8@in.example.net")
    )
    row = read(HEAD.replace(b"ann@example.com", b"help+case-9@x"), notice, conversations=rules).mail
    assert row["conversations"] == ["case:7", "case:9", "sms:+6140@sms.example.com"]
    hidden = read(HEAD, notice, conversations=rules, pii="hashed", pii_key=b"k").mail["conversations"]
    assert [value.partition(":")[0] for value in hidden] == ["case", "sms"]
    assert "6140" not in str(hidden)


def test_one_mail_is_one_mail_by_whichever_way_it_comes() -> None:
    by_notice = read(RAW, Notice(ses_id=SES_ID)).mail["mail_id"]
    assert by_notice == read(RAW).mail["mail_id"] == read(RAW.replace(b"\r\n", b"\n")).mail["mail_id"]
    assert by_notice == read(b"cut off", Notice(ses_id=SES_ID)).mail["mail_id"]
    assert by_notice != read(RAW, Notice(ses_id=SES_ID + "x")).mail["mail_id"]
    below = mail("Received: by mx.example.org; Fri, 02 Jan 2026 03:04:05 +0000", RAW)
    assert read(below).mail["mail_id"] not in (by_notice, read(HEAD).mail["mail_id"])
    assert read(below).mail["ses_id"] == ""


@STEADY
@given(
    st.from_regex(r"[a-z0-9]{20,45}", fullmatch=True),
    st.sampled_from(["eu-west-1", "us-gov-west-1"]),
    st.sampled_from([b"\r\n", b"\n", b"\r"]),
    st.text(max_size=20),
)
def test_the_id_of_ses_makes_the_mail_however_its_bytes_came(
    ses_id: str, region: str, end: bytes, text: str
) -> None:
    raw = mail("Return-Path: <a@b>", received(ses_id, region), HEAD, text).replace(b"\r\n", end)
    row = read(raw).mail
    assert (row["ses_id"], row["region"]) == (ses_id, region)
    assert row["mail_id"] == read(b"anything", Notice(ses_id=ses_id)).mail["mail_id"]


@STEADY
@given(
    st.lists(st.sampled_from([b"a", b"\n", b"From: x", b"\r\n"]), max_size=30), st.sampled_from([3, 2**20])
)
def test_line_ends_do_not_make_another_mail(pieces: list[bytes], chunk: int) -> None:
    raw = b"".join(pieces).replace(b"\r\n", b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.mail.identity._CHUNK", chunk)
        forms = {mail_id("", raw.replace(b"\n", end)) for end in (b"\n", b"\r\n", b"\r")}
    assert forms == {mail_id("", raw)}


@STEADY
@given(st.binary(max_size=50), st.binary(max_size=50))
def test_other_bytes_make_another_mail(one: bytes, other: bytes) -> None:
    def same(raw: bytes) -> bytes:
        return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    assert (mail_id("", one) == mail_id("", other)) == (same(one) == same(other))


def test_a_journal_shows_the_mail_that_was_journaled() -> None:
    inner = RAW.partition(b"+0000 (UTC)\r\n")[2]
    raw = mail(
        received(),
        "From: journal@example.net",
        "To: archive@in.example.net",
        "Subject: wrapped",
        "X-MS-Journal-Report:",
        'Content-Type: multipart/mixed; boundary="j"',
        "",
        "--j",
        "Content-Type: text/plain",
        "",
        "Sender: ann@example.com",
        "Message-Id: <abc@example.com>",
        "Recipient: help+case-7@acme.in.example.net",
        "",
        "--j",
        "Content-Type: message/rfc822",
        "",
        inner,
        "--j--",
    )
    row = read(raw, tenants=(TenantRule("in.example.net"),)).mail
    assert row["recipients"] == [
        {"address": "help+case-7@acme.in.example.net", "domain": "acme.in.example.net"}
    ]
    assert (row["tenant"], row["envelope_from"]) == ("", "ann@example.com")
    assert (row["kind"], row["message_id"], row["subject"]) == ("journal", "abc@example.com", "AW: Grüße")
    assert (row["ses_id"], row["from_domain"]) == (SES_ID, "example.com")
    assert [each["name"] for each in row["attachments"]] == ["a.png", "c.txt"]


REPORT = b"""<?xml version="1.0"?><feedback><report_metadata><org_name>example.org</org_name>
<email>d@example.org</email><report_id>7</report_id><date_range><begin>1767225600</begin><end>1767311999</end></date_range></report_metadata>
<policy_published><domain>example.com</domain><p>none</p></policy_published>
<record><row><source_ip>192.0.2.1</source_ip>
<count>2</count><policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
<identifiers><header_from>example.com</header_from></identifiers><auth_results></auth_results></record></feedback>"""


def reporting(content: bytes) -> bytes:
    return mail(
        "From: d@example.org",
        "Subject: Report Domain: example.com Submitter: example.org Report-ID: <7>",
        "Content-Type: application/gzip; name=example.org!example.com!1767225600!1767311999.xml.gz",
        "Content-Transfer-Encoding: binary",
        "",
        content,
    )


def test_reports_have_rows_of_their_own() -> None:
    notice = Notice(ses_id="r" * 20, time=9, recipients=("dmarc@acme.in.example.net",))
    found = read(reporting(gzip.compress(REPORT, mtime=0)), notice, tenants=(TenantRule("in.example.net"),))
    assert (found.mail["kind"], len(found.dmarc), found.dead_letters) == ("dmarc", 1, [])
    record = found.dmarc[0]
    assert (record["report_id"], record["count"], record["tenant"]) == ("7", 2, "acme")
    assert (record["mail_id"], record["received_time"]) == (found.mail["mail_id"], 9)


def test_a_report_that_is_a_bomb_is_a_dead_letter_beside_the_row() -> None:
    bomb = gzip.compress(b" " * 80_000_000, mtime=0)
    found = read(reporting(bomb), object_uri="s3://b/k")
    assert (found.mail["kind"], found.dmarc) == ("dmarc", [])
    assert [(letter["stage"], letter["source"]) for letter in found.dead_letters] == [("mail", "s3://b/k")]


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (b"", "empty_mail"),
        (b"no mail at all", "not_a_mail"),
        (RAW + b"x" * 5000, "too_large"),
        (HEAD + b"X: y\r\n" * 100, "too_many_headers"),
        (RAW.replace(b"hello", b"--b\r\n\r\nx\r\n" * 20), "too_many_parts"),
    ],
)
def test_what_is_refused_has_a_row_and_a_dead_letter(raw: bytes, cause: str) -> None:
    limits = Limits(size=4000, headers=50, parts=10)
    notice = Notice(ses_id="s" * 20, time=7, recipients=("a@b.example",))
    found = read(raw, notice, object_uri="s3://bucket/key", limits=limits)
    row, (letter,) = found.mail, found.dead_letters
    assert (letter["stage"], letter["cause"], letter["source"]) == ("mail", cause, "s3://bucket/key")
    assert (letter["payload"], letter["payload_size"]) == (raw, len(raw))
    assert (row["kind"], row["defects"], row["ses_id"], row["received_time"]) == (
        "other",
        [cause],
        "s" * 20,
        7,
    )
    assert (found.parsed, found.contents) == (None, [])
    if raw.startswith((HEAD, RAW[:20])):
        assert row["from_domain"] == "example.com"


def test_a_bug_of_ours_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise LookupError("no such thing")

    monkeypatch.setattr(reading, "kind_of", broken)
    found = read(RAW)
    assert (found.mail["subject"], found.mail["kind"], len(found.contents)) == ("AW: Grüße", "other", 1)
    assert "no such thing" in found.dead_letters[0]["detail"]
    monkeypatch.setattr(reading, "parse", broken)
    found = read(RAW)
    assert (found.mail["subject"], found.dead_letters[0]["cause"]) == ("AW: Grüße", "internal_error")
    monkeypatch.setattr(reading, "headers_of_beginning", broken)
    assert read(RAW).mail["size"] == len(RAW)


def test_a_mail_may_be_a_mapped_file() -> None:
    with mmap.mmap(-1, len(RAW)) as mapped:
        mapped[:] = RAW
        reader = MailReader(MailPolicy(directory=DIRECTORY, pii="plain"))
        row = reader.read(mapped, None, Provenance("file:///x", 1, "file"), path="file").mail
    assert row["mail_id"] == read(RAW).mail["mail_id"]
    assert row["base_subject"] == "grüße"


def test_a_copy_that_was_read_elsewhere_has_another_arrival() -> None:
    reader = MailReader(policy())
    rows = [
        reader.read(RAW, None, Provenance(uri, 1, "s3"), path="s3").mail
        for uri in ("s3://a/b", "s3://a/c", "s3://a/b")
    ]
    assert rows[0] == rows[2]
    assert {row["mail_id"] for row in rows} == {rows[0]["mail_id"]}
    assert rows[0]["arrival_id"] != rows[1]["arrival_id"]


def test_the_object_that_ses_puts_there_itself_is_no_mail() -> None:
    raw = mail(
        "From: Amazon Web Services <no-reply-aws@amazon.com>",
        "To: recipient@example.com",
        "Subject: Amazon SES Setup Notification",
        "",
        "Hello,",
    )
    assert is_setup_notification(raw)
    assert not is_setup_notification(RAW)
