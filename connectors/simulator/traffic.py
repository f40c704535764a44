"""Messages and what becomes of them: seeded, in any number, in bounded memory."""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING, Final

from connectors.simulator import payloads, world
from connectors.simulator.payloads import Event, Message, iso
from connectors.simulator.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connectors.simulator.world import Campaign

SPAN_MS: Final = 40 * 3_600_000
"""Messages are sent over this long before `now`: long enough for an incident to begin and to end."""
_MINUTE_MS: Final = 60_000
_GIVEN_UP_MS: Final = 40 * _MINUTE_MS
_PER_MESSAGE: Final = 2.4
"""Events, about."""
_JITTER: Final = 0.02
"""How far events of different messages are out of order: so much of all messages lies between, …"""
_WINDOW: Final = 400
"""… this many at the most."""
_AIR: Final = 2400
"""Messages during which an event is in the air at the most, however late it is: memory is bounded."""
_STALE: Final = 0.03
"""Of messages whose every event comes days late, when their hour is closed: a queue that was stuck."""
_STALE_MS: Final = 75 * 3_600_000
_LUCK: Final = 0.05
"""How much of a share that is dealt out evenly depends on chance: so much of one case."""
_SEVERAL: Final = 0.12
"""Of messages that go to more than one recipient."""


