"""Header fields: encoded words, parameters, addresses, ids, dates."""

from __future__ import annotations

from email.header import Header

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mail_making import HEAD, STEADY, mail, policy, taken_apart

from pipelines.intake.normalise import Normaliser
from pipelines.intake.policy import NormalisePolicy
from pipelines.mail import ids
from pipelines.mail.addresses import Pseudonyms, listed, of_value
from pipelines.mail.dates import millis_of
from pipelines.mail.fields import decoded, parameters

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=?utf-8?Q?Caf=C3=A9?=", "Café"),
        ("=?UTF-8*en?b?Q2Fmw6k=?= x", "Café x"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?= c =?utf-8?q?b?=", "a c b"),
        ("=?utf-8?b?8J+Y?= =?utf-8?b?ig==?=", "😊"),
        ("=?utf-8?q?Hello there?=", "Hello there"),
        ("=?utf-8?q?How?_are_you??=", "How? are you?"),
        ("=?utf-8?b?Q2Fmw6k?=", "Café"),
        ("a=?utf-8?q?b?=c", "abc"),
        ("=?koi8-r?Q?=F0=D2=C9?= =?gb2312?B?xOM=?=", "При你"),
        ("=?nonsense?q?caf=C3=A9?=", "café"),
        ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        ("=?utf-8?q?unfinished", "=?utf-8?q?unfinished"),
        ("=?utf-8?q?=0D=0AEvil:_x?=", "Evil: x"),
        ("=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
    ],
)
def test_encoded_words(text: str, expected: str) -> None:
    assert decoded(text) == expected


@STEADY
@given(TEXT, st.sampled_from(["utf-8", "utf-16-be"]))
def test_what_the_standard_library_encodes_comes_back(text: str, charset: str) -> None:
    folded = Header(text, charset).encode(maxlinelen=60, linesep="\r\n")
    raw = mail("From: a@example.com", f"Subject: {folded}", "", "")
    assert taken_apart(raw).headers.get("Subject") == text


def test_fields_are_unfolded_and_have_no_control_characters() -> None:
    raw = mail(
        "From: a@example.com", "Subject : one", "\ttwo", "  three\x07", "X-Empty:", "subject: later", "", ""
    )
    headers = taken_apart(raw).headers
    assert (headers.get("subject"), headers.all("SUBJECT")) == ("one two  three", ["one two  three", "later"])
    assert (headers.get("x-empty"), headers.get("x-none", "?")) == ("", "?")


@pytest.mark.parametrize(
    ("charset", "text"),
    [("utf-8", "Grüße"), ("koi8-r", "Привет"), ("windows-1251", "Привет"), ("gb18030", "你好")],
)
def test_eight_bits_in_a_header_are_of_the_charset_the_mail_names(charset: str, text: str) -> None:
    raw = mail(
        "From: a@example.com",
        b"Subject: " + text.encode(charset),
        'Content-Type: multipart/mixed; boundary="x"',
        "",
        "--x",
        f'Content-Type: text/plain; charset="{charset}"',
        "",
        text.encode(charset),
        "--x--",
    )
    parsed = taken_apart(raw)
    assert (parsed.headers.get("Subject"), parsed.text) == (text, text)
    assert parsed.defects == ["header_8bit"]


@pytest.mark.parametrize(
    ("value", "first", "expected"),
    [
        (
            'text/plain; charset="utf-8"; format=flowed',
            "text/plain",
            {"charset": "utf-8", "format": "flowed"},
        ),
        ("TEXT/HTML ;CHARSET = x ", "text/html", {"charset": "x"}),
        ("text/plain charset=utf-8", "text/plain", {"charset": "utf-8"}),
        ('a/b; name="a;b \\"c\\".txt"', "a/b", {"name": 'a;b "c".txt'}),
        ("a/b; name*=UTF-8''caf%C3%A9%20.txt", "a/b", {"name": "café .txt"}),
        ("a/b; name*0*=utf-8'en'%e4%bd; name*1*=%a0; name*2=\"x.txt\"", "a/b", {"name": "你x.txt"}),
        ('a/b; name*1="b.txt"; name*0="a"', "a/b", {"name": "ab.txt"}),
        ('a/b; name="=?utf-8?q?caf=C3=A9?="', "a/b", {"name": "café"}),
        ("a/b; name*=koi8-r''%F0%D2%C9", "a/b", {"name": "При"}),
        ('a/b; name="never closed', "a/b", {"name": "never closed"}),
        ("a/b;; ;x", "a/b", {}),
        ("", "", {}),
    ],
)
def test_parameters(value: str, first: str, expected: dict[str, str]) -> None:
    assert parameters(value) == (first, expected)


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ('"../../etc/passwd"', "passwd"),
        ('"C:\\\\Users\\\\a\\\\report.pdf"', "report.pdf"),
        ('"C:\\Users\\a\\notes.pdf"', "notes.pdf"),
        ('".."', ""),
        ('"a\x01b\x7f.txt"', "ab.txt"),
        ("a b.txt; size=3", "a b.txt"),
        ('"' + "x" * 300 + '.txt"', "x" * 251 + ".txt"),
    ],
)
def test_names_of_files_have_no_path(given_name: str, name: str) -> None:
    raw = HEAD + mail("Content-Type: a/b", f"Content-Disposition: attachment; filename={given_name}", "", "x")
    assert taken_apart(raw).parts[0].filename == name


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@b.example", ["a@b.example"]),
        ("Ann <a@b.example>", ["a@b.example"]),
        ('"Doe, Jane" <j@b.example>, c@d.example', ["j@b.example", "c@d.example"]),
        ("=?utf-8?q?Doe=2C_Jane?= <j@b.example>", ["j@b.example"]),
        ('"boss@bank.example" <evil@x.example>', ["evil@x.example"]),
        ("a@b.example (Ann (the) boss, x@y.example)", ["a@b.example"]),
        ("Team: a@b.example, Bob <c@d.example>;", ["a@b.example", "c@d.example"]),
        ("undisclosed-recipients:;", []),
        ("<a@b.example>, <a@b.example>", ["a@b.example"]),
        ('"quoted local"@b.example', ['"quoted local"@b.example']),
        ("Ann a@b.example", ["a@b.example"]),
        ("<>", []),
        ("A <a@b.example> =?utf-8?q?=2C?= C <c@d.example>", ["a@b.example", "c@d.example"]),
    ],
)
def test_addresses(value: str, expected: list[str]) -> None:
    headers = taken_apart(mail(f"To: {value}", "Subject: x", "", "")).headers
    assert listed(headers, "To") == expected


