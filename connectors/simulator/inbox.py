"""`inbox`: who answers, bounces, complains and reports by mail, given what was sent; and what is true of it.

Some of it only repeats what SES has said (a bounce that SES forwarded, a complaint that came by a feedback loop of ours
as well) and is to add nothing; some of it nobody else says.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from connectors.simulator import replies, world
from connectors.simulator.payloads import time_of
from connectors.simulator.replies import Mail, Sent
from connectors.simulator.traffic import SPAN_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from email.message import EmailMessage

    from connectors.simulator.payloads import Event
    from connectors.simulator.truth import Truth
    from connectors.simulator.world import Campaign

ANSWERED: Final = {"order-confirmation": 6, "login-code": 14, "globex-digest": 9, "november-newsletter": 12}
"""Campaigns that readers answer: one delivered message in so many."""
LISTED: Final = "unsubscribe+*@*"
"""Addresses of List-Unsubscribe."""
_MINUTE_MS: Final = 60_000
_CAMPAIGNS: Final = {campaign.name: campaign for campaign in world.CAMPAIGNS}
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuv"
_SES_ID: Final = 40
"""Characters of the id of a received mail, as observed."""


def inbox(events: Sequence[Event], truth: Truth, now_ms: int) -> list[Mail]:
    """The mails, in the order of arrival; the truth learns of them."""
    return sorted(_Inbox(events, truth, now_ms).mails(), key=lambda each: each.time_ms)


class _Inbox:
    def __init__(self, events: Sequence[Event], truth: Truth, now_ms: int) -> None:
        self._events = events
        self._truth = truth
        self._now = now_ms
        self._rng = Random(truth.seed + 5)  # noqa: S311 - a simulation

    def mails(self) -> Iterator[Mail]:
        delivered = list(self._delivered())
        yield from self._conversations(delivered)
        yield from self._bounces(delivered)
        yield from self._complaints(delivered)
        yield from self._reports()
        yield from self._others()

    def _conversations(self, delivered: Iterable[tuple[Campaign, Sent]]) -> Iterator[Mail]:
        """Answers to one in so many messages of a campaign, some of them followed by another; and auto-responders."""
        turns = dict.fromkeys(ANSWERED, 0)
        for campaign, sent in delivered:
            every = ANSWERED.get(campaign.name)
            if every is None:
                continue
            turns[campaign.name] += 1
            turn = turns[campaign.name]
            time = sent.sent_ms + self._rng.randint(5, 60) * _MINUTE_MS
            if turn % every == every // 2:
                yield self._came(replies.out_of_office(sent, time), "auto_reply", time, "")
                self._truth.out_of_office[campaign.name] += 1
                self._truth.threads.add(sent.message_id)
            elif turn % every == 0:
                yield from self._answers(campaign, sent, time, again=turn // every % 3 == 0)

    def _answers(self, campaign: Campaign, sent: Sent, time: int, *, again: bool) -> Iterator[Mail]:
        name = f"<{self._rng.getrandbits(64):016x}@{sent.recipient.partition('@')[2]}>"
        first = replies.reply(sent, time, "Thank you, but where is my invoice?")
        first["Message-ID"] = name
        yield self._came(first, "reply", time, sent.recipient)
        self._truth.replies[campaign.name] += 1
        self._truth.threads.add(sent.message_id)
        if again:
            time += 30 * _MINUTE_MS
            second = replies.reply(sent, time, "Never mind, found it.", earlier=(name,))
            yield self._came(second, "reply", time, sent.recipient)
            self._truth.replies[campaign.name] += 1

    def _bounces(self, delivered: Iterable[tuple[Campaign, Sent]]) -> Iterator[Mail]:
        """Of what SES has bounced, which adds nothing; and of what it had delivered, which nobody else says."""
        known = [event for event in self._events if event.type == "Bounce" and _is_hard(event)]
        for event in known[::15]:
            address = event.payload["bounce"]["bouncedRecipients"][0]["emailAddress"]
            yield self._bounce(_sent_of(event, address), event.time_ms + _MINUTE_MS)
        later = [each for each in delivered if each[0].name == "order-confirmation"]
        for campaign, sent in later[3::40]:
            yield self._bounce(sent, sent.sent_ms + 20 * _MINUTE_MS)
            self._tally(campaign, sent, "hard_bounces")

    def _complaints(self, delivered: Iterable[tuple[Campaign, Sent]]) -> Iterator[Mail]:
        """Likewise."""
        known = [event for event in self._events if event.type == "Complaint" and _is_abuse(event)]
        complained = {event.payload["mail"]["messageId"] for event in known}
        for event in known[::20]:
            address = event.payload["complaint"]["complainedRecipients"][0]["emailAddress"]
            yield self._complaint(_sent_of(event, address), event.time_ms + _MINUTE_MS)
        unheard = [
            each
            for each in delivered
            if each[0].name == "november-newsletter"
            and each[1].message_id not in complained
            and world.domain_of(each[1].recipient).reports_complaints
        ]
        for campaign, sent in unheard[-1:]:
            yield self._complaint(sent, sent.sent_ms + 40 * _MINUTE_MS)
            self._tally(campaign, sent, "complaints")

    def _reports(self) -> Iterator[Mail]:
        """An aggregate report, mailed twice."""
        begin = (self._now - SPAN_MS) // 86_400_000 * 86_400
        rows = (("192.0.2.70", 480, "pass"), ("192.0.2.71", 20, "pass"), ("198.51.100.99", 3, "fail"))
        time = self._now - 90 * _MINUTE_MS
        for late in (0, 10 * _MINUTE_MS):
            message = replies.dmarc("acme.example", begin, rows, time)
            yield self._came(message, "dmarc", time + late, "dmarc@mailbox.example")
        self._truth.dmarc_rows = len(rows)

    def _others(self) -> Iterator[Mail]:
        time = self._now - 60 * _MINUTE_MS
        for number in range(5):
            sender = f"visitor{number}@initech.example"
            yield self._came(replies.note(sender, "hello@acme.example", time), "other", time, sender)
        for number in range(4):
            sender = f"reader{number}@yahoo.com"
            to = f"unsubscribe+{number:04d}@news.acme.example"
            yield self._came(replies.unsubscribe(sender, to, time), "unsubscribe", time, sender)

    def _bounce(self, sent: Sent, time: int) -> Mail:
        self._truth.reported["Bounce"] += 1
        self._truth.threads.add(sent.message_id)
        return self._came(replies.bounce(sent, time), "bounce", time, "")

    def _complaint(self, sent: Sent, time: int) -> Mail:
        self._truth.reported["Complaint"] += 1
        self._truth.threads.add(sent.message_id)
        return self._came(
            replies.complaint(sent, time),
            "complaint",
            time,
            f"feedback@{sent.recipient.partition('@')[2]}",
        )

    def _came(self, message: EmailMessage, kind: str, time_ms: int, envelope_from: str) -> Mail:
        self._truth.mails[kind] += 1
        ses_id = "".join(self._rng.choice(_ALPHABET) for _ in range(_SES_ID))
        return replies.stored(message, ses_id, kind, min(time_ms, self._now), envelope_from)

    def _tally(self, campaign: Campaign, sent: Sent, counter: str) -> None:
        self._truth.add(campaign.name, sent.sent_ms, counter)
        keys = world.keys_of(campaign, sent.region, sent.recipient)
        self._truth.add_keys(keys, sent.sent_ms, counter)

    def _delivered(self) -> Iterator[tuple[Campaign, Sent]]:
        """Messages to one recipient that were delivered, as usual for their campaign, by the time of sending."""
        found = []
        for event in self._events:
            mail = event.payload["mail"]
            if event.type != "Delivery" or len(mail["destination"]) > 1:
                continue
            campaign = _CAMPAIGNS[mail["tags"]["ses:feedback-id-a"][0]]
            if mail["tags"]["ses:feedback-id-b"][0] == campaign.stream:
                found.append((campaign, _sent_of(event, mail["destination"][0])))
        yield from sorted(found, key=lambda each: (each[1].sent_ms, each[1].message_id))


def _sent_of(event: Event, recipient: str) -> Sent:
    mail = event.payload["mail"]
    sender = f"hello@{mail['tags']['ses:from-domain'][0]}"
    subject = f"{mail['tags']['ses:feedback-id-a'][0].replace('-', ' ').capitalize()} ✉"
    return Sent(mail["messageId"], event.region, sender, subject, time_of(mail["timestamp"]), recipient)


def _is_hard(event: Event) -> bool:
    bounce = event.payload["bounce"]
    return bool(bounce["bounceType"] == "Permanent" and bounce["bounceSubType"] != "OnAccountSuppressionList")


def _is_abuse(event: Event) -> bool:
    return bool(event.payload["complaint"]["complaintFeedbackType"] == "abuse")
