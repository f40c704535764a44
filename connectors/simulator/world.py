"""Who sends to whom, and how it usually goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Final

ACCOUNT: Final = "012345678901"
"""With a leading zero: it is not a number."""
REGION: Final = "us-east-1"
"""Where the topics and streams are, and most of the mail is sent."""
REGIONS: Final = (("us-east-1", "0100", 4), ("eu-west-1", "0102", 1))
"""Name, first digits of its message ids as observed in real ones, and weight: most campaigns are sent from both."""
MAIL_STREAM_CONTACTS: Final = "newsletter-readers"


@dataclass(frozen=True, slots=True)
class MailboxDomain:
    """Where recipients live."""

    name: str
    provider: str
    """Known by the world, not asked of the pipeline."""
    weight: float
    reports_complaints: bool
    """Whether its provider runs a feedback loop that SES reads. Known by the world, too."""


DOMAINS: Final = (
    MailboxDomain("gmail.com", "gmail", 46, reports_complaints=False),
    MailboxDomain("yahoo.com", "yahoo", 16, reports_complaints=True),
    MailboxDomain("outlook.com", "microsoft", 12, reports_complaints=True),
    MailboxDomain("hotmail.com", "microsoft", 10, reports_complaints=True),
    MailboxDomain("aol.com", "yahoo", 6, reports_complaints=True),
    MailboxDomain("initech.example", "other", 10, reports_complaints=False),
)
BY_DOMAIN: Final = {domain.name: domain for domain in DOMAINS}


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign and what befalls its mail, as shares of the recipients."""

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
    rendering_failure: float = 0.004
    """Of messages, as is `reject`."""
    reject: float = 0.0
    complaining: str = ""
    """The provider that all complaints come from; empty: any."""
    reported: float = 0.0
    """After which share of the simulated time its provider reports all complaints at once; 0: each as it comes."""
    complains_once: int = 0
    """Which of the recipients whose provider reports complaints is the only one ever to complain; 0: none."""
    domains: tuple[MailboxDomain, ...] = DOMAINS
    """Where its readers are."""
    regions: tuple[tuple[str, str, int], ...] = REGIONS
    episodes: tuple[Episode, ...] = ()


@dataclass(frozen=True, slots=True)
class Episode:
    """A part of the simulated time in which a campaign does not go as usual."""

    begin: float
    """As a share of the simulated time, as is `end`."""
    end: float
    otherwise: Campaign
    """What it is then."""
    share: float = 1.0
    """Of its messages that are so; the others are as usual."""
    weight: float = 1.0
    """How many times as much is sent."""


def _weighted(**weights: int) -> tuple[MailboxDomain, ...]:
    """The domains of providers, each provider with a weight of its own; one that is not named has none."""
    of_all = {name: sum(domain.weight for domain in DOMAINS if domain.provider == name) for name in weights}
    return tuple(
        replace(domain, weight=domain.weight * weights[domain.provider] / of_all[domain.provider])
        for domain in DOMAINS
        if domain.provider in weights
    )


_BLACK_FRIDAY: Final = Campaign(
    "black-friday",
    "customers",
    "marketing",
    "acme",
    "offers.acme.example",
    26,
    complaint=0.0003,
    hard_bounce=0.01,
    open=0.25,
    domains=_weighted(gmail=46, yahoo=9, microsoft=36, other=9),
    regions=REGIONS[:1],
)
_PURCHASED: Final = replace(
    _BLACK_FRIDAY,
    stream="purchased-list",
    complaint=0.7,
    complaining="yahoo",
    reported=0.755,
    domains=_weighted(gmail=20, yahoo=70, microsoft=10),
)
_WINBACK: Final = Campaign(
    "winback-2019-list",
    "winback",
    "bulk",
    "initrode",
    "initrode.example",
    14,
    complaint=0.0,
    hard_bounce=0.0,
    open=0.08,
    regions=REGIONS[:1],
)

CAMPAIGNS: Final = (
    Campaign(
        "november-newsletter",
        "newsletter",
        "marketing",
        "acme",
        "news.acme.example",
        26,
        complaint=0.0004,
        hard_bounce=0.004,
        open=0.35,
        reject=0.0008,
    ),
    # Goes bad part-way: a purchased list is mailed as well, and its readers at Yahoo complain.
    replace(_BLACK_FRIDAY, episodes=(Episode(0.4, 0.66, _PURCHASED, share=0.25, weight=2.5),)),
    # Starts with addresses of 2019, of which most are gone; then the list is cleaned.
    replace(
        _WINBACK,
        episodes=(
            Episode(0.0, 0.15, replace(_WINBACK, hard_bounce=0.75)),
            Episode(0.15, 0.4, _WINBACK, weight=8.0),
        ),
    ),
    # One complaint among few: more than the limit, and no evidence.
    Campaign(
        "loyalty-pilot",
        "loyalty",
        "marketing",
        "globex",
        "loyalty.globex.example",
        12,
        complaint=0.0,
        hard_bounce=0.004,
        open=0.4,
        complains_once=14,
    ),
    # Nobody tells SES of complaints at Gmail.
    Campaign(
        "android-beta",
        "beta",
        "marketing",
        "globex",
        "beta.globex.example",
        8,
        complaint=0.0,
        hard_bounce=0.002,
        open=0.5,
        domains=DOMAINS[:1],
    ),
    Campaign(
        "order-confirmation",
        "order",
        "transactional",
        "acme",
        "acme.example",
        16,
        complaint=0.0,
        hard_bounce=0.002,
        open=0.6,
    ),
    Campaign(
        "login-code",
        "security",
        "transactional",
        "globex",
        "id.globex.example",
        14,
        complaint=0.0,
        hard_bounce=0.001,
        open=0.5,
    ),
    Campaign(
        "globex-digest",
        "newsletter",
        "marketing",
        "globex",
        "mail.globex.example",
        12,
        complaint=0.0004,
        hard_bounce=0.01,
        open=0.3,
    ),
)
CALM: Final = tuple(replace(campaign, episodes=(), complains_once=0) for campaign in CAMPAIGNS)
"""The same when all that is over, and nothing goes wrong."""

READER: Final = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.6 Safari/605.1.15"
)
MACHINE: Final = "Mozilla/5.0"
"""The whole User-Agent of Apple's Mail Privacy Protection."""


def domain_of(recipient: str) -> MailboxDomain:
    """Where an address is."""
    return BY_DOMAIN[recipient.partition("@")[2]]


@cache
def _of_all(campaign: Campaign, region: str) -> tuple[tuple[str, str], ...]:
    """What is alike for all recipients."""
    return (
        ("account", ACCOUNT),
        ("region", region),
        ("tenant", campaign.tenant),
        ("configuration_set", campaign.configuration_set),
        ("from_domain", campaign.from_domain),
        ("feedback_a", campaign.name),
        ("feedback_b", campaign.stream),
        ("feedback_c", f"{region}.{ACCOUNT}"),
        ("feedback_ab", f"{campaign.name}:{campaign.stream}"),
        ("campaign", campaign.name),
    )


def keys_of(campaign: Campaign, region: str, recipient: str) -> tuple[tuple[str, str], ...]:
    """Dimensions and values that something that happened to a recipient counts for.

    Without `outgoing_ip`, which SES tells of deliveries only: nothing bad counts there.
    """
    provider = domain_of(recipient).provider
    return (
        *_of_all(campaign, region),
        ("provider", provider),
        ("provider_campaign", f"{provider}:{campaign.name}"),
    )
