"""Transfer encodings, charsets, files in texts, and what a person reads."""

from __future__ import annotations

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mail_making import HEAD, STEADY, mail, taken_apart

from pipelines.mail.body import without_markup
from pipelines.mail.charsets import codec_of, decode
from pipelines.mail.transfer import undone


def one(*lines: str | bytes) -> tuple[bytes, str, list[str]]:
    parsed = taken_apart(HEAD + mail(*lines))
    return parsed.parts[0].content, parsed.text, parsed.defects


@pytest.mark.parametrize(
    ("label", "text", "codec"),
    [
        ("us-ascii", "hello", "ascii"),
        ("utf-8", "naïve 你好 🎉", "utf-8"),
        ('"UTF8"', "é", "utf-8"),
        ("iso-8859-1", "naïve “quoted”", "cp1252"),
        ("iso-8859-2", "Zażółć gęślą", "iso8859-2"),
        ("ISO_8859-5", "Привет", "iso8859-5"),
        ("iso-8859-7", "Ελλάδα", "iso8859-7"),
        ("iso-8859-8-i", "שלום", "iso8859-8"),
        ("iso-8859-9", "İstanbul", "iso8859-9"),
        ("iso-8859-15", "10 €", "iso8859-15"),
        ("windows-1250", "Příliš žluťoučký", "cp1250"),
        ("windows-1251", "Привет", "cp1251"),
        ("windows-1252http-equivcontent-type", "déjà", "cp1252"),
        ("windows-1255", "שלום", "cp1255"),
        ("windows-1256", "مرحبا", "cp1256"),
        ("x-cp1257", "žalias", "cp1257"),
        ("windows-874", "สวัสดี", "cp874"),
        ("ibm850", "é", "cp850"),
        ("koi8-r", "Привет мир", "koi8-r"),
        ("KOI8-U", "Їжак", "koi8-u"),
        ("gb2312", "你好世界", "gbk"),
        ("gb18030", "你好𠀀", "gb18030"),
        ("hz-gb-2312", "你好", "hz"),
        ("big5", "你好世界", "big5"),
        ("shift_jis", "こんにちは①", "cp932"),
        ("euc_jp", "こんにちは", "euc_jp"),
        ("iso-2022-jp", "こんにちは、world", "iso2022_jp"),
        ("euc-kr", "안녕하세요", "euc_kr"),
        ("ks_c_5601-1987", "똠방각하", "cp949"),
        ("iso-2022-kr", "안녕", "iso2022_kr"),
        ("unicode-1-1-utf-7", "hi £", "utf-7"),
        ("utf-16", "hé", "utf-16"),
        ("macintosh", "Ünïcode", "mac-roman"),
    ],
)
def test_charsets(label: str, text: str, codec: str) -> None:
    assert decode(text.encode(codec), label) == (text, "")


@pytest.mark.parametrize(
    ("data", "label", "hint", "text", "defect"),
    [
        ("naïve".encode(), "us-ascii", "", "naïve", "charset_wrong"),
        ("naïve".encode(), "iso-8859-1", "", "naïve", "charset_wrong"),
        ("naïve".encode("cp1252"), "utf-8", "", "naïve", "charset_wrong"),
        ("naïve".encode(), "x-unknown", "", "naïve", "charset_unknown"),
        ("Привет".encode("koi8-r"), "unknown-8bit", "koi8-r", "Привет", "charset_unknown"),
        ("日本".encode("iso2022_jp"), "unknown-8bit", "", "日本", "charset_unknown"),
        ("é".encode("utf-16"), "binary", "", "é", "charset_unknown"),
        (b"a" * 99 + b"\xff", "utf-8", "", "a" * 99 + "\ufffd", "charset_damaged"),
        (b"\x1b$B-!\x1b(B a \x1b(I1\x1b(B", "iso-2022-jp", "", "\u2460 a \uff71", ""),
        (b"x", "unicode_escape", "", "x", "charset_unknown"),
        (b"xn--a", "punycode", "", "xn--a", "charset_unknown"),
    ],
)
def test_charsets_that_are_wrong(data: bytes, label: str, hint: str, text: str, defect: str) -> None:
    assert decode(data, label, hint) == (text, defect)


