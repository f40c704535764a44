"""Events of what DSNs and ARF reports say of messages of ours."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.counting.count import count
from pipelines.counting.hours import Opening
from pipelines.counting.reading import Source
from pipelines.counting.remembered import Remembered
from pipelines.intake.identity import marks
from pipelines.threads.feedback import event_of
from schemas.blocks import decode, encode, open_block
from schemas.events import SesEvent
from schemas.mail import Feedback, InboundMail, OutboundMessage

SENT = 1_760_011_200_000
RECEIVED = SENT + 90_000
BLANK: dict[Any, Any] = {str: "", int: 0, bool: False, bytes: b"", list: []}


def blank(shape: Any) -> dict[str, Any]:
    """A row with nothing in it."""
    hints = get_type_hints(shape)
    return {name: BLANK.get(getattr(kind, "__origin__", kind), {}) for name, kind in hints.items()}


MAIL: Any = blank(InboundMail) | {"received_time": RECEIVED, "path": "s3", "arrival_id": -7}
MESSAGE: Any = blank(OutboundMessage) | {
    "message_id": "0102-1",
    "sent_time": SENT,
    "tenant": "acme",
    "account": "111122223333",
    "region": "eu-west-1",
    "configuration_set": "marketing",
    "from_domain": "shop.example",
    "feedback_a": "autumn",
    "feedback_b": "b",
    "feedback_c": "c",
    "campaign": "autumn",
    "recipients": marks(["5f", "60"]),
}


def dsn(**facts: Any) -> Any:
    failed = {
        "event_type": "Bounce",
        "action": "failed",
        "bounce_type": "Permanent",
        "bounce_subtype": "NoEmail",
        "address": "5f",
        "domain": "mail.example",
        "provider": "yahoo",
        "smtp_reply": "550 5.1.1 no such user",
    }
    return blank(Feedback) | failed | facts


def arf(**facts: Any) -> Any:
    return dsn(
        **{"event_type": "Complaint", "action": "", "bounce_type": "", "complaint_type": "abuse"} | facts
    )


def made(feedback: Feedback, **mail: Any) -> SesEvent:
    event = event_of(MAIL | mail, feedback, MESSAGE)
    assert event is not None
    return event


def test_a_bounce_counts_for_the_campaign_and_in_the_hour_of_its_message() -> None:
    event = made(dsn(time=SENT + 60_000, blocked=True))
    assert event.keys() == get_type_hints(SesEvent).keys()
    (row,) = decode(encode("ses_event", [event]))
    assert row["recipients"] == [
        {
            "address": "5f",
            "domain": "mail.example",
            "provider": "yahoo",
            "reports_complaints": False,
            "blocked": True,
            "smtp_reply": "550 5.1.1 no such user",
        }
    ]
    assert (event["sent_time"], event["event_time"]) == (SENT, SENT + 60_000)
    source = Source(0, 0, open_block(encode("ses_event", [event])))
    counted = count([source], lambda _, *rest: Remembered().look(*rest), Opening(48, SENT // 3_600_000), {})
    hits = counted.deltas.filter(hard_bounces=1, blocks=1, closed=False, hour=SENT // 1000)
    assert dict(hits.select("dimension", "value").iter_rows()) == {
        "account": "111122223333",
        "region": "eu-west-1",
        "tenant": "acme",
        "configuration_set": "marketing",
        "from_domain": "shop.example",
        "feedback_a": "autumn",
        "feedback_b": "b",
        "feedback_c": "c",
        "feedback_ab": "autumn:b",
        "campaign": "autumn",
        "provider": "yahoo",
        "provider_campaign": "yahoo:autumn",
    }


@pytest.mark.parametrize(
    "feedback",
    [
        dsn(event_type="Delivery", action="delivered"),
        dsn(event_type="DeliveryDelay", action="delayed"),
        dsn(action="delayed"),
        dsn(address=""),
        dsn(event_type=""),
    ],
)
def test_what_is_no_failure_or_names_nobody_is_no_event(feedback: Any) -> None:
    assert event_of(MAIL, feedback, MESSAGE) is None


def test_who_complained_may_be_kept_secret() -> None:
    event = made(arf(address="", provider=""))
    assert (event["recipients"], event["origin"], event["complaint_type"]) == ([], "arf", "abuse")


def test_the_same_report_again_is_the_same_event_and_another_verdict_another() -> None:
    again = made(
        dsn(smtp_reply="550 5.1.1 NO SUCH USER", time=SENT + 5), received_time=RECEIVED + 9, arrival_id=1
    )
    assert again["event_id"] == made(dsn())["event_id"]
    others = [
        made(each)["event_id"]
        for each in (
            *(
                dsn(),
                dsn(address="60"),
                dsn(bounce_type="Transient"),
                dsn(blocked=True),
                dsn(provider="gmail"),
            ),
            *(arf(), arf(address="60"), arf(complaint_type="not-spam")),
        )
    ]
    assert len(set(others)) == len(others)


@given(st.integers(), st.integers(0, 2**42))
def test_a_time_that_cannot_be_is_that_of_the_report(reported: int, received: int) -> None:
    time = made(dsn(time=reported), received_time=received)["event_time"]
    assert SENT <= time <= max(SENT, received)
    assert time == reported or not SENT <= reported <= received
