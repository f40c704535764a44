"""Which fields are SES's own, and what is believed of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mail_making import HEAD, SES_ID, STEADY, mail, read, received

from pipelines.mail.authentication import verdicts_of
from pipelines.mail.notice import Notice
from schemas.mail import Verdicts

RESULTS = (
    "amazonses.com; spf=pass (spfCheck: domain of example.com designates 192.0.2.1 as permitted sender)"
    " client-ip=192.0.2.1; envelope-from=ann@example.com; helo=mx.example.com;"
    " dkim=pass header.i=@example.com; dmarc=none header.from=example.com;"
)
BLOCK = [
    "Return-Path: <ann@example.com>",
    received(),
    "X-SES-Spam-Verdict: PASS",
    "X-SES-Virus-Verdict: FAIL",
    "Received-SPF: pass (spfCheck: domain of example.com designates 192.0.2.1) client-ip=192.0.2.1;",
    f"Authentication-Results: {RESULTS}",
    "X-SES-RECEIPT: AEFBQUFBQUFB",
    "X-SES-DKIM-SIGNATURE: a=rsa-sha256; d=amazonses.com",
]
ABSENT = Verdicts(spf="", dkim="", dmarc="", spam="", virus="", dmarc_policy="")
FORGED = [
    "X-SES-Spam-Verdict: PASS",
    "X-SES-Virus-Verdict: PASS",
    "Received-SPF: pass x",
    f"Authentication-Results: {RESULTS}",
]


def verdicts(*lines: str) -> Verdicts:
    return read(mail(*lines, HEAD, "")).mail["verdicts"]


def test_what_ses_wrote_is_believed() -> None:
    found = read(mail(*BLOCK, HEAD, "")).mail
    assert found["verdicts"] == Verdicts(
        spf="PASS", dkim="PASS", dmarc="GRAY", spam="PASS", virus="FAIL", dmarc_policy=""
    )
    assert found["authentication_results"] == [RESULTS]
    assert (found["ses_id"], found["region"]) == (SES_ID, "eu-west-1")
    assert (found["received_time"], found["envelope_from"]) == (1_767_323_045_000, "ann@example.com")
    assert found["recipients"] == [{"address": "help@in.example.net", "domain": "in.example.net"}]


@pytest.mark.parametrize(
    "lines",
    [
        FORGED,
        [
            "Received: from a (b) by mx.example.com with SMTP id 1; Fri, 02 Jan 2026 03:04:05 +0000",
            received(),
            *FORGED,
        ],
        [received(), "From: x@example.com", *FORGED],
        [received(), "DKIM-Signature: v=1; d=amazonses.com", *FORGED],
        [received().replace("by inbound-smtp", "by notinbound-smtp"), *FORGED],
        [received().replace("amazonaws.com", "amazonaws.com.evil.example"), *FORGED],
        [received().replace("from mx.example.com", "from x by mx.evil.example for inbound-smtp"), *FORGED],
        [*FORGED, received(region="eu-west-1.evil")],
    ],
)
def test_lookalikes_of_the_sender_are_not(lines: list[str]) -> None:
    found = read(mail(*lines, HEAD, "")).mail
    assert (found["verdicts"], found["authentication_results"]) == (ABSENT, [])


def test_what_stands_above_ses_own_received_was_added_on_our_side() -> None:
    added = read(mail("X-Added-By-A-Rule: x", *BLOCK[2:4], BLOCK[1], *BLOCK[4:], HEAD, "")).mail
    assert (added["verdicts"], added["authentication_results"]) == (
        read(mail(*BLOCK, HEAD, "")).mail["verdicts"],
        [RESULTS],
    )


def test_a_verdict_below_ses_own_fields_is_the_senders() -> None:
    unscanned = [line for line in BLOCK if "Verdict" not in line]
    assert verdicts(*unscanned, "X-SES-Spam-Verdict: PASS", *FORGED)["spam"] == ""
    assert verdicts(*BLOCK, "X-SES-Virus-Verdict: PASS")["virus"] == "FAIL"
    failed = [line.replace("spf=pass", "spf=fail") for line in BLOCK]
    assert verdicts(*failed, f"Authentication-Results: {RESULTS}")["spf"] == "FAIL"


def test_results_of_another_server_are_not_ours() -> None:
    other = [line.replace("amazonses.com; spf", "mx.example.com; spf") for line in BLOCK]
    found = read(mail(*other, HEAD, "")).mail
    assert found["authentication_results"] == []
    assert (found["verdicts"]["dkim"], found["verdicts"]["spam"], found["verdicts"]["spf"]) == (
        "",
        "PASS",
        "PASS",
    )


def test_the_notice_comes_first_and_disabled_is_a_verdict() -> None:
    notice = Notice(
        ses_id="x" * 20, verdicts=ABSENT | {"spam": "DISABLED", "dmarc": "FAIL", "dmarc_policy": "reject"}
    )
    found = read(mail(*BLOCK, HEAD, ""), notice).mail
    assert found["verdicts"] == Verdicts(
        spf="PASS", dkim="PASS", dmarc="FAIL", spam="DISABLED", virus="FAIL", dmarc_policy="reject"
    )
    assert found["ses_id"] == "x" * 20
    assert read(HEAD + b"\r\n").mail["verdicts"] == ABSENT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("amazonses.com; spf=softfail; dkim=permerror", {"spf": "GRAY", "dkim": "PROCESSING_FAILED"}),
        ("amazonses.com; dkim=fail header.i=@a; dkim=pass header.i=@b", {"dkim": "PASS"}),
        (
            "amazonses.com; dmarc=fail (p=REJECT dis=none) header.from=x",
            {"dmarc": "FAIL", "dmarc_policy": "reject"},
        ),
        (
            'amazonses.com; spf=fail envelope-from="x;dmarc=pass;dkim=pass"@e.example; dmarc=fail',
            {"spf": "FAIL", "dmarc": "FAIL"},
        ),
        (
            "amazonses.com; spf=pass (a (b; dmarc=pass) c) x; dmarc=fail; dmarc=pass",
            {"spf": "PASS", "dmarc": "FAIL"},
        ),
        ("amazonses.com; spf=newword", {"spf": "NEWWORD"}),
        ("amazonses.com", {}),
    ],
)
def test_results_become_verdicts(value: str, expected: dict[str, str]) -> None:
    assert verdicts_of(value) == ABSENT | expected


@STEADY
@given(st.text(st.sampled_from('()";\\ =adkimprsc'), max_size=200))
def test_results_of_any_form_are_read(value: str) -> None:
    assert set(verdicts_of(value)) == set(ABSENT)


@pytest.mark.parametrize(
    ("values", "relay", "organisation"),
    [
        ([], "", ""),
        (["Good.Example"], "expected", "Good.Example"),
        (["evil.example"], "unexpected", "evil.example"),
        (["good.example", "evil.example"], "unexpected", "evil.example"),
        ([""], "unexpected", ""),
    ],
)
def test_mail_that_claims_to_be_relayed(values: list[str], relay: str, organisation: str) -> None:
    lines = [f"X-Mail-Manager-Originator-Org: {value}" for value in values]
    found = read(mail(*lines, HEAD, ""), expected_originators=("good.example",)).mail
    assert (found["relay"], found["originator_org"]) == (relay, organisation)


def test_addresses_in_results_are_not_kept_where_addresses_are_hashed() -> None:
    found = read(mail(*BLOCK, HEAD, ""), pii="hashed", pii_key=b"k").mail
    assert "ann@" not in str(found)
    assert "envelope-from=address;" in found["authentication_results"][0]
