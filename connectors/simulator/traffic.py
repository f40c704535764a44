"""Messages and what becomes of them: seeded, in any number, in bounded memory."""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING, Final

from connectors.simulator import payloads, world
from connectors.simulator.payloads import Event, Message, iso
from connectors.simulator.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Iterator

SPAN_MS: Final = 8 * 3_600_000
"""Messages are sent over this long before `now`."""
_MINUTE_MS: Final = 60_000
_GIVEN_UP_MS: Final = 40 * _MINUTE_MS
_WINDOW: Final = 400
"""Messages in the air at once: how far events of different messages are out of order."""
_STALE: Final = 0.03
"""Of messages whose every event comes days late, when their hour is closed: a queue that was stuck."""
_STALE_MS: Final = 75 * 3_600_000
_SEVERAL: Final = 0.12
"""Of messages that go to more than one recipient."""


class Traffic:
    """An endless sender, cut off at a number of events."""

    def __init__(self, seed: int, now_ms: int, events: int, *, span_ms: int = SPAN_MS) -> None:
        """Prepare.

        Args:
            seed: the same gives the same traffic, for the same `now_ms`.
            now_ms: about when the last event arrives.
            events: how many distinct events to make; a few more come, for a message is finished once begun.
            span_ms: how long ago the first message was sent.
        """
        self.truth = Truth(seed)
        self._rng = Random(seed)  # noqa: S311 - a simulation
        self._now = now_ms
        self._events = events
        self._span = span_ms
        self._weights = [campaign.weight for campaign in world.CAMPAIGNS]
        self._regions = [weight for _, _, weight in world.REGIONS]
        self._domains = [domain.weight for domain in world.DOMAINS]

    def __iter__(self) -> Iterator[Event]:
        """Events as they arrive: late ones late, and not in the order in which they happened."""
        air: list[tuple[float, int, Event]] = []
        made = messages = 0
        per_message = 2.4
        while made < self._events:
            share = min(1.0, messages * per_message / max(1, self._events))
            sent = self._now - self._span + int(share * self._span * 0.98) + self._rng.randrange(1000)
            stale = _STALE_MS if self._rng.random() < _STALE else 0
            for event in self._message(sent - stale, stale):
                made += 1
                self._count(event)
                heappush(air, (messages + self._rng.random() * _WINDOW * self._late(event), made, event))
            messages += 1
            while air and air[0][0] < messages:
                yield heappop(air)[2]
        while air:
            yield heappop(air)[2]

    def _late(self, event: Event) -> float:
        """How much longer than others an event is held up: those that arrive hours later come far behind."""
        return 6.0 if event.arrival_ms - event.time_ms > 10 * _MINUTE_MS else 1.0

    def _count(self, event: Event) -> None:
        self.truth.events += 1
        self.truth.by_type[event.type] += 1

    def _recipients(self) -> tuple[str, ...]:
        number = self._rng.randint(2, 4) if self._rng.random() < _SEVERAL else 1
        chosen = self._rng.choices(world.DOMAINS, self._domains, k=number)
        return tuple(f"user{self._rng.randrange(10**7)}@{domain.name}" for domain in chosen)

    def _message(self, sent_ms: int, delay_ms: int) -> Iterator[Event]:
        campaign = self._rng.choices(world.CAMPAIGNS, self._weights)[0]
        recipients = self._recipients()
        region, prefix, _ = self._rng.choices(world.REGIONS, self._regions)[0]
        message_id = payloads.message_id(self._rng, sent_ms, prefix)
        message = Message(message_id, sent_ms, campaign, recipients, region, delay_ms)
        fate = self._rng.random()
        if fate < 0.004:  # noqa: PLR2004 - chances are what they are
            yield self._rendering_failure(message)
            return
        yield payloads.event(message, "Send", sent_ms, {})
        self._tally(message, "sends", len(recipients))
        if fate < 0.008:  # noqa: PLR2004
            yield payloads.event(message, "Reject", sent_ms, {"reason": "Bad content"})
            self._tally(message, "rejects")
            return
        reached: list[str] = []
        for recipient in recipients:
            yield from self._attempt(message, recipient, reached)
        if reached:
            yield from self._reactions(message, reached)

    def _tally(self, message: Message, counter: str, number: int = 1) -> None:
        if counter == "sends":
            self.truth.sends[message.region] += number
        self.truth.add(message.campaign.name, message.sent_ms, counter, number)

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
        if fate < 0.01:  # noqa: PLR2004
            yield self._suppressed(message, recipient)
            return
        if rng.random() < message.campaign.hard_bounce:
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
        self._tally(message, "deliveries")
        if self._reports(recipient):
            self._tally(message, "eligible")

    def _reports(self, recipient: str) -> bool:
        name = recipient.partition("@")[2]
        return any(domain.name == name and domain.reports_complaints for domain in world.DOMAINS)

    def _feedback(self, time_ms: int) -> str:
        return payloads.message_id(self._rng, time_ms, world.REGIONS[0][1])

    def _suppressed(self, message: Message, recipient: str) -> Event:
        time = message.sent_ms + 40
        self._tally(message, "suppressed")
        self._tally(message, "sends", -1)
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
        self._tally(message, "hard_bounces")
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
        self._tally(message, "soft_bounces")
        who = {
            "emailAddress": recipient,
            "action": "failed",
            "status": "4.2.2",
            "diagnosticCode": f"smtp; 452 4.2.2 <{recipient}>: Mailbox full",
        }
        return payloads.bounce(message, time, self._feedback(time), ("Transient", "MailboxFull"), who)

    def _delay(self, message: Message, recipient: str) -> Event:
        time = message.sent_ms + 5 * _MINUTE_MS
        self._tally(message, "delays")
        blocked = recipient.endswith("@gmail.com") and self._rng.random() < 0.5  # noqa: PLR2004
        if blocked:
            self._tally(message, "blocks")
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
            if not self._reports(recipient) or not self._has_come(complained):
                continue
            if rng.random() < campaign.complaint:
                yield self._complaint(message, recipient, "abuse", complained)
                self._tally(message, "complaints")
            elif rng.random() < 0.002:  # noqa: PLR2004
                yield self._complaint(message, recipient, "not-spam", complained)

    def _has_come(self, time_ms: int) -> bool:
        """Whether a time is not of the future."""
        return time_ms <= self._now

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
        return payloads.event(message, "Complaint", time, detail, delay_ms=late)
