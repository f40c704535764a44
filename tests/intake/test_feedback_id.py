"""The Feedback-ID header: fields from the right, and what of a header counts in an event."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.intake.feedback_id import MAX_FIELD, FeedbackId, of_headers, parse, repeats
from pipelines.intake.policy import NormalisePolicy

REAL_C = "1.us-east-1.Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4"
FIELDS = st.lists(st.text(st.characters(exclude_characters=":"), max_size=8), max_size=9)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("spring:shop:eu:acmemail", FeedbackId("spring", "shop", "eu", "acmemail")),
        (f"::{REAL_C}:AmazonSES", FeedbackId(c=REAL_C, sender_id="AmazonSES")),
        (f"{REAL_C}:AmazonSES", FeedbackId(c=REAL_C, sender_id="AmazonSES")),
        ("b:c:acmemail", FeedbackId(b="b", c="c", sender_id="acmemail")),
        ("a::c:acmemail", FeedbackId(a="a", c="c", sender_id="acmemail")),
        (" a :\r\n b : c : acmemail ", FeedbackId("a", "b", "c", "acmemail")),
        ("acmemail", FeedbackId(sender_id="acmemail", problems=("no_identifier",))),
        ("x:a:b:c:acmemail", FeedbackId("a", "b", "c", "acmemail", problems=("too_many_fields",))),
        (":a:b:c:acmemail", FeedbackId("a", "b", "c", "acmemail")),
        ("a:b:c:", FeedbackId(problems=("no_sender_id",))),
        ("", FeedbackId(problems=("no_sender_id",))),
        ("a:a:c:acmemail", FeedbackId("a", "a", "c", "acmemail", ("a",), ("repeated_identifier",))),
        ("a:b:acme1:acme1", FeedbackId("a", "b", "acme1", "acme1", ("acme1",), ("repeated_identifier",))),
        ("a:b:c:four", FeedbackId("a", "b", "c", "four", problems=("sender_id_length",))),
        ("a:b:c:sixteencharacter", FeedbackId("a", "b", "c", "sixteencharacter", (), ("sender_id_length",))),
        ("ä:b:c:acmemail", FeedbackId("ä", "b", "c", "acmemail", problems=("not_ascii",))),
        ("a b:b:c:acmemail", FeedbackId("a b", "b", "c", "acmemail", problems=("whitespace",))),
        ("a" * 257 + ":b:c:acmemail", FeedbackId("", "b", "c", "acmemail", problems=("field_too_long",))),
    ],
)
def test_a_header_reads_as_gmail_reads_it(value: str, expected: FeedbackId) -> None:
    assert parse(value) == expected


@settings(deadline=None)
@given(FIELDS)
def test_only_the_last_four_fields_count_and_each_keeps_its_place_from_the_right(fields: list[str]) -> None:
    read = parse(":".join(fields))
    stripped = [field.strip() for field in fields]
    last = ([""] * 4 + stripped)[-4:]
    if last[3]:
        assert (read.a, read.b, read.c, read.sender_id) == tuple(last)
        # What stands further left changes nothing but the flag for it.
        longer = parse(":".join(["further", *([""] * (4 - len(fields))), *fields]))
        assert (longer.a, longer.b, longer.c, longer.sender_id) == tuple(last)
        assert "too_many_fields" in longer.problems
    else:
        assert read == FeedbackId(problems=("no_sender_id",))


@settings(deadline=None)
@given(st.lists(st.sampled_from(["", "x", "y", "z"]), max_size=6))
def test_repeats_are_what_a_count_finds(fields: list[str]) -> None:
    found = repeats(fields)
    assert sorted(found) == sorted({one for one in fields if one and fields.count(one) > 1})


@settings(deadline=None)
@given(st.text(max_size=3000))
def test_any_text_reads_and_no_field_is_without_bound(text: str) -> None:
    read = parse(text)
    assert all(len(field) <= MAX_FIELD for field in (read.a, read.b, read.c))
    assert bool(read.repeated) == ("repeated_identifier" in read.problems)


def test_several_headers_count_only_if_they_say_the_same() -> None:
    assert of_headers(["a:b:c:acmemail", " a:b:c:acmemail"]) == FeedbackId("a", "b", "c", "acmemail")
    assert of_headers(["a:b:c:acmemail", "a:b:c:otherone"]) is None
    assert of_headers(["a:b:c:"]) is None
    assert of_headers([]) is None


def attributed(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("feedback_a", "feedback_b", "feedback_c", "campaign"))


OURS = "eu-west-1.012345678901"
SET = {"ses:configuration-set": ["marketing"]}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("Feedback-ID", "spring:shop:eu:acmemail", ("spring", "shop", "eu", "spring")),
        ("FEEDBACK-id", f"a:b:{REAL_C}:AmazonSES", ("a", "b", REAL_C, "a")),
        ("feedback-id", "shop:acmemail", ("", "", "shop", "marketing")),
        ("Feedback-ID", "a:b::acmemail", ("a", "b", OURS, "a")),
        ("Feedback-ID", "a:b:c:", ("", "", OURS, "marketing")),
        ("Feedback-ID", None, ("", "", OURS, "marketing")),
        ("X-Feedback-ID", "a:b:c:acmemail", ("", "", OURS, "marketing")),
    ],
)
def test_the_messages_own_header_names_what_tags_do_not(
    name: str, value: str | None, expected: tuple[str, ...], make: Any, event: Any
) -> None:
    headers = [{"name": "Subject", "value": "x"}, {"name": name, "value": value}]
    assert attributed(event(make("Delivery", {"tags": SET, "headers": headers}))) == expected


def test_tags_win_over_the_header_for_ses_writes_its_own_with_them(make: Any, event: Any) -> None:
    headers = [{"name": "Feedback-ID", "value": "x:y:z:acmemail"}]
    for tag in ("a", "b"):
        tags = SET | {f"ses:feedback-id-{tag}": ["mine"]}
        row = event(make("Send", {"tags": tags, "headers": headers}))
        assert row[f"feedback_{tag}"] == "mine"
        assert row["feedback_c"] == OURS
        assert "x" not in attributed(row)


def test_the_header_comes_before_the_campaign_tag(make: Any, event: Any) -> None:
    headers = [{"name": "Feedback-ID", "value": "spring:::acmemail"}]
    policy = NormalisePolicy(pii="plain", campaign_tag="journey")
    row = event(make("Send", {"tags": {"journey": ["welcome"]}, "headers": headers}), policy=policy)
    assert row["campaign"] == "spring"


def test_an_untagged_copy_stays_without_so_that_copies_agree(make_legacy: Any, event: Any) -> None:
    row = event(make_legacy("Bounce", headers=[{"name": "Feedback-ID", "value": "a:b:c:acmemail"}]))
    assert attributed(row) == ("", "", "", "")


@pytest.mark.parametrize(
    "headers",
    [
        None,
        "Feedback-ID: a",
        {"feedback-id": "a:b:c:acmemail"},
        [{"name": 3, "feedback-id": 1}],
        [["Feedback-ID"], "feedback-id"],
        [{"name": "feedback-id", "value": ["feedback-id"]}],
    ],
)
def test_headers_of_another_shape_cost_the_event_nothing(headers: Any, make: Any, event: Any) -> None:
    assert attributed(event(make("Send", {"tags": SET, "headers": headers}))) == ("", "", OURS, "marketing")
