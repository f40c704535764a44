"""Types and subtypes of bounces, by words and by status."""

from __future__ import annotations

import pytest

from pipelines.mail.kinds.classification import classify, table

CASES = [
    ("5.1.1", "550 5.1.1 user unknown", "Permanent/NoEmail"),
    ("", "550 No such user here", "Permanent/NoEmail"),
    ("5.1.1", "550-5.1.1 The email account that you tried to reach does not exist.", "Permanent/NoEmail"),
    ("5.5.0", "554 delivery error: dd This user doesn't have a yahoo.com account", "Permanent/NoEmail"),
    ("5.4.1", "550 5.4.1 Recipient address rejected: Access denied.", "Permanent/NoEmail"),
    ("5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound", "Permanent/NoEmail"),
    ("5.1.1", "", "Permanent/NoEmail"),
    ("5.1.1", "550 5.1.1 mailbox ann@example.net is over quota", "Transient/MailboxFull"),
    ("5.2.2", "", "Transient/MailboxFull"),
    ("4.2.2", "452-4.2.2 The email account that you tried to reach is over quota.", "Transient/MailboxFull"),
    ("5.3.4", "552 5.3.4 Message size exceeds fixed limit", "Transient/MessageTooLarge"),
    ("5.2.3", "", "Transient/MessageTooLarge"),
    ("5.7.1", "550 5.7.1 message content rejected", "Transient/ContentRejected"),
    ("5.7.1", "554 5.7.1 This message was classified as SPAM", "Transient/ContentRejected"),
    ("5.6.0", "", "Transient/ContentRejected"),
    (
        "5.7.0",
        "552-5.7.0 This message was blocked because the attached file is not allowed",
        "Transient/AttachmentRejected",
    ),
    ("5.7.1", "550 5.7.1 Service unavailable; client blocked using zen.spamhaus.org", "Transient/General"),
    ("5.7.26", "550-5.7.26 This mail is unauthenticated", "Transient/General"),
    ("5.7.1", "", "Transient/General"),
    ("5.4.4", "550 5.4.4 Invalid domain", "Transient/General"),
    ("5.3.0", "550 denied", "Transient/General"),
    (
        "4.4.7",
        "554 4.4.7 Message expired: unable to deliver in 840 minutes.<421 4.4.2 Timed out>",
        "Transient/General",
    ),
    ("4.1.1", "450 4.1.1 user unknown", "Transient/General"),
    ("5.2.1", "550 5.2.1 The email account that you tried to reach is disabled.", "Permanent/General"),
    ("5.0.0", "", "Permanent/General"),
    ("", "550 no", "Permanent/General"),
    ("", "", "Undetermined/Undetermined"),
    ("", "it did not work", "Undetermined/Undetermined"),
]


@pytest.mark.parametrize(("status", "reply", "expected"), CASES)
def test_types(status: str, reply: str, expected: str) -> None:
    assert "/".join(classify(status, reply)) == expected


def test_the_table_speaks_ses() -> None:
    rows = table()
    pairs = {(row.type, row.subtype) for row in rows.words} | {(row.type, row.subtype) for row in rows.status}
    assert pairs <= {
        ("Permanent", "General"),
        ("Permanent", "NoEmail"),
        ("Transient", "General"),
        ("Transient", "MailboxFull"),
        ("Transient", "MessageTooLarge"),
        ("Transient", "ContentRejected"),
        ("Transient", "AttachmentRejected"),
    }
