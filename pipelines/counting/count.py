"""From blocks of `SesEvent` to deltas of counters: one columnar pass over many blocks.

An event adds to the hour in which its message was sent, in every dimension that has a value for it. Counters
of recipients (sends, deliveries, …) go to each recipient's provider, counters of events (complaints, opens,
…) to the provider of the first recipient, so that providers add up to the account.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
import polars as pl

from pipelines.counting.dedup import TAGGED, Keys, Mask, keys
from schemas.blocks import Block, MalformedBlock, container
from schemas.counters import COUNTERS, DIMENSIONS, PAIR_SEPARATOR
from schemas.events import SUPPRESSED_SUBTYPES, UNTAGGED_DIMENSIONS

HOUR_MS: Final = 3_600_000
RECORD: Final = "ses_event"
ALL_DIMENSIONS: Final = frozenset(DIMENSIONS)

Look = Callable[[int, Keys], tuple[Mask, Mask]]
"""Of a source partition and (even) ids.

Which were seen untagged, and which tagged (see `dedup.Seen.look`).
"""

_PLAIN: Final = (
    "account",
    "region",
    "tenant",
    "configuration_set",
    "from_domain",
    "feedback_a",
    "feedback_b",
    "feedback_c",
    "campaign",
    "outgoing_ip",
)
_FACTS: Final = (
    "event_type",
    "bounce_type",
    "bounce_subtype",
    "complaint_type",
    "complaint_subtype",
    "machine_open",
    "out_of_office",
    "unsubscribed",
)
_COLUMNS: Final = ["event_id", "sent_time", "tagged", "recipients", *_FACTS, *_PLAIN]
_SUMS: Final = [pl.col(name).sum() for name in COUNTERS]


@dataclass(frozen=True, slots=True)
class Source:
    """A block of `ses.events` and where it was read."""

    partition: int
    offset: int
    block: Block


@dataclass(frozen=True, slots=True)
class Counted:
    """What a batch of blocks adds."""

    deltas: pl.DataFrame
    """Columns of `CountDelta`, and `source`: the index of the block in the batch. Sorted by source,
    dimension, value
    and hour; without rows that add nothing."""
    fresh: dict[int, Keys]
    """New keys by source partition: to be remembered once the deltas are safe."""
    events: int
    """Rows read."""
    duplicates: int
    """Rows that added nothing because they had been counted."""


def count(sources: Sequence[Source], look: Look, enabled: Collection[str] = ALL_DIMENSIONS) -> Counted:
    """Count the events of blocks, given in offset order per partition, that were not seen before.

    Raises:
        MalformedBlock: when a block's rows do not decode; the caller finds out which with `check`.
    """
    frame = _read(sources)
    heights = [source.block.count for source in sources]
    owner = np.repeat(np.arange(len(sources), dtype=np.int32), heights)
    ids = np.frombuffer(b"".join(frame["event_id"].to_list()), dtype="<u8")[::2]
    found = keys(ids, frame["tagged"].to_numpy())
    partitions = np.repeat(np.array([source.partition for source in sources], dtype=np.int64), heights)
    common, rest = _first_seen(found, partitions, look)
    chosen = common | rest
    fresh = {
        int(partition): found[chosen & (partitions == partition)]
        for partition in np.unique(partitions[chosen]).tolist()
    }
    frame = frame.with_columns(
        pl.Series("source", owner), pl.Series("common", common), pl.Series("rest", rest)
    )
    deltas = _deltas(frame.filter(pl.Series(chosen)), sources, enabled)
    return Counted(deltas, fresh, frame.height, int(frame.height - chosen.sum()))


def check(source: Source) -> None:
    """Find out whether a block's rows decode.

    Raises:
        MalformedBlock: if they do not.
    """
    _read([source])


def _read(sources: Sequence[Source]) -> pl.DataFrame:
    """All rows of the blocks, one after the other; blocks may be of several releases of the schema."""
    if any(source.block.schema.record != RECORD for source in sources):
        raise MalformedBlock(f"a block of another record than {RECORD}")
    frames = []
    start = 0
    for end in range(1, len(sources) + 1):
        schema = sources[start].block.schema
        if end == len(sources) or sources[end].block.schema is not schema:
            frames.append(_read_alike([source.block for source in sources[start:end]]))
            start = end
    return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")


def _read_alike(blocks: Sequence[Block]) -> pl.DataFrame:
    height = sum(block.count for block in blocks)
    data = container(blocks) if height else b""
    try:
        frame = pl.read_avro(BytesIO(data), columns=_COLUMNS) if height else _nothing()
    # polars raises what its Rust reader says: several unrelated types, and a panic on some damage.
    except (Exception, pl.exceptions.PanicException) as error:
        raise MalformedBlock(f"rows do not decode: {error!r}") from error
    if frame.height != height:
        raise MalformedBlock(f"{frame.height} rows where the header says {height}")
    return frame


def _first_seen(found: Keys, partitions: np.ndarray, look: Look) -> tuple[Mask, Mask]:
    """Which rows count for the dimensions that need no tags, and which for the others.

    The first row of an event counts for the former, its first tagged row for the latter; once tagged, an
    event has said everything.
    """
    ids = found & ~TAGGED
    marked = (found & TAGGED).astype(np.bool_)
    first = np.zeros(found.size, dtype=np.bool_)
    first[np.unique(ids, return_index=True)[1]] = True
    tagged_rows = np.flatnonzero(marked)
    first_tagged = np.zeros(found.size, dtype=np.bool_)
    first_tagged[tagged_rows[np.unique(ids[tagged_rows], return_index=True)[1]]] = True
    asked = np.flatnonzero(first | first_tagged)
    before = np.zeros((2, found.size), dtype=np.bool_)
    for partition in np.unique(partitions[asked]).tolist():
        rows = asked[partitions[asked] == partition]
        before[:, rows] = look(partition, ids[rows])
    untagged_before, tagged_before = before
    return first & ~untagged_before & ~tagged_before, first_tagged & ~tagged_before


def _deltas(frame: pl.DataFrame, sources: Sequence[Source], enabled: Collection[str]) -> pl.DataFrame:
    """Explode to recipients, count, sum per combination of values, then per dimension."""
    combinations = (
        frame.lazy()
        .select(
            *("source", "common", "rest", *_PLAIN),
            *_FACTS,
            "recipients",
            event=pl.int_range(pl.len()),
            hour=pl.col("sent_time").cast(pl.Int64) // HOUR_MS * 3600,
        )
        .explode("recipients", empty_as_null=True, keep_nulls=True)
        .with_columns(
            first=pl.col("event").rle_id().is_first_distinct(),
            provider=pl.col("recipients").struct.field("provider").fill_null(""),
            one=pl.col("recipients").is_not_null(),
            reports=pl.col("recipients").struct.field("reports_complaints").fill_null(value=False),
            blocked=pl.col("recipients").struct.field("blocked").fill_null(value=False),
        )
        .with_columns(**_counters())
        .group_by("source", "common", "rest", "hour", "provider", *_PLAIN)
        .agg(_SUMS)
        .filter(pl.any_horizontal(pl.col(name) != 0 for name in COUNTERS))
        .collect()
    )
    # Most batches touch few counters: summing the others 13 times over is half of the time.
    touched = [name for name in COUNTERS if combinations[name].sum()]
    parts = [_dimension(combinations, name, touched) for name in DIMENSIONS if name in enabled]
    deltas = pl.concat(parts) if parts else _dimension(combinations.clear(), DIMENSIONS[0], touched)
    places = pl.DataFrame(
        {
            "source": pl.Series(range(len(sources)), dtype=pl.Int32),
            "source_partition": pl.Series([source.partition for source in sources], dtype=pl.Int32),
            "source_offset": pl.Series([source.offset for source in sources], dtype=pl.Int64),
        }
    )
    untouched = [pl.lit(0, dtype=pl.Int64).alias(name) for name in COUNTERS if name not in touched]
    return (
        deltas.join(places, on="source").with_columns(*untouched).sort("source", "dimension", "value", "hour")
    )


def _counters() -> dict[str, pl.Expr]:
    """Each counter of one recipient of an event; counters of events stand with the first recipient."""
    kind, one, first = pl.col("event_type"), pl.col("one"), pl.col("first")
    bounce, complaint = kind == "Bounce", kind == "Complaint"
    suppressed_bounce = bounce & pl.col("bounce_subtype").is_in(SUPPRESSED_SUBTYPES)
    suppressed_complaint = complaint & pl.col("complaint_subtype").is_in(SUPPRESSED_SUBTYPES)
    delivered = one & (kind == "Delivery")
    opened = first & (kind == "Open")
    masks = {
        "sends": one & (kind == "Send"),
        "deliveries": delivered,
        "eligible": delivered & pl.col("reports"),
        "complaints": first & complaint & ~suppressed_complaint & (pl.col("complaint_type") != "not-spam"),
        "hard_bounces": one & bounce & (pl.col("bounce_type") == "Permanent") & ~suppressed_bounce,
        "soft_bounces": one
        & bounce
        & pl.col("bounce_type").is_in(["Transient", "Undetermined"])
        & ~pl.col("out_of_office"),
        "suppressed": one & (suppressed_bounce | suppressed_complaint),
        "rejects": first & (kind == "Reject"),
        "rendering_failures": first & (kind == "Rendering Failure"),
        "delays": one & (kind == "DeliveryDelay"),
        "opens": opened & ~pl.col("machine_open"),
        "clicks": first & (kind == "Click"),
        "machine_opens": opened & pl.col("machine_open"),
        "unsubscribes": first & (kind == "Subscription") & pl.col("unsubscribed"),
        "blocks": one & (bounce | (kind == "DeliveryDelay")) & pl.col("blocked"),
    }
    return {name: masks[name].cast(pl.Int64) for name in COUNTERS}


def _dimension(combinations: pl.DataFrame, name: str, touched: Sequence[str]) -> pl.DataFrame:
    """The deltas of one dimension."""
    flag = "common" if name in UNTAGGED_DIMENSIONS else "rest"
    value = pl.col(name if name in _PLAIN else "provider")
    present = value != ""
    if name in _PAIRS:
        left, right = _PAIRS[name]
        present = (pl.col(left) != "") & (pl.col(right) != "")
        value = pl.concat_str(left, pl.lit(PAIR_SEPARATOR), right)
    return (
        combinations.lazy()
        .filter(pl.col(flag) & present)
        .group_by("source", "hour", value=value)
        .agg(pl.col(counter).sum() for counter in touched)
        .select("source", pl.lit(name).alias("dimension"), "value", "hour", *touched)
        .collect()
    )


_PAIRS: Final = {"feedback_ab": ("feedback_a", "feedback_b"), "provider_campaign": ("provider", "campaign")}


def _nothing() -> pl.DataFrame:
    """No rows, for a batch of empty blocks."""
    schema: dict[str, pl.DataType] = dict.fromkeys((*_FACTS, *_PLAIN), pl.String())
    schema |= dict.fromkeys(("machine_open", "out_of_office", "unsubscribed", "tagged"), pl.Boolean())
    recipient = pl.Struct({"provider": pl.String, "reports_complaints": pl.Boolean, "blocked": pl.Boolean})
    schema |= {"event_id": pl.Binary(), "sent_time": pl.Datetime("ms"), "recipients": pl.List(recipient)}
    return pl.DataFrame(schema=schema)
