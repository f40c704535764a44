"""From a domain or its MX records to a provider: precedence, parents, tables of a user's own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.intake.mx import Mx, preferred, provider_of
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.providers import OTHER, Directory, Provider, Table, a_label, is_domain, known, parse

MINE = parse(
    "# From the lab.\nacme\tyes\tacme.example .acme.example\n#\n# Ours.\ngmail\tno\tsales.acme.example yahoo.com\n"
    "other\tno\thotmail.com\n",
    "mine.tsv",
)


@pytest.mark.parametrize(
    ("domain", "name", "reports"),
    [
        ("gmail.com", "gmail", False),
        ("GMAIL.com.", "gmail", False),
        ("mail.gmail.com", "other", False),
        ("cfl.rr.com", "charter", True),
        ("a.b.rr.com", "charter", True),
        ("xrr.com", "other", False),
        ("bücher.example", "other", False),
        ("", "other", False),
        ("com", "other", False),
    ],
)
def test_the_programs_table_knows_domains_and_some_parents(domain: str, name: str, *, reports: bool) -> None:
    assert Directory().of(domain) == Provider(name, reports)


@pytest.mark.parametrize(
    ("domain", "name", "key"),
    [
        ("acme.example", "acme", "acme.example"),
        ("x.y.acme.example", "acme", ".acme.example"),
        ("sales.acme.example", "gmail", "sales.acme.example"),
        ("yahoo.com", "gmail", "yahoo.com"),
        ("aol.com", "yahoo", "aol.com"),
    ],
)
def test_a_table_of_ones_own_comes_first_and_the_nearest_name_in_it(domain: str, name: str, key: str) -> None:
    directory = Directory([MINE])
    assert directory.of(domain).name == name
    match = directory.match(domain)
    assert match is not None
    assert match.key == key


def test_a_domain_can_be_declared_unknown_and_then_the_setting_decides() -> None:
    for unknown in (False, True):
        assert Directory([MINE], unknown_report=unknown).of("hotmail.com") == Provider(OTHER, unknown)


def test_comments_hold_until_the_next() -> None:
    assert [MINE.entries[key].comment for key in ("acme.example", "yahoo.com", "hotmail.com")] == [
        "From the lab.",
        "Ours.",
        "Ours.",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gmail no gmail.com", "line 1: give name, yes or no, and domains, with a tab between each"),
        ("gmail\tmaybe\tgmail.com", "'maybe' is neither yes nor no"),
        ("Gmail\tno\tgmail.com", "'Gmail' is no name of a provider"),
        ("gmail\tno\tGmail.com", "'Gmail.com' is no domain"),
        ("gmail\tno\tbücher.example", "'bücher.example' is no domain"),
        ("gmail\tno\tgmail", "'gmail' is no domain"),
        ("#\n\na\tno\tx.example\nb\tyes\tx.example", "mine, line 4: x.example stands twice"),
        ("a\tno\tx.example\na\tyes\ty.example", "a is yes in one row and no in another"),
    ],
)
def test_a_malformed_table_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="mine, line") as caught:
        parse(text, "mine")
    assert said in str(caught.value)


def test_names_beyond_ascii_are_looked_up_as_dns_has_them(make: Any, event: Any) -> None:
    table = parse("acme\tyes\txn--bcher-kva.example", "mine.tsv")
    assert Directory([table]).of("Bücher.example").name == "acme"
    policy = NormalisePolicy(pii="plain", provider_tables=(table,))
    row = event(make("Send", {"destination": ["a@bücher.example", "b@xn--bcher-kva.example"]}), policy=policy)
    assert [one["provider"] for one in row["recipients"]] == ["acme", "acme"]
    assert a_label("\ud800." * 3) == "\ud800.\ud800.\ud800"


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_has_a_provider(text: str) -> None:
    assert Directory([MINE]).of(text).name in {*known(), "acme", OTHER}
    assert not (is_domain(text) and text != text.lower())


def test_the_fingerprint_differs_where_an_answer_may(make: Any) -> None:
    swapped = Table("mine.tsv", dict(reversed(MINE.entries.items())))
    same, other = Directory([MINE]).fingerprint(), Directory([MINE], unknown_report=True).fingerprint()
    assert Directory([swapped]).fingerprint() == same
    assert len({same, other, Directory().fingerprint()}) == 3


@pytest.mark.parametrize(
    ("hosts", "name", "reports"),
    [
        (["aspmx.l.google.com", "alt1.aspmx.l.google.com"], "gmail", False),
        (["smtp.google.com."], "gmail", False),
        (["acme-example.mail.protection.outlook.com"], "microsoft365", False),
        (["acme-example.a-v1.mx.microsoft"], "microsoft365", False),
        (["outlook-com.olc.protection.outlook.com"], "microsoft", True),
        (["mx-biz.mail.am0.yahoodns.net"], "yahoo", True),
        (["in1-smtp.messagingengine.com"], "fastmail", True),
        (["MX.ZOHO.com"], "zoho", True),
        (["mail.protonmail.ch"], "proton", False),
        (["mx01.mail.icloud.com"], "apple", False),
        (["eu-smtp-inbound-1.mimecast.com"], "mimecast", False),
        (["mxa-00123456.gslb.pphosted.com"], "proofpoint", False),
        (["d1.ess.barracudanetworks.com"], "barracuda", False),
        (["inbound-smtp.eu-west-1.amazonaws.com"], "amazon_inbound", False),
        (["spool.mail.gandi.net"], "gandi", True),
    ],
)
def test_who_hosts_a_domain_is_told_by_its_exchangers(hosts: list[str], name: str, *, reports: bool) -> None:
    found = provider_of(Mx(10, host) for host in hosts)
    assert found is not None
    assert found[0].entry.provider == Provider(name, reports)


def test_only_the_preferred_exchangers_count() -> None:
    google, gateway, own = Mx(10, "aspmx.l.google.com"), Mx(5, "x.mimecast.com"), Mx(1, "mx.acme.example")
    assert provider_of([google, gateway])[0].entry.provider.name == "mimecast"  # type: ignore[index]
    assert provider_of([google, gateway, own]) is None
    assert provider_of([google, Mx(10, "mx.acme.example")]) is not None
    assert provider_of([Mx(10, "l.google.com.evil.example"), Mx(10, "evilsmtp.google.com")]) is None
    assert provider_of([]) is None


@settings(deadline=None)
@given(
    st.permutations(
        [Mx(10, "a.mimecast.com"), Mx(10, "b.l.google.com"), Mx(20, "c.zoho.eu"), Mx(10, "B.l.google.com.")]
    )
)
def test_the_order_of_records_changes_nothing(records: list[Mx]) -> None:
    assert preferred(records) == [Mx(10, "a.mimecast.com"), Mx(10, "b.l.google.com")]
    assert provider_of(records)[0].entry.provider.name == "mimecast"  # type: ignore[index]


@pytest.mark.parametrize("unknown", [False, True])
def test_events_follow_the_tables_of_the_policy(make: Any, event: Any, *, unknown: bool) -> None:
    policy = NormalisePolicy(pii="plain", unknown_providers_report=unknown, provider_tables=(MINE,))
    to = ["a@x.acme.example", "b@yahoo.com", "c@hotmail.com", "d@outlook.com", "e@nobody.example"]
    row = event(make("Delivery", recipients=to), policy=policy)
    assert [(one["provider"], one["reports_complaints"]) for one in row["recipients"]] == [
        ("acme", True),
        ("gmail", False),
        ("other", unknown),
        ("microsoft", True),
        ("other", unknown),
    ]
