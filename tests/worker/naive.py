"""What `rates` should say, counted the slow way: one event after the other, each once, by the table of counters.

Knows nothing of blocks, partitions, hours that close, or polars.

What received reports (origin `dsn`, `arf`) say of a bounced recipient or of a complaint counts for a value once, and
only where nothing that SES said of the same counts for that value.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from schemas.counters import COUNTERS, PAIR_SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Row = dict[str, Any]
Table = dict[tuple[str, str, int], tuple[int, ...]]
"""(dimension, value, hour in seconds) → counters, without those that are all 0."""

NEVER_SENT = {"OnAccountSuppressionList", "OnTenantSuppressionList"}
REPORTS = {"dsn", "arf"}
WITHOUT_TAGS = {"account", "region", "from_domain", "provider"}


def merge(copies: Iterable[Row]) -> list[Row]:
    """Each event once; of its copies one with tags, if any has."""
    found: dict[bytes, Row] = {}
    for row in copies:
        known = found.get(row["event_id"])
        if known is None or (row["tagged"] and not known["tagged"]):
            found[row["event_id"]] = row
    return list(found.values())


def table(copies: Iterable[Row], dimensions: Sequence[str]) -> Table:
    """The counters of every (dimension, value, hour)."""
    sums: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0] * len(COUNTERS))
    said: set[tuple[Any, ...]] = set()
    reported: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for event in merge(copies):
        hour = milliseconds(event["sent_time"]) // 3_600_000 * 3600
        for person, counter in hits(event):
            thing = thing_of(event, person, counter)
            for dimension in dimensions:
                value = value_of(event, dimension, person.get("provider", ""))
                if not value or not (event["tagged"] or dimension in WITHOUT_TAGS):
                    continue
                if thing and event.get("origin") in REPORTS:
                    reported[dimension, value, hour, thing].add(counter)
                    continue
                sums[dimension, value, hour][COUNTERS.index(counter)] += 1
                if thing and counter != "blocks":
                    said.add((dimension, value, hour, thing))
    for (*key, thing), counters in reported.items():
        if (*key, thing) not in said:
            for counter in counters - ({"soft_bounces"} if "hard_bounces" in counters else set()):
                sums[key[0], key[1], key[2]][COUNTERS.index(counter)] += 1
    return {key: tuple(counters) for key, counters in sums.items()}


def thing_of(event: Row, person: Row, counter: str) -> tuple[str, ...] | None:
    """What a hit is about, if it is something that both SES and a report may tell."""
    if event["event_type"] == "Bounce":
        return "Bounce", event["message_id"], person["address"].lower()
    return ("Complaint", event["message_id"]) if counter == "complaints" else None


def milliseconds(time: Any) -> int:
    """An Avro timestamp, decoded or not."""
    return time if isinstance(time, int) else round(time.timestamp() * 1000)


def value_of(event: Row, dimension: str, provider: str) -> str:
    """The value of a dimension for what happened at a provider; empty when there is none."""
    if dimension.startswith("tag:"):
        values = [tag["values"] for tag in event["tags"] if tag["name"] == dimension[4:]]
        return values[0][0] if values and values[0] else ""
    if dimension == "provider":
        return provider
    if dimension in ("provider_campaign", "feedback_ab"):
        one, two = (
            (provider, event["campaign"])
            if dimension == "provider_campaign"
            else (event["feedback_a"], event["feedback_b"])
        )
        return f"{one}{PAIR_SEPARATOR}{two}" if one and two else ""
    return str(event[dimension])


def hits(event: Row) -> Iterator[tuple[Row, str]]:
    """(recipient, counter), each worth 1; no recipient: empty."""
    people = event["recipients"]
    for person in people:
        for counter in of_recipient(event, person):
            yield person, counter
    for counter in of_event(event):
        yield (people[0] if people else {}), counter


def of_recipient(event: Row, person: Row) -> Iterator[str]:
    """Counters of recipients."""
    kind, subtype = event["event_type"], event["bounce_subtype"]
    if kind == "Send":
        yield "sends"
    if kind == "Delivery":
        yield "deliveries"
        if person["reports_complaints"]:
            yield "eligible"
    if kind == "DeliveryDelay":
        yield "delays"
    if kind == "Bounce" and subtype in NEVER_SENT:
        yield "suppressed"
    elif kind == "Bounce" and event["bounce_type"] == "Permanent":
        yield "hard_bounces"
    if (
        kind == "Bounce"
        and event["bounce_type"] in ("Transient", "Undetermined")
        and not event["out_of_office"]
    ):
        yield "soft_bounces"
    if kind == "Complaint" and event["complaint_subtype"] in NEVER_SENT:
        yield "suppressed"
    if kind in ("Bounce", "DeliveryDelay") and person["blocked"]:
        yield "blocks"


def of_event(event: Row) -> Iterator[str]:
    """Counters that an event adds to once, however many recipients it names."""
    kind = event["event_type"]
    if (
        kind == "Complaint"
        and event["complaint_subtype"] not in NEVER_SENT
        and event["complaint_type"] != "not-spam"
    ):
        yield "complaints"
    if kind == "Open":
        yield "machine_opens" if event["machine_open"] else "opens"
    if kind == "Subscription" and event["unsubscribed"]:
        yield "unsubscribes"
    simple = {"Reject": "rejects", "Rendering Failure": "rendering_failures", "Click": "clicks"}
    if kind in simple:
        yield simple[kind]