def test_a_thousand_addresses_of_a_field_are_kept_and_no_more() -> None:
    assert len(of_value(", ".join(f"a{number}@b.example" for number in range(3000)))) == 1000


@STEADY
@given(
    st.sampled_from(["plain", "hashed"]),
    st.binary(max_size=80),
    st.emails(),
    st.sampled_from(["{}", "Somebody <{}>"]),
)
def test_an_address_comes_to_the_same_in_mail_as_in_events(
    pii: str, key: bytes, address: str, form: str
) -> None:
    text = form.format(address)
    event = Normaliser(NormalisePolicy(pii=pii, pii_key=key))._recipient(text)  # type: ignore[arg-type]
    person = Pseudonyms(policy(pii=pii, pii_key=key)).recipient(text)
    assert (person.address, person.domain, person.provider, person.reports) == (
        event.address,
        event.domain,
        event.provider,
        event.reports,
    )


def test_hashed_words_and_text_hold_no_addresses() -> None:
    pseudonyms = Pseudonyms(policy(pii="hashed", pii_key=b"k"))
    assert pseudonyms.redact("to ann@example.com") == "to address"
    assert pseudonyms.word("+61400000000") not in ("", "+61400000000")
    assert Pseudonyms(policy()).word("+61400000000") == "+61400000000"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["<a@b>"], ["a@b"]),
        (["<a@b><c@d>\t<e@f>"], ["a@b", "c@d", "e@f"]),
        (['Your message of "Tue, 2 Jan" <a@b> (was: <c@d>)'], ["a@b", "c@d"]),
        (["a@b c@d"], ["a@b", "c@d"]),
        (["<a @ b>"], ["a@b"]),
        (["<a@b>, <a@b>", "<c@d>"], ["a@b", "c@d"]),
        (["<ann@example.com> <x@y>"], ["x@y"]),
        (["ANN@example.com's message of today"], []),
        (["<no-at-sign>"], ["no-at-sign"]),
        (["<unfinished@x <a@b>"], ["a@b"]),
        (["nothing", ""], []),
    ],
)
def test_ids_that_a_field_cites(values: list[str], expected: list[str]) -> None:
    assert ids.of_values(values, {"ann@example.com", "ann@example.com's"}) == expected


def test_of_thousands_of_ids_the_first_and_the_last_are_kept() -> None:
    kept = ids.of_values([" ".join(f"<{number}@x>" for number in range(5000))])
    assert (len(kept), kept[0], kept[249], kept[250], kept[-1]) == (500, "0@x", "249@x", "4750@x", "4999@x")
    long = ids.of_values(
        [
            " ".join(f"<{number}{'y' * 400}@x>" for number in range(30 * place, 30 * place + 30))
            for place in range(10)
        ]
    )
    assert len(long) == 100
    assert sum(map(len, long)) < 64 * 1024


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<a@b>", "a@b"),
        (" <a@b> (comment)", "a@b"),
        ("a@b", "a@b"),
        ("<a@b\t>", "a@b"),
        ("none", "none"),
        ("", ""),
    ],
)
def test_own_ids(value: str, expected: str) -> None:
    assert ids.own(value) == expected


@pytest.mark.parametrize(
    ("value", "millis"),
    [
        ("Fri, 02 Jan 2026 03:04:05 +0000", 1_767_323_045_000),
        ("Fri, 2 Jan 2026 04:04:05 +0100 (CET)", 1_767_323_045_000),
        ("2 Jan 26 03:04 GMT", 1_767_323_040_000),
        ("Thu, 02 Jan 2026 03:04:05 +0000", 1_767_323_045_000),
        ("Fri Jan  2 03:04:05 2026", 1_767_323_045_000),
        ("Fri, 02 Jan 2026 03:04:05", 1_767_323_045_000),
        ("Fri, 32 Jan 2026 03:04:05 +0000", 0),
        ("2 Jan 99999999999999999999 03:04 GMT", 0),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_dates(value: str, millis: int) -> None:
    assert millis_of(value) == millis