@STEADY
@given(
    st.binary(max_size=300),
    st.sampled_from(["utf-7", "utf-16", "hz", "iso-2022-jp", "", "big5", "cp1255", "?"]),
)
def test_whatever_bytes_claim_they_become_text_that_can_be_encoded(data: bytes, label: str) -> None:
    assert decode(data, label)[0].encode() is not None


def test_every_label_names_a_codec_there_is() -> None:
    for page in range(400, 1300):
        if codec := codec_of(f"windows-{page}"):
            assert "x".encode(codec)


def test_base64_with_and_without_damage() -> None:
    clean = base64.encodebytes(bytes(range(256)))
    assert undone(memoryview(clean), "base64") == (bytes(range(256)), "")
    broken = clean[:40] + b"\x00*!\xff" + clean[40:].rstrip(b"=\n")
    assert undone(memoryview(broken), "base64") == (bytes(range(256)), "base64_damaged")
    assert undone(memoryview(b"aGVsbG8"), "base64") == (b"hello", "base64_damaged")
    two = base64.b64encode(b"a" * 100) + b"\n" + base64.b64encode(b"b" * 1000)
    assert undone(memoryview(two), "base64") == (b"a" * 100 + b"b" * 1000, "base64_damaged")


@STEADY
@given(st.binary(max_size=200))
def test_base64_of_anything_comes_back(data: bytes) -> None:
    assert undone(memoryview(base64.encodebytes(data)), "base64") == (data, "")


@pytest.mark.parametrize(
    ("raw", "plain", "defect"),
    [
        (b"caf=C3=A9 =\r\nau lait", "café au lait", ""),
        (b"caf=c3=a9=  \r\n!", "café!", ""),
        (b"100=% =\n", "100=% ", "qp_damaged"),
        (b"a=\rb=\rc", "abc", ""),
    ],
)
def test_quoted_printable(raw: bytes, plain: str, defect: str) -> None:
    assert undone(memoryview(raw), "quoted-printable") == (plain.encode(), defect)


def test_an_unknown_transfer_encoding_leaves_the_bytes() -> None:
    assert one("Content-Transfer-Encoding: rot13", "", "uryyb") == (
        b"uryyb",
        "uryyb",
        ["transfer_encoding_unknown"],
    )


def uuencoded(data: bytes, name: str) -> bytes:
    lines = [binascii.b2a_uu(data[place : place + 45]) for place in range(0, len(data), 45)]
    return b"begin 644 " + name.encode() + b"\n" + b"".join(lines) + b"`\nend\n"


def test_files_uuencoded_in_a_text() -> None:
    data = bytes(range(256)) * 3
    parsed = taken_apart(HEAD + b"\r\nSee:\n" + uuencoded(data, "../a.bin") + b"and\n" + uuencoded(b"x", "b"))
    assert [(part.filename, part.content) for part in parsed.parts[1:]] == [("a.bin", data), ("b", b"x")]
    assert parsed.defects == ["uuencoded"]


def test_a_text_about_beginnings_holds_no_file() -> None:
    parsed = taken_apart(HEAD + b"\r\nbegin 644 words\nwith this\nend\n")
    assert (len(parsed.parts), parsed.defects) == (1, [])


def test_flowed_text_is_joined() -> None:
    _, text, _ = one(
        "Content-Type: text/plain; format=flowed; delsp=yes",
        "",
        "> quoted ",
        "> words",
        "one ",
        "line",
        " >kept",
        "-- ",
        "Ann",
    )
    assert text == "> quotedwords\noneline\n>kept\n-- \nAnn"


def test_html_without_its_markup() -> None:
    page = (
        "<html><head><title>t</title><style>p{}</style></head><body><!-- <p>no</p> -->"
        "<p>Caf&eacute;  &lt;3</p><script>if (a<b) c()</script>a<br>b 1 < 2</body></html>"
    )
    assert without_markup(page) == "Café <3\na\nb 1 < 2"


def test_html_is_read_only_where_there_is_no_plain_text() -> None:
    raw = HEAD + mail("Content-Type: text/html; charset=iso-8859-1", "", b"<b>d\xe9j\xe0</b>")
    assert taken_apart(raw).text == "déjà"


@pytest.mark.parametrize("markup", ["<!--", "<script>", "<style>x", "<a <a <a", "<p", "&amp"])
def test_markup_that_never_ends(markup: str) -> None:
    assert "word" in without_markup("word " + markup)
