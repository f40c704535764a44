"""Rows of the mail topics: what is known of mail received, of messages sent, and of the threads they are in.

Absent strings are empty, absent times 0; times are ms since the epoch, UTC. Message-IDs and ids they cite are without
their angle brackets, otherwise as they stand (RFC 5322, section 3.6.4). Bodies are in none of them, only references.
"""

from __future__ import annotations

from typing import Final, TypedDict

KINDS: Final = (
    "reply",
    "auto_reply",
    "bounce",
    "complaint",
    "dmarc",
    "tls_report",
    "unsubscribe",
    "journal",
    "other",
)
"""What a received mail can be."""

VERDICTS: Final = ("PASS", "FAIL", "GRAY", "PROCESSING_FAILED", "DISABLED")
"""What SES says of a mail; empty: nothing. Others are kept as they come."""

RELAYS: Final = ("", "expected", "unexpected")
"""Whether a mail claims to have come through Mail Manager (empty: no), and from an organisation that is expected."""

NO_RANK: Final = 65535
"""Rank of a member that answers no message we know."""


class MailRecipient(TypedDict):
    """A recipient of the envelope; where that is not known, of `To` and `Cc`."""

    address: str
    """Keyed hash, or plain address when `pii = "plain"`: as in events."""
    domain: str


class Verdicts(TypedDict):
    """SES's verdicts."""

    spf: str
    dkim: str
    dmarc: str
    spam: str
    virus: str
    dmarc_policy: str
    """`none`, `quarantine`, `reject`; only where DMARC failed."""


class Attachment(TypedDict):
    """A part of a mail that is kept."""

    name: str
    content_type: str
    size: int
    """Bytes, decoded."""
    sha256: str
    """Of the decoded bytes, hex."""
    key: str
    """Where it is in the attachment store; empty: not stored."""
    inline: bool


class Feedback(TypedDict):
    """What a DSN or an ARF report says of one recipient of one message."""

    event_type: str
    """What it would be as an event: `Bounce`, `Complaint`, `Delivery` or `DeliveryDelay`."""
    ses_id: str
    """SES's id of the message it is about, as far as the report names one."""
    message_id: str
    """The Message-ID of the message it is about."""
    address: str
    """As in events: keyed hash or plain."""
    domain: str
    provider: str
    reports_complaints: bool
    blocked: bool
    """Whether the SMTP reply is a reputation signal."""
    bounce_type: str
    bounce_subtype: str
    complaint_type: str
    """Feedback-Type."""
    action: str
    """RFC 3464: failed, delayed, delivered, relayed, expanded."""
    status: str
    """RFC 3463: `5.1.1`."""
    smtp_reply: str
    """Diagnostic-Code without its type, or the line of prose that says it."""
    reporting_mta: str
    remote_mta_ip: str
    user_agent: str
    source_ip: str
    time: int


class InboundMail(TypedDict):
    """A row of `mail.inbound`."""

    mail_id: bytes
    """16 bytes; the same for one mail by whichever way and however often it comes."""
    received_time: int
    kind: str
    """One of `KINDS`."""
    kind_reason: str
    """What told the kind, in a few words."""
    message_id: str
    """Message-ID; of a journal that of the journaled mail. Empty: it has none."""
    ses_id: str
    """SES's id of the received mail; unrelated to those of messages sent."""
    account: str
    region: str
    tenant: str
    """By the rules of `[inbound]`; empty: none says so."""
    from_address: str
    from_domain: str
    envelope_from: str
    """As `from_address`; empty for `<>`."""
    envelope_domain: str
    recipients: list[MailRecipient]
    subject: str
    base_subject: str
    """Without `Re:`, `Fwd:`, … (RFC 5256, section 2.1), lower case."""
    date: int
    """The Date field: what the sender says."""
    in_reply_to: list[str]
    """Every id it holds, in order."""
    references: list[str]
    """Every id it holds, in order."""
    conversations: list[str]
    """Conversations that its addresses name: `RULE:KEY`, the key hashed unless `pii = "plain"`."""
    verdicts: Verdicts
    authentication_results: list[str]
    """Those of our own side, as they stand."""
    relay: str
    """One of `RELAYS`."""
    originator_org: str
    attachments: list[Attachment]
    feedback: list[Feedback]
    unsubscribes: list[str]
    """Of a mail of kind `unsubscribe`: what is unsubscribed from, as its addresses' tags and its subject say."""
    automatic: bool
    """Written by a machine."""
    size: int
    """Bytes of the raw mail."""
    parts: int
    object: str
    """URI of the raw mail; empty: it is nowhere."""
    defects: list[str]
    path: str
    """`s3`, `sns`, `file`, …"""
    arrival_id: int
    """As in events."""


