"""From payloads to rows: every field, and what SES leaves out or spells its own way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.intake.policy import NormalisePolicy
from schemas.events import EVENT_TYPES

SENT_MS, LATER_MS = 1_767_323_045_678, 1_767_323_345_678
ANN = {
    "address": "ann@gmail.com",
    "domain": "gmail.com",
    "provider": "gmail",
    "reports_complaints": False,
    "blocked": False,
    "smtp_reply": "",
}
BOB = {
    **ANN,
    "address": "bob@yahoo.com",
    "domain": "yahoo.com",
    "provider": "yahoo",
    "reports_complaints": True,
}


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_every_type_carries_its_message(kind: str, make: Any, event: Any) -> None:
    row = event(make(kind))
    assert (row["event_type"], row["original_type"], row["origin"]) == (kind, "", "event")
    assert row["sent_time"] == SENT_MS
    own_time = kind not in ("Send", "Reject", "Rendering Failure")
    assert row["event_time"] == (LATER_MS if own_time else SENT_MS)
    assert row["message_id"].startswith("0102019b7d5a2b3e")
    assert (row["account"], row["region"]) == ("012345678901", "eu-west-1")
    assert (row["configuration_set"], row["tenant"], row["from_domain"]) == (
        "marketing",
        "acme",
        "example.com",
    )
    assert (row["feedback_a"], row["feedback_b"]) == ("spring-sale", "shop")
    assert row["feedback_c"] == "eu-west-1.012345678901"
    assert (row["campaign"], row["outgoing_ip"], row["tagged"]) == ("spring-sale", "192.0.2.9", True)
    assert {"name": "journey", "values": ["welcome"]} in row["tags"]
    assert len(row["event_id"]) == 16
    assert -(2**63) <= row["arrival_id"] < 2**63


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Send", {"recipients": [ANN, BOB]}),
        (
            "Delivery",
            {
                "recipients": [{**ANN, "smtp_reply": "250 2.0.0 OK"}],
                "smtp_reply": "250 2.0.0 OK",
                "processing_millis": 870,
                "reporting_mta": "a8-70.smtp-out.amazonses.com",
                "remote_mta_ip": "123.456.789.012",
            },
        ),
        (
            "Bounce",
            {
                "recipients": [{**BOB, "smtp_reply": "554 delivery error: <bob@yahoo.com> no such user"}],
                "smtp_reply": "554 delivery error: <bob@yahoo.com> no such user",
                "bounce_type": "Permanent",
                "bounce_subtype": "General",
                "feedback_id": "feedback-1",
                "reporting_mta": "dsn; mta.example.com",
                "out_of_office": False,
            },
        ),
        (
            "Complaint",
            {
                "recipients": [BOB],
                "complaint_type": "abuse",
                "complaint_subtype": "",
                "feedback_id": "feedback-2",
                "user_agent": "Yahoo!-Mail-Feedback/2.0",
            },
        ),
        ("Reject", {"recipients": [ANN, BOB], "reason": "Bad content"}),
        (
            "Open",
            {
                "recipients": [ANN, BOB],
                "ip_address": "192.0.2.1",
                "user_agent": "Thunderbird",
                "machine_open": False,
            },
        ),
        (
            "Click",
            {
                "recipients": [ANN, BOB],
                "ip_address": "192.0.2.1",
                "user_agent": "Firefox",
                "link": "https://example.com/a?b=c",
            },
        ),
        ("Rendering Failure", {"template": "hello", "reason": "Attribute 'x' is missing."}),
        (
            "DeliveryDelay",
            {
                "recipients": [{**ANN, "smtp_reply": "421 4.4.1 later"}],
                "delay_type": "TransientCommunicationFailure",
                "smtp_reply": "421 4.4.1 later",
            },
        ),
        ("Subscription", {"contact_list": "readers", "unsubscribed": True}),
    ],
)
def test_every_type_carries_its_own_fields(
    kind: str, expected: dict[str, Any], make: Any, event: Any
) -> None:
    row = event(make(kind))
    assert {name: row[name] for name in expected} == expected


def test_a_legacy_notification_is_untagged_and_names_what_mail_names(make_legacy: Any, event: Any) -> None:
    row = event(make_legacy("Bounce"))
    assert (row["origin"], row["tagged"], row["tags"]) == ("notification", False, [])
    assert (row["account"], row["region"], row["from_domain"]) == ("012345678901", "eu-west-1", "example.com")
    for name in (
        "configuration_set",
        "tenant",
        "campaign",
        "feedback_a",
        "feedback_b",
        "feedback_c",
        "outgoing_ip",
    ):
        assert row[name] == ""


def test_an_unknown_type_is_kept_with_its_word(make: Any, event: Any) -> None:
    row = event(
        {"eventType": "Snooze", "mail": make("Send")["mail"], "snooze": {"timestamp": "2026-01-02T04:00:00Z"}}
    )
    assert (row["event_type"], row["original_type"]) == ("other", "Snooze")
    assert row["event_time"] == SENT_MS - SENT_MS % 3_600_000 + 3_600_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2017-08-05T00:40:02.012Z", 1_501_893_602_012),
        ("2018-10-08T14:05:45 +0000", 1_539_007_545_000),
        ("2009-12-03T04:24:21.000-05:00", 1_259_832_261_000),
        ("2026-01-02T03:04:05Z", 1_767_323_045_000),
        ("2026-01-02T03:04:05.6Z", 1_767_323_045_600),
        ("2026-01-02T03:04:05.678901Z", 1_767_323_045_678),
        ("2026-01-02T03:04:60.000Z", 1_767_323_100_000),
        ("1990-01-01T00:00:00.000Z", 631_152_000_000),
    ],
)
def test_timestamps_of_every_spelling(text: str, expected: int, make: Any, event: Any) -> None:
    assert event(make("Send", {"timestamp": text}))["sent_time"] == expected


@pytest.mark.parametrize(
    "text",
    [
        ...,
        None,
        "",
        "yesterday",
        "0000-01-01T00:00:00.000Z",
        "9999-12-31T23:59:59.999Z",
        "1989-12-31T23:59:59.999Z",
        "2200-01-01T00:00:00.000Z",
        "2026-02-30T00:00:00.000Z",
        "2026-01-02T03:04:05.67xZ",
        "2026-01-02T03:04: 5.678Z",
    ],
)
def test_a_message_without_a_possible_time_is_rejected(text: Any, make: Any, take: Any, cause: Any) -> None:
    assert cause(make("Send", {"timestamp": text})) == "invalid_timestamp"


def test_the_usual_form_reads_alike_whether_its_minute_is_known_or_not(make: Any, take: Any) -> None:
    good, bad = "2026-01-02T03:04:05.678Z", ["2026-01-02T03:04:5x.678Z", "2026-01-02T03:04:61.000Z"]
    found = take([make("Send", {"timestamp": text}) for text in [good, *bad, "2026-01-02T03:04:59.999Z"]])
    assert [one["sent_time"] for one in found.events] == [SENT_MS, SENT_MS - 5678 + 59_999]
    assert len(found.dead_letters) == 2


@pytest.mark.parametrize("own", ["0000-00-00T00:00:00Z", "9999-12-31T23:59:59.999Z", "soon", None, ...])
def test_an_event_with_an_impossible_time_of_its_own_has_its_messages(
    own: Any, make: Any, event: Any
) -> None:
    assert event(make("Delivery", timestamp=own))["event_time"] == SENT_MS


@pytest.mark.parametrize("kind", [kind for kind in EVENT_TYPES if kind != "Send"])
def test_an_event_without_the_object_of_its_type_is_rejected(kind: str, make: Any, cause: Any) -> None:
    event = make(kind)
    assert cause({"eventType": kind, "mail": event["mail"]}) == "missing_payload"
    assert cause({"eventType": kind, "mail": event["mail"], list(event)[-1]: None}) == "missing_payload"


def test_the_campaign_is_the_feedback_id_then_the_tag_then_the_configuration_set(
    make: Any, event: Any
) -> None:
    tags = {"ses:feedback-id-a": ["a"], "journey": ["welcome"], "ses:configuration-set": ["set"]}
    policy = NormalisePolicy(pii="plain", campaign_tag="journey")
    for first in ("a", "welcome", "set", ""):
        assert event(make("Send", {"tags": tags}), policy=policy)["campaign"] == first
        tags.pop(next(iter(tags), ""), None)


@pytest.mark.parametrize(
    ("source", "domain"),
    [
        ("news@example.com", "example.com"),
        ("News <news@Example.COM>", "example.com"),
        ("=?utf-8?b?w4TDnA==?= <a@b.example>", "b.example"),
        ('"a@b" <c@d.example>', "d.example"),
        ("", ""),
        (None, ""),
        ("postmaster", ""),
    ],
)
def test_the_from_domain_of_an_untagged_event_is_the_senders(
    source: Any, domain: str, make_legacy: Any, event: Any
) -> None:
    assert event(make_legacy("Delivery", source=source))["from_domain"] == domain


def test_addresses_are_stored_as_a_keyed_hash_of_their_lower_case(make: Any, event: Any) -> None:
    mail = {"destination": ["Ann.B@Gmail.com"]}
    rows = [
        event(
            make("Send", mail if upper else {"destination": ["ann.b@gmail.com"]}),
            policy=NormalisePolicy(pii_key=key),
        )
        for upper in (True, False)
        for key in (b"one", b"two", b"k" * 200)
    ]
    addresses = [row["recipients"][0]["address"] for row in rows]
    assert addresses[:3] == addresses[3:]
    assert len(set(addresses)) == 3
    assert all(len(one) == 32 and "@" not in one for one in addresses)
    assert {row["recipients"][0]["domain"] for row in rows} == {"gmail.com"}
    plain = event(make("Send", mail))["recipients"][0]
    assert plain["address"] == "Ann.B@gmail.com"


def test_hashed_rows_repeat_no_address_in_smtp_replies(make: Any, event: Any) -> None:
    row = event(make("Bounce"), policy=NormalisePolicy(pii_key=b"k"))
    assert row["smtp_reply"] == "554 delivery error: <address> no such user"
    assert "bob@" not in json.dumps(row["recipients"])


def test_a_recipient_named_twice_counts_once(make: Any, event: Any) -> None:
    row = event(make("Delivery", recipients=["Ann <ann@gmail.com>", "ANN@GMAIL.COM", "bob@yahoo.com"]))
    assert [one["domain"] for one in row["recipients"]] == ["gmail.com", "yahoo.com"]


def test_the_to_header_serves_only_where_destination_is_missing(make: Any, event: Any) -> None:
    names = [one["address"] for one in event(make("Send", {"destination": ...}))["recipients"]]
    assert names == ["ann@gmail.com", "bob@yahoo.com"]
    assert event(make("Send", {"destination": []}))["recipients"] == []


def test_a_provider_that_is_not_in_the_table_reports_only_if_a_setting_says_so(make: Any, event: Any) -> None:
    for setting in (False, True):
        policy = NormalisePolicy(pii="plain", unknown_providers_report=setting)
        row = event(make("Send", {"destination": ["x@unlisted.example", "y@gmail.com"]}), policy=policy)
        flags = [(one["provider"], one["reports_complaints"]) for one in row["recipients"]]
        assert flags == [("other", setting), ("gmail", False)]


def test_an_out_of_office_reply_is_a_bounce_without_a_dsn(make: Any, event: Any) -> None:
    bare = {"bounceType": "Transient", "bouncedRecipients": [{"emailAddress": "a@b.c"}], "reportingMTA": ...}
    assert event(make("Bounce", **bare))["out_of_office"]
    for dsn in (
        {"reportingMTA": "dns; x"},
        {"bounceType": "Permanent"},
        {"bounceSubType": "MailboxFull"},
        {"bouncedRecipients": [{"emailAddress": "a@b.c", "status": "4.2.2"}]},
    ):
        assert not event(make("Bounce", **{**bare, **dsn}))["out_of_office"]


def test_only_a_subscription_event_that_turns_something_off_unsubscribes(make: Any, event: Any) -> None:
    def prefs(*, everything: bool, **topics: str) -> dict[str, Any]:
        rows = [{"topicName": name, "subscriptionStatus": status} for name, status in topics.items()]
        return {"unsubscribeAll": everything, "topicSubscriptionStatus": rows}

    cases = [
        (prefs(everything=False), prefs(everything=True), True),
        (prefs(everything=True), prefs(everything=True), False),
        (prefs(everything=True), prefs(everything=False), False),
        (prefs(everything=False, a="OptIn"), prefs(everything=False, a="OptOut"), True),
        (prefs(everything=False, a="OptOut"), prefs(everything=False, a="OptIn"), False),
        (prefs(everything=False, a="OptIn"), prefs(everything=False, a="OptIn", b="OptOut"), True),
        (None, prefs(everything=True), True),
        (prefs(everything=False), None, False),
    ]
    for old, new, expected in cases:
        row = event(make("Subscription", oldTopicPreferences=old, newTopicPreferences=new))
        assert row["unsubscribed"] is expected, (old, new)


def test_replies_about_reputation_mark_their_recipients_blocked(make: Any, event: Any) -> None:
    reply = "smtp; 421-4.7.28 Gmail has detected an unusual rate of unsolicited mail"
    one = {"emailAddress": "ann@gmail.com", "diagnosticCode": reply}
    other = {"emailAddress": "bob@yahoo.com", "diagnosticCode": "smtp; 452 4.2.2 mailbox full"}
    row = event(make("DeliveryDelay", delayedRecipients=[one, other]))
    assert [one["blocked"] for one in row["recipients"]] == [True, False]
    assert event(make("Bounce", bouncedRecipients=[one]))["recipients"][0]["blocked"]
    # A Delivery is no refusal, whatever its reply says.
    assert not event(make("Delivery", smtpResponse=reply))["recipients"][0]["blocked"]
    for delay, expected in (("SendingDeferral", True), ("SpamDetected", True), ("MailboxFull", False)):
        row = event(make("DeliveryDelay", delayType=delay, delayedRecipients=[other]))
        assert row["recipients"][0]["blocked"] is expected


def test_account_and_region_come_from_the_mail_whatever_envelope_it_came_in(make: Any, event: Any) -> None:
    bare = make("Open", {"sourceArn": ...})
    envelope = {
        "Type": "Notification",
        "TopicArn": "arn:aws:sns:us-west-2:999:t",
        "Message": json.dumps(bare),
    }
    for document in (bare, envelope):
        assert [event(document)[name] for name in ("account", "region", "feedback_c")] == [
            "012345678901",
            "",
            "",
        ]
    row = event(make("Open", {"sendingAccountId": None}))
    assert (row["account"], row["region"]) == ("012345678901", "eu-west-1")


@pytest.mark.parametrize("text", ["a\x00b", "\ufdd0", "e\u0301", "👩‍👩‍👧", "\u202e"])
def test_odd_characters_survive(text: str, make: Any, event: Any) -> None:
    assert event(make("Click", link=text))["link"] == text


def test_a_lone_surrogate_becomes_a_replacement_character(make: Any, event: Any) -> None:
    data = json.dumps(make("Click", link="LINK")).encode()
    row = event(data.replace(b"LINK", rb"x\ud83dy\\ud83d\ud83d\ude00"))
    assert row["link"] == "x\ufffdy\\ud83d😀"


@pytest.mark.parametrize(
    "source", ["(" * 1500 + "@", "a" * 100_000 + "@b", "<" * 5000 + "@>", '"' * 1999 + "@"]
)
def test_a_hostile_sender_costs_little_and_breaks_nothing(source: str, make_legacy: Any, event: Any) -> None:
    row = event(make_legacy("Delivery", source=source, destination=[source], commonHeaders={"to": [source]}))
    assert isinstance(row["from_domain"], str)
    assert event(make_legacy("Bounce", destination=...), policy=NormalisePolicy())["recipients"]


def test_a_hundred_thousand_recipients_and_a_megabyte_of_reply_take_no_square(make: Any, event: Any) -> None:
    row = event(make("Send", {"destination": [f"r{n}@example.com" for n in range(100_000)]}))
    assert len(row["recipients"]) == 100_000
    one = {"emailAddress": "a@b.c", "diagnosticCode": "smtp; 550 x@y " + "z" * 1_000_000}
    policy = NormalisePolicy(pii_key=b"k")
    assert event(make("Bounce", bouncedRecipients=[one]), policy=policy)["smtp_reply"].startswith(
        "550 address z"
    )


def test_a_lone_surrogate_in_a_tag_becomes_a_replacement_character(make: Any, event: Any) -> None:
    data = json.dumps(make("Send", {"tags": {"a": ["VALUE"]}})).encode().replace(b"VALUE", rb"\ud800")
    assert event(data)["tags"] == [{"name": "a", "values": ["\ufffd"]}]
