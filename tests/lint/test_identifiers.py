"""Identifiers that spoil a report: what is found in which values, and what is let be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.lint.identifiers import Field, Use, lint, looks_unique, spelling, summary

VALUES = st.lists(
    st.builds(
        Use,
        field=st.sampled_from(["feedback_a", "feedback_b", "feedback_c", "tag:journey"]),
        value=st.sampled_from(["a", "A", "a-b", "a_b", "A B", "c", "d:e", "ü"]),
        messages=st.integers(1, 9),
    ),
    unique_by=lambda use: (use.field, use.value),
)


def kinds(*uses: Use, fields: tuple[Field, ...] = ()) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [(each.kind, each.fields, each.examples) for each in lint(fields, uses)]


@pytest.mark.parametrize(
    ("messages", "values", "singles", "unique"),
    [
        (10_000, 10_000, 10_000, True),
        (10_000, 4_000, 500, True),
        (10_000, 3_334, 0, True),
        (10_000, 3_333, 0, False),
        # A campaign of millions beside an id a message.
        (5_000_000, 30_000, 29_999, True),
        # A few campaigns and a few test sends.
        (5_000_000, 800, 700, False),
        (5_000_000, 30_000, 14_000, False),
        # Too little to judge by.
        (99, 99, 99, False),
        (140, 49, 49, False),
        (100, 50, 50, True),
    ],
)
def test_what_looks_unique_per_message(messages: int, values: int, singles: int, *, unique: bool) -> None:
    assert looks_unique(Field("feedback_a", messages, values, singles)) is unique


def test_a_share_of_the_values_stands_for_all() -> None:
    found = [(Use("feedback_b", f"v{n}", 1 + n % 2), n % 2 == 0) for n in range(10)]
    assert summary("feedback_b", found, share=7) == Field("feedback_b", 105, 70, 35, ("v0", "v2", "v4"))
    assert summary("feedback_b", [(Use("feedback_b", "x", 3), False)]).examples == ("x",)


def test_a_unique_field_is_named_with_examples() -> None:
    field = Field("tag:order", 1000, 990, 980, ("o1", "o2", "o3", "o4"))
    (finding,) = lint([field, Field("feedback_a", 1000, 3, 0)], [])
    assert (finding.kind, finding.fields, finding.examples) == ("unique", ("tag:order",), ("o1", "o2", "o3"))
    assert "about 990 values on 1,000 messages" in finding.what


def test_the_same_identifier_in_two_fields_of_feedback_id() -> None:
    uses = [Use("feedback_a", "shop", 5), Use("feedback_b", "shop", 9), Use("feedback_b", "mail", 9)]
    assert kinds(*uses) == [("repeated", ("feedback_a", "feedback_b"), ("shop",))]


def test_a_tag_may_say_what_a_field_says_for_gmail_never_sees_it() -> None:
    assert kinds(Use("feedback_a", "shop", 5), Use("tag:shop", "shop", 5)) == []


def test_another_spelling_in_another_field_is_neither() -> None:
    assert kinds(Use("feedback_a", "Shop", 5), Use("feedback_b", "shop", 5)) == []


def test_spellings_of_one_value_in_one_field_the_most_used_first() -> None:
    uses = [
        Use("feedback_a", text, n)
        for n, text in enumerate(["Spring Sale", "spring-sale", "spring_sale", "winter"])
    ]
    found = kinds(*uses)
    assert ("variants", ("feedback_a",), ("spring_sale / spring-sale / Spring Sale",)) in found
    assert ("characters", ("feedback_a",), ("Spring Sale",)) in found
    assert len(found) == 2


@pytest.mark.parametrize("value", ["a:b", "a b", "ä", "a\tb", "x" * 257])
def test_characters_that_a_field_must_not_have(value: str) -> None:
    (found,) = lint([], [Use("feedback_a", value, 1)])
    assert (found.kind, len(found.examples[0]) <= 80) == ("characters", True)


@pytest.mark.parametrize("value", ["spring-sale", "A_1.b/c+d~", "x" * 256])
def test_characters_that_it_may_have(value: str) -> None:
    assert kinds(Use("feedback_a", value, 1)) == []


@settings(deadline=None)
@given(VALUES, st.randoms())
def test_findings_depend_on_the_uses_not_on_their_order(uses: list[Use], random: object) -> None:
    shuffled = list(uses)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert lint([], shuffled) == lint([], uses)


@settings(deadline=None)
@given(VALUES)
def test_every_finding_is_there_and_none_is_missed(uses: list[Use]) -> None:
    found = {(each.kind, each.fields) for each in lint([], uses)}
    for one in uses:
        for other in uses:
            if (
                one.field == other.field
                and one.value != other.value
                and spelling(one.value) == spelling(other.value)
            ):
                assert ("variants", (one.field,)) in found
    for kind, fields in found:
        values = [{use.value for use in uses if use.field == field} for field in fields]
        assert kind != "repeated" or values[0].intersection(*values[1:])