class OutboundMessage(TypedDict):
    """A row of `mail.outbound`: of a Send event."""

    message_id: str
    """SES's id."""
    header_message_id: str
    """The caller's own Message-ID, without brackets; empty where it is SES's."""
    sent_time: int
    tenant: str
    account: str
    region: str
    configuration_set: str
    from_domain: str
    feedback_a: str
    feedback_b: str
    feedback_c: str
    campaign: str
    subject: str
    base_subject: str
    in_reply_to: list[str]
    references: list[str]
    conversations: list[str]
    recipients: list[int]
    """`pipelines.intake.identity.marks` of all to whom it was sent: a report that names anybody else does not count."""


class ThreadMember(TypedDict):
    """A row of `mail.threads`.

    All that is said of a member at different times merges to the same, whatever the order: the least `thread_id`
    wins, and of what it answers the least (`rank`, `message_id`).
    """

    member: str
    """`in:` and the mail's id (hex), or `out:` and SES's id."""
    tenant: str
    thread_id: str
    """32 hex digits."""
    direction: str
    """`in` or `out`."""
    time: int
    """Received, or sent."""
    kind: str
    """Of a received mail."""
    automatic: bool
    rank: int
    """Place of the message of ours that a received mail answers among all it cites (In-Reply-To first, then References
    from right to left); 0 for `out`; `NO_RANK`: it answers none that is known."""
    message_id: str
    """SES's id of the message that it answers, or is."""
    campaign: str
    """Of that message."""
    sent_time: int
    """Of that message."""


class DmarcPolicy(TypedDict):
    """What the domain owner published, as reported."""

    p: str
    sp: str
    np: str
    adkim: str
    aspf: str
    pct: str
    fo: str
    testing: str
    discovery: str


class Override(TypedDict):
    """Why a receiver did not apply the policy."""

    type: str
    comment: str


class DkimResult(TypedDict):
    """A DKIM signature and what became of it."""

    domain: str
    selector: str
    result: str


class SpfResult(TypedDict):
    """An SPF check."""

    domain: str
    scope: str
    result: str


class DmarcRecord(TypedDict):
    """A row of `mail.reports`: a record of a DMARC aggregate report (RFC 7489, appendix C; RFC 9990).

    Its identity is (policy_domain, begin_time, reporter, report_id, row): a report that is mailed twice is one report.
    Begin is in it because some reporters use a report id again.
    """

    report_id: str
    reporter: str
    """`org_name`."""
    reporter_email: str
    policy_domain: str
    row: int
    """Its number in the report, from 0."""
    begin_time: int
    end_time: int
    """Spans longer than a day are kept as spans."""
    received_time: int
    tenant: str
    policy: DmarcPolicy
    source_ip: str
    count: int
    """Messages: a weight, to be summed."""
    disposition: str
    dkim: str
    """Whether an aligned DKIM signature passed, as evaluated: `pass` or `fail`."""
    spf: str
    aligned: bool
    """Whether either passed."""
    overrides: list[Override]
    header_from: str
    envelope_from: str
    envelope_to: str
    dkim_results: list[DkimResult]
    spf_results: list[SpfResult]
    mail_id: bytes


class TlsResult(TypedDict):
    """A row of `mail.reports`: of a TLS report (RFC 8460, section 4) the counts of one policy, or one failure under it.

    Its identity is that of a `DmarcRecord`.
    """

    report_id: str
    reporter: str
    contact: str
    begin_time: int
    end_time: int
    received_time: int
    tenant: str
    row: int
    policy_domain: str
    policy_type: str
    policy: list[str]
    mx_hosts: list[str]
    successful: int
    """Sessions; 0 in a row of a failure, so that both can be summed."""
    failed: int
    result_type: str
    """Of a failure; empty in the row of a policy's counts."""
    sending_ip: str
    receiving_mx: str
    receiving_ip: str
    failed_sessions: int
    reason: str
    detail: str
    mail_id: bytes
