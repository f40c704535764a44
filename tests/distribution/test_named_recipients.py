"""The recipients that a text names between markers: which count, which are refused, and what cannot be smuggled in."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.mail.distribution.named import named_in
from pipelines.mail.distribution.policy import DistributionPolicy, Unsuitable, matches, valid, within

POLICY = DistributionPolicy(sender="c@us.example", allowed_domains=("a.example", ".b.example"))


def cause(text: str, policy: DistributionPolicy = POLICY) -> str:
    with pytest.raises(Unsuitable) as refused:
        named_in(text, policy)
    return refused.value.cause


def test_addresses_between_the_markers_are_named_and_taken_out_of_the_text() -> None:
    text = "Shot 7\n[[to: ann@a.example, Bob B. <bob@x.b.example>; cy@a.example\n dan@A.EXAMPLE ANN@a.example ]]\nEnd"
    named = named_in(text, POLICY)
    assert named.recipients == ("ann@a.example", "bob@x.b.example", "cy@a.example", "dan@a.example")
    assert named.refused == ()
    assert named.rest == "Shot 7\n\nEnd"


def test_markers_may_be_lines() -> None:
    policy = DistributionPolicy("c@us.example", "BEGIN RECIPIENTS", "END RECIPIENTS", ("a.example",))
    named = named_in("x\nBEGIN RECIPIENTS\nann@a.example\nbob@a.example\nEND RECIPIENTS\ny", policy)
    assert named.recipients == ("ann@a.example", "bob@a.example")
    assert named.rest == "x\n\ny"


def test_nobody_is_allowed_by_default() -> None:
    named = named_in("[[to: ann@a.example]]", DistributionPolicy("c@us.example"))
    assert named.recipients == ()
    assert named.refused == (("ann@a.example", "domain_not_allowed"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", "markers_missing"),
        ("[[to: ann@a.example", "markers_unclosed"),
        ("ann@a.example ]] [[to:", "markers_unclosed"),
        ("[[to: ann@a.example]] and [[to: eve@a.example]]", "markers_repeated"),
        ("[[to: [[to: ann@a.example]]", "markers_repeated"),
        ("> [[to: eve@a.example]]", "markers_missing"),
        ("  >> [[to: eve@a.example]]", "markers_missing"),
        ("fine\n-----Original Message-----\n[[to: eve@a.example]]", "markers_missing"),
        ("fine\n________________________________\n[[to: eve@a.example]]", "markers_missing"),
        ("fine\nOn Mon, 2 Nov 2026, Eve wrote:\n[[to: eve@a.example]]", "markers_missing"),
        ("fine\nBegin forwarded message:\n[[to: eve@a.example]]", "markers_missing"),
        ("[[to: " + "x" * 20_000 + "]]", "too_many_recipients"),
    ],
)
def test_a_text_that_is_not_clear_names_nobody(text: str, expected: str) -> None:
    assert cause(text) == expected


def test_what_is_quoted_between_the_markers_is_not_read() -> None:
    assert named_in("[[to: ann@a.example\n> eve@a.example\n]]", POLICY).recipients == ("ann@a.example",)


def test_markers_quoted_below_an_answer_do_not_count_twice() -> None:
    text = "[[to: ann@a.example]]\n\n> [[to: eve@a.example]]\n> hello"
    assert named_in(text, POLICY).recipients == ("ann@a.example",)


def test_refused_recipients_keep_no_other_from_being_named() -> None:
    named = named_in("[[to: ann@a.example, eve@evil.example, not-an-address, b@b.example]]", POLICY)
    assert named.recipients == ("ann@a.example",)
    assert dict(named.refused) == {
        "eve@evil.example": "domain_not_allowed",
        "not-an-address": "malformed",
        "b@b.example": "domain_not_allowed",
    }


def test_ten_thousand_recipients_are_too_many_and_quickly_so() -> None:
    begun = time.monotonic()
    everybody = ", ".join(f"user{number}@a.example" for number in range(10_000))
    assert cause(f"[[to: {everybody}]]") == "too_many_recipients"
    assert cause("[[to: " + " ".join(f"{n}@a.example" for n in range(51)) + "]]") == "too_many_recipients"
    assert (
        len(named_in("[[to: " + " ".join(f"{n}@a.example" for n in range(50)) + "]]", POLICY).recipients)
        == 50
    )
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "@a.example",
        "ann@",
        "ann@localhost",
        "ann@a..example",
        "ann@-a.example",
        "ann@a.example.",
        "ann@[10.0.0.1]",
        "ann@10.0.0.1",
        "ann.@a.example",
        ".ann@a.example",
        "a..b@a.example",
        '"a b"@a.example',
        "ann%evil.example@a.example",
        "evil.example!ann@a.example",
        "@evil.example:ann@a.example",
        "ann@a.example\n",
        "ann@a.example\r\nBcc: eve@evil.example",
        "änn@a.example",
        "ann@ä.example",
        "ann@a.example,eve@evil.example",
        "mailto:ann@a.example",
        "|sh@a.example",
        "/etc/x@a.example",
        "-oQ/tmp@a.example",
        "a*@a.example",
        "x" * 65 + "@a.example",
        "ann@" + "a." * 130 + "example",
    ],
)
def test_what_could_be_read_in_two_ways_is_no_address(address: str) -> None:
    assert valid(address) == ""


@given(st.text(max_size=60))
def test_an_address_that_is_valid_cannot_break_a_header(text: str) -> None:
    found = valid(text)
    if found:
        assert found.isascii()
        assert not set(found) & set(' \t\r\n,;<>()":\\[]%!')
        assert found.count("@") == 1


@given(
    st.lists(
        st.sampled_from(
            ["[[to:", "]]", "> ", "\n", "ann@a.example", "eve@evil.example", ",", "<", ">", "\r", " "]
        )
    )
)
def test_whatever_the_text_only_allowed_domains_are_named(pieces: list[str]) -> None:
    try:
        named = named_in("".join(pieces), POLICY)
    except Unsuitable:
        return
    assert set(named.recipients) <= {"ann@a.example"}


@pytest.mark.parametrize(
    "address", ["o'neil@a.example", "a.b-c_d+tag=x@x-1.a.example", "7@1.example", "a@xn--4ca.example"]
)
def test_plain_addresses_are_addresses(address: str) -> None:
    assert valid(address) == address


def test_domains_are_allowed_exactly_or_below_a_dot() -> None:
    assert within("a.example", ("a.example",))
    assert not within("x.a.example", ("a.example",))
    assert not within("evila.example", ("a.example",))
    assert within("x.b.example", (".b.example",))
    assert not within("b.example", (".b.example",))
    assert not within("evilb.example", (".b.example",))
    assert matches("Ann@A.example", ("ann@a.example",))
    assert matches("any@d.example", ("*@d.example",))
    assert not matches("any@x.d.example", ("*@d.example",))
