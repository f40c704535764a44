"""Base subjects (RFC 5256, section 2.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mail_making import STEADY

from pipelines.mail.subject import base_subject


@pytest.mark.parametrize(
    ("subject", "base"),
    [
        ("Hello", "hello"),
        ("Re: Hello", "hello"),
        ("RE : re[2]: Re(3): FW: hello  world ", "hello world"),
        ("[list] Re: [other] hello", "hello"),
        ("Fwd: [Fwd: Re: hello] (fwd)", "hello"),
        ("[only a blob]", "[only a blob]"),
        ("Re:", ""),
        ("AW: WG: Sv: VS: Antw.: Odp: RV: hello", "hello"),
        ("Réf : TR: hello", "hello"),
        ("回复\uff1a转发: 你好", "你好"),
        ("İLT: YNT: merhaba", "merhaba"),
        ("Απ: γεια", "γεια"),
        ("Recap: figures", "recap: figures"),
        ("Invoice: 5", "invoice: 5"),
        ("", ""),
    ],
)
def test_what_is_left(subject: str, base: str) -> None:
    assert base_subject(subject) == base


@STEADY
@given(
    st.text(max_size=40),
    st.lists(st.sampled_from(["Re: ", "AW: ", "Fwd:", "[list] re: ", "回复\uff1a", "SV [2]: "]), max_size=6),
)
def test_answering_changes_nothing_and_twice_is_once(subject: str, prefixes: list[str]) -> None:
    base = base_subject(subject)
    assert base_subject(base) == base
    assert base_subject("".join(prefixes) + base) == base
