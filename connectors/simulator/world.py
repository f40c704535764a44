"""Who sends to whom, and how it usually goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ACCOUNT: Final = "012345678901"
"""With a leading zero: it is not a number."""
REGION: Final = "us-east-1"
"""Where the topics and streams are, and most of the mail is sent."""
REGIONS: Final = (("us-east-1", "0100", 4), ("eu-west-1", "0102", 1))
"""Name, first digits of its message ids as observed in real ones, and weight: one campaign is sent from both."""
MAIL_STREAM_CONTACTS: Final = "newsletter-readers"


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign and its fate, as chances per recipient."""

    name: str
    """`ses:feedback-id-a`."""
    stream: str
    """`ses:feedback-id-b`."""
    configuration_set: str
    tenant: str
    from_domain: str
    weight: int
    complaint: float
    """Of deliveries at providers that report complaints."""
    hard_bounce: float
    open: float


CAMPAIGNS: Final = (
    Campaign(
        "november-newsletter", "newsletter", "marketing", "acme", "news.acme.example", 40, 0.0006, 0.004, 0.35
    ),
    Campaign("black-friday", "promotion", "marketing", "acme", "offers.acme.example", 30, 0.008, 0.01, 0.25),
    Campaign("winback-2019-list", "promotion", "bulk", "acme", "offers.acme.example", 12, 0.03, 0.13, 0.08),
    Campaign("order-confirmation", "order", "transactional", "acme", "acme.example", 25, 0.0, 0.002, 0.6),
    Campaign("login-code", "security", "transactional", "globex", "id.globex.example", 25, 0.0, 0.001, 0.5),
    Campaign(
        "globex-digest", "newsletter", "marketing", "globex", "mail.globex.example", 18, 0.002, 0.02, 0.3
    ),
)


@dataclass(frozen=True, slots=True)
class MailboxDomain:
    """Where recipients live."""

    name: str
    weight: int
    reports_complaints: bool
    """Whether its provider runs a feedback loop that SES reads.

    Known by the world, not asked of the pipeline.
    """


DOMAINS: Final = (
    MailboxDomain("gmail.com", 46, reports_complaints=False),
    MailboxDomain("yahoo.com", 16, reports_complaints=True),
    MailboxDomain("outlook.com", 12, reports_complaints=True),
    MailboxDomain("hotmail.com", 10, reports_complaints=True),
    MailboxDomain("aol.com", 6, reports_complaints=True),
    MailboxDomain("initech.example", 10, reports_complaints=False),
)

READER: Final = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.6 Safari/605.1.15"
)
MACHINE: Final = "Mozilla/5.0"
"""The whole User-Agent of Apple's Mail Privacy Protection."""
