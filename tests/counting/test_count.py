"""The columnar count against a row-by-row reading of the same rules."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.counting import deltas
from pipelines.counting.count import count
from pipelines.counting.hours import Opening
from pipelines.counting.reading import Source, check
from pipelines.counting.remembered import Remembered
from schemas.blocks import MalformedBlock, decode, encode, open_block
from schemas.counters import COUNTERS, DIMENSIONS, TAG_PREFIX
from schemas.events import EVENT_TYPES, OTHER, SUPPRESSED_SUBTYPES, UNTAGGED_DIMENSIONS
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from pipelines.counting.dedup import Keys, Mask

HOUR_MS = 3_600_000
TAGS = ("tag:team", "tag:plan")
NOON = 1_760_011_200_000

NOW = Opening(48, NOON // HOUR_MS)

Cell = tuple[str, str, int]


def blank(partition: int, bucket: int, ids: Keys) -> tuple[Mask, Mask]:
    """Nothing was seen before."""
    return np.zeros(ids.size, dtype=np.bool_), np.zeros(ids.size, dtype=np.bool_)


def event(**facts: Any) -> dict[str, Any]:
    number = facts.pop("id", 0)
    base = {
        "event_id": number.to_bytes(2, "big") * 8,
        "event_type": "Send",
        "event_time": NOON,
        "sent_time": NOON,
        "message_id": f"m{number}",
        "account": "1",
        "tagged": True,
        "recipients": [recipient("gmail")],
    }
    return base | facts


def recipient(provider: str, *, reports: bool = False, blocked: bool = False) -> dict[str, Any]:
    return {
        "address": "x",
        "domain": f"{provider}.example",
        "provider": provider,
        "reports_complaints": reports,
        "blocked": blocked,
    }


def amounts(row: dict[str, Any]) -> list[tuple[str, str]]:  # noqa: C901, PLR0912 - the rules, one by one
    """(counter, provider) for each one that an event adds; no provider: no recipient."""
    kind, people = row["event_type"], row["recipients"]
    first = people[0]["provider"] if people else ""
    each = [one["provider"] for one in people]
    bounce_off = row.get("bounce_subtype") in SUPPRESSED_SUBTYPES
    complaint_off = row.get("complaint_subtype") in SUPPRESSED_SUBTYPES
    found: list[tuple[str, str]] = []
    if kind == "Send":
        found += [("sends", p) for p in each]
    if kind == "Delivery":
        found += [("deliveries", p) for p in each]
        found += [("eligible", one["provider"]) for one in people if one["reports_complaints"]]
    if kind == "Complaint":
        if complaint_off:
            found += [("suppressed", p) for p in each]
        elif row.get("complaint_type") != "not-spam":
            found.append(("complaints", first))
    if kind == "Bounce":
        if bounce_off:
            found += [("suppressed", p) for p in each]
        elif row["bounce_type"] == "Permanent":
            found += [("hard_bounces", p) for p in each]
        if row["bounce_type"] in {"Transient", "Undetermined"} and not row.get("out_of_office"):
            found += [("soft_bounces", p) for p in each]
    if kind == "DeliveryDelay":
        found += [("delays", p) for p in each]
    if kind in {"Bounce", "DeliveryDelay"}:
        found += [("blocks", one["provider"]) for one in people if one["blocked"]]
    if kind == "Open":
        found.append(("machine_opens" if row.get("machine_open") else "opens", first))
    if kind == "Subscription" and row.get("unsubscribed"):
        found.append(("unsubscribes", first))
    simple = {"Reject": "rejects", "Rendering Failure": "rendering_failures", "Click": "clicks"}
    if kind in simple:
        found.append((simple[kind], first))
    return found


def cells(row: dict[str, Any], provider: str) -> dict[str, str]:
    """The value of each dimension."""
    plain = {
        name: row.get(name, "") for name in DIMENSIONS if not name.startswith(("provider", "feedback_ab"))
    }
    a, b, campaign = row.get("feedback_a", ""), row.get("feedback_b", ""), row.get("campaign", "")
    plain["feedback_ab"] = f"{a}:{b}" if a and b else ""
    plain["provider"] = provider
    plain["provider_campaign"] = f"{provider}:{campaign}" if provider and campaign else ""
    for dimension in TAGS:
        named = [tag["values"] for tag in row.get("tags", []) if TAG_PREFIX + tag["name"] == dimension]
        plain[dimension] = named[0][0] if named and named[0] else ""
    return {name: value for name, value in plain.items() if value}


def naive(rows: list[dict[str, Any]]) -> dict[Cell, dict[str, int]]:
    """Every event once, row by row: the sums that any order and any repetition must give."""
    tagged = {row["event_id"] for row in rows if row["tagged"]}
    done: set[bytes] = set()
    sums: dict[Cell, dict[str, int]] = {}
    for row in rows:
        # Twins say the same but for what tags say, so the tagged one speaks for both.
        if row["event_id"] in done or (row["event_id"] in tagged and not row["tagged"]):
            continue
        done.add(row["event_id"])
        for counter, provider in amounts(row):
            for dimension, value in cells(row, provider).items():
                if row["tagged"] or dimension in UNTAGGED_DIMENSIONS:
                    cell = sums.setdefault((dimension, value, row["sent_time"] // HOUR_MS * 3600), {})
                    cell[counter] = cell.get(counter, 0) + 1
    return sums


def counted(batches: list[list[tuple[int, int, list[dict[str, Any]]]]]) -> dict[Cell, dict[str, int]]:
    """Batches of (partition, offset, rows) through the columnar count and its memory, summed."""
    seen = Remembered()
    marks: dict[int, int] = {}
    sums: dict[Cell, dict[str, int]] = {}
    for batch in batches:
        sources = [Source(p, o, open_block(encode("ses_event", rows))) for p, o, rows in batch]
        result = count(sources, lambda _, bucket, ids: seen.look(bucket, ids), NOW, marks, DIMENSIONS + TAGS)
        marks |= result.watermarks
        for found in result.fresh:
            seen.hold(found.bucket, [found.keys])
        for row in result.deltas.iter_rows(named=True):
            assert not row["closed"]
            cell = sums.setdefault((row["dimension"], row["value"], row["hour"]), {})
            for name in COUNTERS:
                if row[name]:
                    cell[name] = cell.get(name, 0) + row[name]
    return sums


words = st.sampled_from(["", "x", "y"])
tag_lists = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["team", "plan", "other"]), "values": st.lists(words, max_size=2)}
    ),
    max_size=3,
)
providers = st.builds(
    recipient, st.sampled_from(["gmail", "yahoo", "other"]), reports=st.booleans(), blocked=st.booleans()
)


@st.composite
def stories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Some events, some of them also untagged, some repeated, in any order."""
    rows = []
    for number in range(draw(st.integers(1, 8))):
        row = event(
            id=number,
            event_type=draw(st.sampled_from([*EVENT_TYPES, OTHER])),
            sent_time=NOON + draw(st.sampled_from([0, HOUR_MS - 1, HOUR_MS])),
            recipients=draw(st.lists(providers, max_size=3)),
            bounce_type=draw(st.sampled_from(["Permanent", "Transient", "Undetermined", ""])),
            bounce_subtype=draw(st.sampled_from(["General", SUPPRESSED_SUBTYPES[0]])),
            complaint_type=draw(st.sampled_from(["abuse", "not-spam"])),
            complaint_subtype=draw(st.sampled_from(["", SUPPRESSED_SUBTYPES[1]])),
            **{
                name: draw(st.booleans())
                for name in ("machine_open", "out_of_office", "unsubscribed", "tagged")
            },
            tags=draw(tag_lists),
            **{
                name: draw(words)
                for name in ("tenant", "feedback_a", "feedback_b", "campaign", "from_domain")
            },
        )
        twin = row | {"tagged": not row["tagged"]}
        rows += draw(st.sampled_from([[row], [row, row], [row, twin], [row, twin, row]]))
    return draw(st.permutations(rows))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories(), st.data())
