"""Events of what received mail says about messages of ours: bounces of DSNs, complaints of ARF reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.intake.identity import marks, report_id
from schemas.events import ARF, BLANK, DSN, Recipient, SesEvent

if TYPE_CHECKING:
    from schemas.mail import Feedback, InboundMail, OutboundMessage

_FAILED = ("failed", "")
"""RFC 3464, 2.3.3; prose has no word for it."""


def event_of(mail: InboundMail, feedback: Feedback, outbound: OutboundMessage) -> SesEvent | None:
    """The event that a report of a received mail is; None: it is not one that counts.

    A Bounce has to name somebody to whom the message was sent: else it cannot be told from the one that SES reports,
    and whoever knows the message's id could make up as many as they like. It counts for the
    campaign, and in the hour, of the message it is about.

    Its id holds all that counting looks at. So a report that comes again is the same event, and of two with one id it
    does not matter which is counted.

    Args:
        mail: what the report came in.
        feedback: one of its rows.
        outbound: the message that is meant, or what is known of it.
    """
    kind = feedback["event_type"]
    if kind == "Bounce":
        if (
            feedback["action"] not in _FAILED
            or not feedback["address"]
            or not may_be_about(feedback, outbound)
        ):
            return None
        origin = DSN
        verdict = (feedback["bounce_type"], feedback["bounce_subtype"], str(feedback["blocked"]))
    elif kind == "Complaint":
        origin = ARF
        verdict = (feedback["complaint_type"], "", "")
    else:
        return None
    message_id, sent = outbound["message_id"], outbound["sent_time"]
    recipients = _recipients(feedback)
    whom = (feedback["address"], feedback["provider"])
    identity = report_id(kind, message_id, origin, *whom, *verdict)
    told = BLANK.copy()
    told["event_id"] = identity
    told["event_type"] = kind
    told["event_time"] = _time(feedback["time"], sent, mail["received_time"])
    told["sent_time"] = sent
    told["message_id"] = message_id
    told["account"] = outbound["account"]
    told["region"] = outbound["region"]
    told["configuration_set"] = outbound["configuration_set"]
    told["tenant"] = outbound["tenant"]
    told["from_domain"] = outbound["from_domain"]
    told["feedback_a"] = outbound["feedback_a"]
    told["feedback_b"] = outbound["feedback_b"]
    told["feedback_c"] = outbound["feedback_c"]
    told["campaign"] = outbound["campaign"]
    told["recipients"] = recipients
    told["bounce_type"] = feedback["bounce_type"]
    told["bounce_subtype"] = feedback["bounce_subtype"]
    told["complaint_type"] = feedback["complaint_type"] if origin == ARF else ""
    told["smtp_reply"] = feedback["smtp_reply"]
    told["reporting_mta"] = feedback["reporting_mta"]
    told["remote_mta_ip"] = feedback["remote_mta_ip"]
    told["ip_address"] = feedback["source_ip"]
    told["user_agent"] = feedback["user_agent"]
    told["tagged"] = True
    told["origin"] = origin
    # Which of several mails is heard of first depends on the order in which they come; this must not. It has no path.
    told["arrival_id"] = int.from_bytes(identity[:8], "big", signed=True)
    return told


def may_be_about(feedback: Feedback, outbound: OutboundMessage) -> bool:
    """Whether a message was sent to whom feedback names: a bounce of anybody else is not about it.

    A complaint need not be of somebody whom the message was sent to, for it counts once a message.
    """
    return (
        feedback["event_type"] != "Bounce"
        or not feedback["address"]
        or marks([feedback["address"]])[0] in outbound["recipients"]
    )


def _recipients(feedback: Feedback) -> list[Recipient]:
    """Whom it is about; nobody where the report keeps that to itself."""
    if not feedback["address"]:
        return []
    return [
        Recipient(
            address=feedback["address"],
            domain=feedback["domain"],
            provider=feedback["provider"],
            reports_complaints=feedback["reports_complaints"],
            blocked=feedback["blocked"],
            smtp_reply=feedback["smtp_reply"],
        )
    ]


def _time(reported: int, sent: int, received: int) -> int:
    """When it happened, as the report says, unless that is before the message or after the report."""
    return reported if sent <= reported <= received else max(received, sent)
