"""Whatever the bytes: an answer, never an exception; and every row of every answer is Avro."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.intake.intake import Intake, Taken
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.provenance import Provenance
from schemas.avro import newest
from schemas.blocks import BlockBuilder, decode
from schemas.events import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

SOURCE = Provenance("file:///x", 1_767_323_045_000, "file")
INTAKE = Intake(NormalisePolicy(pii_key=b"k"))


def check(taken: Taken) -> Taken:
    """No bug was caught, and every row fits its schema."""
    assert [one for one in taken.dead_letters if one["cause"] == "internal_error"] == []
    for record, rows in (("ses_event", taken.events), ("dead_letter", taken.dead_letters)):
        builder = BlockBuilder(newest(record))
        for row in rows:
            builder.add(row)
    return taken


def count(taken: Taken) -> int:
    return (
        len(taken.events)
        + len(taken.dead_letters)
        + len(taken.objects)
        + len(taken.mails)
        + len(taken.confirmations)
        + taken.controls
    )


def stream(chunks: Iterable[bytes]) -> Taken:
    whole = Taken()
    for part in INTAKE.take_stream(chunks, SOURCE):
        check(part)
        whole.events += part.events
        whole.dead_letters += part.dead_letters
        whole.objects += part.objects
        whole.controls += part.controls
    return whole


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=300), st.sampled_from([b"", b"{", b"[", b'{"eventType":', b'{"records":[{"data":"'])
)
def test_any_bytes_have_an_answer(data: bytes, prefix: bytes) -> None:
    assert count(check(INTAKE.take(prefix + data, SOURCE))) >= 1
    stream([prefix + data])


_keys = st.sampled_from(
    [
        "eventType",
        "notificationType",
        "mail",
        "Records",
        "records",
        "data",
        "Body",
        "body",
        "MessageId",
        "messageId",
        "Type",
        "TopicArn",
        "Message",
        "detail",
        "detail-type",
        "source",
        "s3",
        "Sns",
        "kinesis",
        "Event",
        "rawData",
        "errorCode",
        "Messages",
        "receipt",
        "ses",
        "bounce",
    ]
)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        [
            "Bounce",
            "Send",
            "Notification",
            "Received",
            "aws:s3",
            "aws.s3",
            "e30=",
            "{}",
            "[{}]",
        ]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=6),
    max_leaves=25,
)


@settings(max_examples=400, deadline=None)
@given(_json)
def test_any_json_has_an_answer(document: Any) -> None:
    assert count(check(INTAKE.take(json.dumps(document).encode(), SOURCE))) >= 1


def leaves(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value below a node."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [deeper for key, value in items for deeper in ((*path, key), *leaves(value, (*path, key)))]


def replaced(event: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(event)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


WRONG = [None, True, 7, -1.5, 1e300, 10**30, "", "x", "\x00", [], ["x"], [None], {}, {"x": None}]


def test_any_value_of_another_type_makes_an_event_or_a_rejection(make: Any) -> None:
    for kind in EVENT_TYPES:
        event = make(kind)
        for path in leaves(event):
            for value in WRONG:
                taken = check(INTAKE.take(json.dumps(replaced(event, path, value)).encode(), SOURCE))
                assert len(taken.events) + len(taken.dead_letters) == 1, (kind, path, value)


def test_a_value_that_nobody_needs_may_be_of_any_type(make: Any, event: Any) -> None:
    row = event(make("Click"))
    for name in ("headersTruncated", "headers", "sendingIp"):
        for value in WRONG:
            assert event(make("Click", {name: value})) == row
    assert event(make("Click", linkTags={"a": ["b"]})) == row


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(EVENT_TYPES), st.data())
def test_a_damaged_event_has_an_answer(make: Any, kind: str, draw: st.DataObject) -> None:
    data = bytearray(json.dumps(make(kind)).encode())
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data) - 1))
        match draw.draw(st.integers(0, 2)):
            case 0:
                data[at] = draw.draw(st.integers(0, 255))
            case 1:
                del data[at : at + draw.draw(st.integers(1, 60))]
            case _:
                data[at:at] = draw.draw(
                    st.sampled_from([b"{", b"}", b'"', b"\n{", b"\\", b"\xff", b"\\ud800"])
                )
        if not data:
            break
    if data.strip():
        check(INTAKE.take(bytes(data), SOURCE))
        stream([bytes(data)])


def test_good_records_around_a_damaged_one_come_through(make: Any) -> None:
    good = json.dumps(make("Send")).encode()
    for cut in range(1, len(good), 7):
        taken = stream([good + b"\n" + good[:cut] + b"\n" + good + b"\n"])
        assert len(taken.events) == 2, cut
        assert len(taken.dead_letters) >= 1


def test_a_stream_and_its_documents_come_to_the_same(make: Any) -> None:
    rows = [json.dumps(make(kind)).encode() for kind in EVENT_TYPES] * 300
    data = b"\n".join(rows)
    parts = list(INTAKE.take_stream([data], SOURCE))
    assert len(parts) < 40
    events = [event for part in parts for event in part.events]
    single, offset = [], 0
    for row in rows:
        single += INTAKE.take(row, SOURCE, offset).events
        offset += len(row) + 1
    assert events == single
    assert len({event["arrival_id"] for event in events}) == len(rows)


def test_events_encode_and_decode_to_themselves(make: Any, event: Any) -> None:
    builder = BlockBuilder(newest("ses_event"))
    rows = [event(make(kind)) for kind in EVENT_TYPES]
    for row in rows:
        builder.add(row)
    for written, read in zip(rows, decode(builder.take()), strict=True):
        for name, value in written.items():
            if not name.endswith("_time"):
                assert read[name] == value, name


def test_a_source_that_fails_in_the_middle_has_given_what_it_had(make: Any) -> None:
    good = json.dumps(make("Send")).encode() + b"\n"

    def failing() -> Any:
        yield good * 2 + b'{"half'
        raise OSError("connection reset")

    got = []
    try:
        for part in INTAKE.take_stream(failing(), SOURCE):
            got += part.events
    except OSError:
        got.append("raised")  # type: ignore[arg-type]
    assert len(got) == 3