def test_any_order_any_repetition_any_blocks_give_the_sums_of_each_event_once(
    rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    edges = [0, *cuts, len(rows)]
    blocks = [(0, offset, rows[start:end]) for offset, (start, end) in enumerate(pairwise(edges))]
    split = data.draw(st.integers(0, len(blocks)))
    assert counted([batch for batch in (blocks[:split], blocks[split:]) if batch]) == naive(rows)


def test_untagged_first_counts_only_what_needs_no_tags_and_the_twin_adds_the_rest() -> None:
    plain = event(id=1, tagged=False, from_domain="a.example")
    twin = event(id=1, from_domain="a.example", campaign="spring")
    hour = NOON // 1000
    first = counted([[(0, 0, [plain])]])
    assert set(first) == {
        ("account", "1", hour),
        ("from_domain", "a.example", hour),
        ("provider", "gmail", hour),
    }
    both = counted([[(0, 0, [plain])], [(0, 1, [twin])], [(0, 2, [plain, twin])]])
    assert both == counted([[(0, 0, [twin, plain])]])
    assert both["provider_campaign", "gmail:spring", hour] == {"sends": 1}
    assert both["account", "1", hour] == {"sends": 1}


def test_an_event_in_two_blocks_of_a_batch_is_the_first_blocks() -> None:
    row = event(id=1)
    sources = [Source(3, offset, open_block(encode("ses_event", [row]))) for offset in (7, 8)]
    result = count(sources, blank, NOW, {})
    assert set(result.deltas["source_offset"].to_list()) == {7}
    assert (result.events, result.duplicates) == (2, 1)
    assert [found.partition for found in result.fresh] == [3]


def test_providers_add_up_to_the_account() -> None:
    people = [recipient("gmail"), recipient("yahoo", reports=True)]
    rows = [
        event(id=n, event_type=kind, recipients=people)
        for n, kind in enumerate(["Delivery", "Open", "Complaint"])
    ]
    sums = counted([[(0, 0, rows)]])
    hour = NOON // 1000
    assert sums["account", "1", hour] == {"deliveries": 2, "eligible": 1, "opens": 1, "complaints": 1}
    assert sums["provider", "gmail", hour] == {"deliveries": 1, "opens": 1, "complaints": 1}
    assert sums["provider", "yahoo", hour] == {"deliveries": 1, "eligible": 1}


def test_only_enabled_dimensions_are_counted() -> None:
    sources = [Source(0, 0, open_block(encode("ses_event", [event(id=1, region="eu", campaign="c")])))]
    result = count(sources, blank, NOW, {}, ("region",))
    assert result.deltas["dimension"].to_list() == ["region"]


@pytest.mark.parametrize("rows", [[], [event(id=1, event_type="other")]])
def test_what_counts_nothing_gives_no_delta(rows: list[dict[str, Any]]) -> None:
    sources = [Source(0, 0, open_block(encode("ses_event", rows)))]
    result = count(sources, blank, NOW, {})
    assert result.deltas.is_empty()
    assert sum(found.keys.size for found in result.fresh) == len(rows)


def test_damaged_rows_are_told_from_good_ones() -> None:
    whole = encode("ses_event", [event(id=n) for n in range(3)])
    good = Source(0, 0, open_block(whole))
    torn = Source(0, 1, open_block(whole[:-20] + b"\0"))
    check(good)
    with pytest.raises(MalformedBlock):
        count([good, torn], blank, NOW, {})
    with pytest.raises(MalformedBlock):
        check(torn)
    with pytest.raises(MalformedBlock):
        check(Source(0, 2, open_block(encode("count_delta", []))))


big = st.integers(0, 2**40) | st.integers(0, 70)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["campaign", "provider"]), st.text(max_size=5), st.integers(-5, 500_000), big
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda row: row[:3],
    )
)
def test_delta_blocks_are_byte_for_byte_avro(found: list[tuple[str, str, int, int]]) -> None:
    import polars as pl

    rows = [
        dict.fromkeys(COUNTERS, 0)
        | {"dimension": d, "value": v, "hour": h * 3600, "sends": n, "blocks": n // 3}
        | {"source_partition": 5, "source_offset": 2**33}
        for d, v, h, n in sorted(found)
    ]
    ((_, block),) = deltas.encode(pl.DataFrame(rows), 1)
    assert block == encode("count_delta", rows)


def test_a_key_of_a_source_block_is_never_split_and_goes_to_its_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deltas, "MAX_BYTES", 100)
    rows = [event(id=n, campaign=f"c{n % 3}", sent_time=NOON + n % 4 * HOUR_MS) for n in range(60)]
    sources = [Source(0, o, open_block(encode("ses_event", rows[o * 20 : o * 20 + 20]))) for o in range(3)]
    result = count(sources, blank, NOW, {})
    blocks = deltas.encode(result.deltas, 4)
    owners: dict[tuple[str, str, int], int] = {}
    offsets: dict[tuple[str, str], int] = {}
    for number, (target, data) in enumerate(blocks):
        for row in decode(data):
            key = (row["dimension"], row["value"])
            assert of_key(*key, 4) == target
            assert owners.setdefault((*key, row["source_offset"]), number) == number
            assert row["source_offset"] >= offsets.get(key, 0)
            offsets[key] = row["source_offset"]
    assert len(blocks) > 4
    again = deltas.decode([open_block(data) for _, data in blocks])
    assert sum(len(delta.rows) for delta in again) == result.deltas.height
    assert (
        np.sum([c for delta in again for _, c in delta.rows])
        == result.deltas.select(COUNTERS).to_numpy().sum()
    )