class Traffic:
    """An endless sender, cut off at a number of events."""

    def __init__(
        self, seed: int, now_ms: int, events: int, *, span_ms: int = SPAN_MS, calm: bool = False
    ) -> None:
        """Prepare.

        Args:
            seed: the same gives the same traffic, for the same `now_ms`.
            now_ms: about when the last event arrives.
            events: how many distinct events to make; a few more come, for a message is finished once begun.
            span_ms: how long ago the first message was sent.
            calm: nothing goes wrong.
        """
        self.truth = Truth(seed)
        self._rng = Random(seed)  # noqa: S311 - a simulation
        self.now_ms = now_ms
        self._events = events
        self._span = span_ms
        self._campaigns = world.CALM if calm else world.CAMPAIGNS
        self._turns = dict.fromkeys(self._campaigns, 0.0)
        self._dues: dict[tuple[str, str, str], float] = {}
        self._reporting: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Event]:
        """Events as they arrive: late ones late, and not in the order in which they happened."""
        air: list[tuple[float, int, Event]] = []
        made = messages = 0
        expected = max(1.0, self._events / _PER_MESSAGE)
        jitter = min(_WINDOW, expected * _JITTER)
        while made < self._events:
            share = min(1.0, messages / expected)
            sent = self.now_ms - self._span + int(share * self._span * 0.98) + self._rng.randrange(1000)
            stale = _STALE_MS if self._rng.random() < _STALE else 0
            for event in self._message(share, sent - stale, stale):
                made += 1
                self._count(event)
                late = (event.arrival_ms - sent) * expected / self._span
                # Reports of complaints come in batches.
                late += 0.0 if event.type == "Complaint" else self._rng.random() * jitter
                heappush(air, (messages + min(late, _AIR), made, event))
            messages += 1
            while air and air[0][0] < messages:
                yield heappop(air)[2]
        while air:
            yield heappop(air)[2]

    def _count(self, event: Event) -> None:
        self.truth.events += 1
        self.truth.by_type[event.type] += 1

    def _campaign(self, share: float) -> Campaign:
        """Who sends next, after a share of the simulated time, and how it then is."""
        now = {
            campaign.name: episode
            for campaign in self._campaigns
            for episode in campaign.episodes
            if episode.begin <= share < episode.end
        }
        weights = {
            campaign: campaign.weight * (now[campaign.name].weight if campaign.name in now else 1.0)
            for campaign in self._campaigns
        }
        total = sum(weights.values())
        for campaign, weight in weights.items():
            self._turns[campaign] += weight / total
        # In turn, but for a little: a small sender's campaigns, too, are as large as planned.
        campaign = max(self._turns, key=lambda each: self._turns[each] + self._rng.random())
        self._turns[campaign] -= 1
        episode = now.get(campaign.name)
        if episode is None or not self._befalls(campaign, "episode", episode.share):
            return campaign
        return episode.otherwise

    def _recipients(self, campaign: Campaign) -> tuple[str, ...]:
        number = self._rng.randint(2, 4) if self._rng.random() < _SEVERAL else 1
        weights = [domain.weight for domain in campaign.domains]
        chosen = self._rng.choices(campaign.domains, weights, k=number)
        return tuple(f"user{self._rng.randrange(10**7)}@{domain.name}" for domain in chosen)

    def _befalls(self, campaign: Campaign, what: str, share: float, first: float = 0.0) -> bool:
        """Whether the next recipient, or message, of a campaign has this fate.

        Shares are dealt out evenly, not by chance: what is planned for a campaign happens to a small one, too.

        Args:
            campaign: whose.
            what: the fate.
            share: of all.
            first: how much of one is due at the beginning, at the least.
        """
        key = (campaign.name, campaign.stream, what)
        due = self._dues.get(key)
        due = (first + self._rng.random() * _LUCK if due is None else due) + share
        self._dues[key] = due - 1 if due >= 1 else due
        return due >= 1

    def _message(self, share: float, sent_ms: int, delay_ms: int) -> Iterator[Event]:
        campaign = self._campaign(share)
        recipients = self._recipients(campaign)
        weights = [weight for _, _, weight in campaign.regions]
        region, prefix, _ = self._rng.choices(campaign.regions, weights)[0]
        message_id = payloads.message_id(self._rng, sent_ms, prefix)
        message = Message(message_id, sent_ms, campaign, recipients, region, delay_ms)
        if self._befalls(campaign, "rendering_failure", campaign.rendering_failure, first=0.45):
            yield self._rendering_failure(message)
            return
        yield payloads.event(message, "Send", sent_ms, {})
        for recipient in recipients:
            self._tally(message, "sends", recipient)
        if self._befalls(campaign, "reject", campaign.reject, first=0.9):
            yield payloads.event(message, "Reject", sent_ms, {"reason": "Bad content"})
            self._tally(message, "rejects")
            return
        reached: list[str] = []
        for recipient in recipients:
            yield from self._attempt(message, recipient, reached)
        if reached:
            yield from self._reactions(message, reached)

    def _tally(self, message: Message, counter: str, recipient: str = "", number: int = 1) -> None:
        """Count what happened to a recipient, the first if none is named."""
        if counter == "sends":
            self.truth.sends[message.region] += number
        self.truth.add(message.campaign.name, message.sent_ms, counter, number)
        keys = world.keys_of(message.campaign, message.region, recipient or message.recipients[0])
        self.truth.add_keys(keys, message.sent_ms, counter, number)

    def _rendering_failure(self, message: Message) -> Event:
        self._tally(message, "rendering_failures")
        detail = {
            "templateName": message.campaign.name,
            "errorMessage": "Attribute 'first_name' is not present in the rendering data.",
        }
        return payloads.event(message, "Rendering Failure", message.sent_ms, detail)

    def _attempt(self, message: Message, recipient: str, reached: list[str]) -> Iterator[Event]:
        """One recipient: suppressed, bounced, delayed or delivered."""
        rng, sent = self._rng, message.sent_ms
        fate = rng.random()
        if fate < 0.01:  # noqa: PLR2004 - chances are what they are
            yield self._suppressed(message, recipient)
            return
        if self._befalls(message.campaign, "hard_bounce", message.campaign.hard_bounce):
            yield self._hard_bounce(message, recipient)
            return
        if fate < 0.04:  # noqa: PLR2004
            yield self._delay(message, recipient)
            if fate < 0.02:  # noqa: PLR2004
                if self._has_come(sent + _GIVEN_UP_MS):
                    yield self._soft_bounce(message, recipient)
                return
        arrived = sent + rng.randint(300, 4000)
        yield payloads.delivery(message, arrived, [recipient])
        reached.append(recipient)
        self._tally(message, "deliveries", recipient)
        if world.domain_of(recipient).reports_complaints:
            self._tally(message, "eligible", recipient)

    def _feedback(self, time_ms: int) -> str:
        return payloads.message_id(self._rng, time_ms, world.REGIONS[0][1])

    def _suppressed(self, message: Message, recipient: str) -> Event:
        time = message.sent_ms + 40
        self._tally(message, "suppressed", recipient)
        self._tally(message, "sends", recipient, -1)
        who = {
            "emailAddress": recipient,
            "action": "failed",
            "status": "5.1.1",
            "diagnosticCode": "Amazon SES did not send the message to this address because it is on the "
            "suppression list for your account.",
        }
        return payloads.bounce(
            message, time, self._feedback(time), ("Permanent", "OnAccountSuppressionList"), who
        )

    def _hard_bounce(self, message: Message, recipient: str) -> Event:
        time = message.sent_ms + self._rng.randint(500, 5000)
        self._tally(message, "hard_bounces", recipient)
        who = {
            "emailAddress": recipient,
            "action": "failed",
            "status": "5.1.1",
            "diagnosticCode": f"smtp; 550 5.1.1 <{recipient}>: Recipient address rejected: User unknown",
        }
        subtype = self._rng.choice(("General", "NoEmail"))
        return payloads.bounce(message, time, self._feedback(time), ("Permanent", subtype), who)

    def _soft_bounce(self, message: Message, recipient: str) -> Event:
        time = message.sent_ms + _GIVEN_UP_MS
        self._tally(message, "soft_bounces", recipient)
        who = {
            "emailAddress": recipient,
            "action": "failed",
            "status": "4.2.2",
            "diagnosticCode": f"smtp; 452 4.2.2 <{recipient}>: Mailbox full",
        }
        return payloads.bounce(message, time, self._feedback(time), ("Transient", "MailboxFull"), who)

    def _delay(self, message: Message, recipient: str) -> Event:
        time = message.sent_ms + 5 * _MINUTE_MS
        self._tally(message, "delays", recipient)
        blocked = recipient.endswith("@gmail.com") and self._rng.random() < 0.1  # noqa: PLR2004
        if blocked:
            self._tally(message, "blocks", recipient)
        detail = {
            "timestamp": iso(time),
            "delayType": "SpamDetected" if blocked else "MailboxFull",
            "expirationTime": iso(time + 14 * 60 * _MINUTE_MS),
            "delayedRecipients": [
                {
                    "emailAddress": recipient,
                    "status": "4.7.28" if blocked else "4.2.2",
                    "diagnosticCode": "smtp; 421-4.7.28 Gmail has detected an unusual rate of mail."
                    if blocked
                    else "smtp; 452 4.2.2 Mailbox full",
                }
            ],
            "reportingMTA": "203.0.113.9",
        }
        return payloads.event(message, "DeliveryDelay", time, detail)

    def _reactions(self, message: Message, reached: list[str]) -> Iterator[Event]:
        """What readers, machines and auto-responders do with a delivered message."""
        rng, campaign = self._rng, message.campaign
        if rng.random() < 0.15:  # noqa: PLR2004
            self._tally(message, "machine_opens")
            yield self._open(message, message.sent_ms + 6000, world.MACHINE)
        read = message.sent_ms + rng.randint(2, 90) * _MINUTE_MS
        if rng.random() < campaign.open and self._has_come(read + _MINUTE_MS):
            self._tally(message, "opens")
            yield self._open(message, read, world.READER)
            if rng.random() < 0.3:  # noqa: PLR2004
                yield self._click(message, read + 20_000)
            if campaign.stream == "newsletter" and rng.random() < 0.02:  # noqa: PLR2004
                yield self._unsubscribe(message, read + 60_000)
        for recipient in reached:
            if rng.random() < 0.01:  # noqa: PLR2004 - an out-of-office reply counts as no bounce
                time = message.sent_ms + 2000
                yield payloads.bounce(
                    message, time, self._feedback(time), ("Transient", "General"), {"emailAddress": recipient}
                )
            complained = message.sent_ms + rng.randint(20, 200) * _MINUTE_MS
            if not world.domain_of(recipient).reports_complaints or not self._has_come(complained):
                continue
            if self._complains(campaign, recipient):
                yield self._complaint(message, recipient, "abuse", complained)
                self._tally(message, "complaints", recipient)
            elif rng.random() < 0.002:  # noqa: PLR2004
                yield self._complaint(message, recipient, "not-spam", complained)

    def _complains(self, campaign: Campaign, recipient: str) -> bool:
        self._reporting[campaign.name] += 1
        if campaign.complains_once:
            return self._reporting[campaign.name] == campaign.complains_once
        if campaign.complaining not in {"", world.domain_of(recipient).provider}:
            return False
        return self._befalls(campaign, "complaint", campaign.complaint)

    def _has_come(self, time_ms: int) -> bool:
        """Whether a time is not of the future."""
        return time_ms <= self.now_ms

    def _open(self, message: Message, time_ms: int, user_agent: str) -> Event:
        detail = {"ipAddress": "203.0.113.80", "timestamp": iso(time_ms), "userAgent": user_agent}
        return payloads.event(message, "Open", time_ms, detail)

    def _click(self, message: Message, time_ms: int) -> Event:
        self._tally(message, "clicks")
        detail = {
            "ipAddress": "203.0.113.80",
            "timestamp": iso(time_ms),
            "userAgent": world.READER,
            "link": f"https://{message.campaign.from_domain}/offer/{self._rng.randrange(1000)}",
            "linkTags": None,
        }
        return payloads.event(message, "Click", time_ms, detail)

    def _unsubscribe(self, message: Message, time_ms: int) -> Event:
        self._tally(message, "unsubscribes")
        topics = [{"topicName": "news", "subscriptionStatus": "OptIn"}]
        detail = {
            "contactList": world.MAIL_STREAM_CONTACTS,
            "timestamp": iso(time_ms),
            "source": "UnsubscribeHeader",
            "newTopicPreferences": {
                "unsubscribeAll": True,
                "topicSubscriptionStatus": [{"topicName": "news", "subscriptionStatus": "OptOut"}],
            },
            "oldTopicPreferences": {"unsubscribeAll": False, "topicSubscriptionStatus": topics},
        }
        return payloads.event(message, "Subscription", time_ms, detail)

    def _complaint(self, message: Message, recipient: str, kind: str, time: int) -> Event:
        """Hours after the message: the feedback loop is slow, and the hour it counts in is the message's."""
        detail = {
            "feedbackId": self._feedback(time),
            "complaintSubType": None,
            "complainedRecipients": [{"emailAddress": recipient}],
            "timestamp": iso(time),
            "userAgent": "Yahoo!-Mail-Feedback/2.0",
            "complaintFeedbackType": kind,
            "arrivalDate": iso(time),
        }
        late = 3 * 60 * _MINUTE_MS if self._rng.random() < 0.5 else 0  # noqa: PLR2004
        if message.campaign.reported:
            reported = self.now_ms - self._span + int(message.campaign.reported * self._span)
            late = max(0, reported - time - message.delay_ms)
        return payloads.event(message, "Complaint", time, detail, delay_ms=late)
