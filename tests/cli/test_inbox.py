"""The simulated mail that comes back, read by the standard library."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

import pytest

from connectors.simulator.inbox import inbox
from connectors.simulator.traffic import Traffic

if TYPE_CHECKING:
    from email.message import EmailMessage

    from connectors.simulator.payloads import Event
    from connectors.simulator.replies import Mail
    from connectors.simulator.truth import Truth

NOW = 1_790_000_000_000


def simulated(seed: int, events: int = 2200) -> tuple[list[Event], list[Mail], Truth]:
    traffic = Traffic(seed, NOW, events)
    made = list(traffic)
    return made, inbox(made, traffic.truth, NOW), traffic.truth


def read(mail: Mail) -> EmailMessage:
    return message_from_bytes(mail.raw, policy=policy.default)


OURS = re.compile(rb"<([0-9a-f-]{50,})@[a-z0-9.-]*amazonses\.com>")


def cited(message: EmailMessage) -> str:
    return str(message["References"] or message["In-Reply-To"]).split()[0].strip("<>").partition("@")[0]


@pytest.mark.parametrize("seed", [1, 18, 77])
def test_who_answers_was_sent_what_is_answered(seed: int) -> None:
    events, mails, truth = simulated(seed)
    delivered = {
        (event.payload["mail"]["messageId"], address): event.payload["mail"]["tags"]["ses:feedback-id-a"][0]
        for event in events
        if event.type == "Delivery"
        for address in event.payload["delivery"]["recipients"]
    }
    replies: Counter[str] = Counter()
    threads = set()
    for mail in mails:
        if mail.kind in {"reply", "auto_reply"}:
            message = read(mail)
            key = (cited(message), str(message["From"]))
            assert key in delivered
            threads.add(key[0])
            replies[delivered[key]] += mail.kind == "reply"
        elif mail.kind in {"bounce", "complaint"}:
            (about,) = set(OURS.findall(mail.raw))
            threads.add(about.decode())
    assert threads <= {event.payload["mail"]["messageId"] for event in events}
    assert replies == truth.replies
    assert threads == truth.threads
    assert Counter(mail.kind for mail in mails) == truth.mails
    assert set(truth.mails) == {
        "reply",
        "auto_reply",
        "bounce",
        "complaint",
        "dmarc",
        "unsubscribe",
        "other",
    }


def test_what_mail_alone_tells_is_told_by_no_event() -> None:
    plain = Traffic(18, NOW, 2200)
    events = list(plain)
    before = {key: Counter(cell) for key, cell in plain.truth.cells.items()}
    mails = inbox(events, plain.truth, NOW)
    added = {key: plain.truth.cells[key] - cell for key, cell in before.items()}
    assert sum((cell for cell in added.values()), Counter()) == Counter(hard_bounces=2, complaints=1)
    bounced = {
        event.payload["bounce"]["bouncedRecipients"][0]["emailAddress"]
        for event in events
        if event.type == "Bounce"
    }
    told = [
        str(read(mail)).partition("Final-Recipient: rfc822; ")[2].split("\n")[0].strip()
        for mail in mails
        if mail.kind == "bounce"
    ]
    assert len([address for address in told if address not in bounced]) == 2
    assert len(told) == plain.truth.reported["Bounce"] == 3


def test_a_report_is_mailed_twice_and_is_the_same() -> None:
    _, mails, truth = simulated(18)
    reports = [
        gzip.decompress(next(read(mail).iter_attachments()).get_content())
        for mail in mails
        if mail.kind == "dmarc"
    ]
    assert len(reports) == 2
    assert reports[0] == reports[1]
    assert reports[0].count(b"<record>") == truth.dmarc_rows == 3


def test_nothing_comes_twice_or_from_the_future() -> None:
    _, mails, _ = simulated(18)
    assert len({mail.ses_id for mail in mails}) == len(mails)
    assert [mail.time_ms for mail in mails] == sorted(mail.time_ms for mail in mails)
    assert mails[-1].time_ms <= NOW
    assert simulated(18)[1] == mails
