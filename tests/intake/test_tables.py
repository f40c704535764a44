"""The data beside the code: providers, machine opens, SMTP signals."""

from __future__ import annotations

import itertools
import re
from importlib import resources

import pytest

from pipelines.intake import machine_opens, providers, smtp_signals

SHIPPED = [providers.table(), providers.mx_table()]


def test_the_provider_table_is_lower_case_and_large_enough() -> None:
    table = providers.table().entries
    assert len(table) > 350
    assert all(re.fullmatch(r"\.?[a-z0-9-]+(\.[a-z0-9-]+)+", domain) for domain in table)


@pytest.mark.parametrize("table", SHIPPED, ids=lambda table: table.origin)
def test_every_row_has_a_source_and_its_domains_are_idna(table: providers.Table) -> None:
    for domain, entry in table.entries.items():
        assert len(entry.comment) > 10, domain
        assert domain.removeprefix(".").encode("ascii").decode("idna").encode(
            "idna"
        ).decode() == domain.strip(".")


def test_no_provider_reports_in_one_table_and_not_in_the_other() -> None:
    flags: dict[str, set[bool]] = {}
    for table in SHIPPED:
        for entry in table.entries.values():
            flags.setdefault(entry.provider.name, set()).add(entry.provider.reports_complaints)
    assert [name for name, both in flags.items() if len(both) > 1] == []
    assert providers.OTHER not in flags


@pytest.mark.parametrize("name", ["providers.tsv", "mx.tsv"])
def test_the_rows_of_a_provider_stand_together_and_no_key_hides_behind_another(name: str) -> None:
    text = resources.files("pipelines.intake").joinpath(name).read_text("utf-8")
    rows = [line.split("\t")[0] for line in text.splitlines() if line and not line.startswith("#")]
    groups = [group for group, _ in itertools.groupby(rows)]
    assert sorted(groups) == sorted(set(groups))
    table = next(table for table in SHIPPED if table.origin == name)
    for key, entry in table.entries.items():
        parent = providers.find(table, key.removeprefix(".").partition(".")[2])
        covers = parent is not None and parent.key.startswith(".")
        assert not covers or parent.entry.provider != entry.provider, f"{key} is covered already"


@pytest.mark.parametrize(
    ("domain", "name", "reports"),
    [
        ("gmail.com", "gmail", False),
        ("googlemail.com", "gmail", False),
        ("yahoo.co.uk", "yahoo", True),
        ("aol.com", "yahoo", True),
        ("verizon.net", "yahoo", True),
        ("yahoo.co.jp", "yahoo_japan", False),
        ("hotmail.com", "microsoft", True),
        ("msn.com", "microsoft", True),
        ("icloud.com", "apple", False),
        ("comcast.net", "comcast", True),
        ("cox.net", "yahoo", True),
        ("simulator.amazonses.com", "ses_simulator", True),
    ],
)
def test_providers(domain: str, name: str, *, reports: bool) -> None:
    assert providers.Directory().of(domain) == providers.Provider(name, reports)


@pytest.mark.parametrize(
    ("agent", "delay_ms", "machine"),
    [
        ("Mozilla/5.0", 60_000, True),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 10_3_3 like Mac OS X)", 60_000, False),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/42.0 Safari/537.36 Edge/12.246 Mozilla/5.0", 60_000, True),
        ("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Firefox/11.0 (via ggpht.com GoogleImageProxy)", 1_400, True),
        (
            "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Firefox/11.0 (via ggpht.com GoogleImageProxy)",
            90_000,
            False,
        ),
        ("Thunderbird", 2_000, True),
        ("Thunderbird", 2_001, False),
        ("Thunderbird", -5, False),
        ("", 60_000, True),
    ],
)
def test_opens_of_machines(agent: str, delay_ms: int, *, machine: bool) -> None:
    assert machine_opens.is_machine_open(agent, delay_ms) is machine


@pytest.mark.parametrize(
    "reply",
    [
        "421-4.7.28 [192.0.2.1 15] Our system has detected an unusual rate of\n421-4.7.28 unsolicited mail",
        "550-5.7.1 [192.0.2.1] Our system has detected that this message is likely unsolicited mail.",
        "550-5.7.1 [192.0.2.1] Our system has detected this message is\r\n550-5.7.1 likely unsolicited mail.",
        "550-5.7.26 This mail has been blocked because the sender is unauthenticated.",
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints",
        "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1",
        "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your ISP (S3150).",
        "550 5.7.515 Access denied, sending domain example.com doesn't meet the required level.",
        "550 5.7.606 Access denied, banned sending IP [192.0.2.1]",
        "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.",
        "550 5.7.1 Service unavailable; client [192.0.2.1] blocked using zen.spamhaus.org",
        "554 5.7.1 Message rejected as spam",
        "554 5.7.1 [HM08] Message rejected due to local policy.",
        "421 4.1.0 192.0.2.1 Throttled - BL000010",
        "554 Reject due to policy restrictions. For explanation visit https://postmaster.gmx.net",
    ],
)
def test_replies_about_reputation(reply: str) -> None:
    assert smtp_signals.is_reputation_signal(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "550 5.1.1 user unknown",
        "550-5.1.1 The email account that you tried to reach does not exist.\n550 5.1.1 Try again",
        "552 5.2.2 mailbox full",
        "421 4.4.1 Unable to connect to remote host",
        "550 5.7.1 Unable to relay",
        "550 5.7.1 RESOLVER.RST.NotAuthorized; not authorized",
        "452 4.5.3 too many recipients",
        "554 delivery error: This user doesn't have a yahoo.com account [0] - mta1.mail.yahoo.com",
        "Amazon SES did not send the message because the address is on the suppression list.",
        "552 5.3.4 message too large; absorbs too much",
    ],
)
def test_replies_about_mailboxes(reply: str) -> None:
    assert not smtp_signals.is_reputation_signal(reply)


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        ("smtp; 550 5.1.1 user unknown", "550 5.1.1 user unknown"),
        ("SMTP;550 a; b", "550 a; b"),
        ("X-Postfix; unknown user", "X-Postfix; unknown user"),
        ("Amazon SES did not send; list", "Amazon SES did not send; list"),
        ("", ""),
    ],
)
def test_the_reply_in_a_diagnostic_code(code: str, reply: str) -> None:
    assert smtp_signals.reply_of(code) == reply
