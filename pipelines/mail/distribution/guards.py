"""`check_loop` and `check_trust`: mails that are not sent on, whomever they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipelines.mail.addresses import listed
from pipelines.mail.distribution.policy import Unsuitable, matches

if TYPE_CHECKING:
    from pipelines.mail.distribution.policy import DistributionPolicy
    from pipelines.mail.parsed import Headers
    from schemas.mail import InboundMail

LOOP_HEADER: Final = "X-Streams-Distributed"
"""Of every mail that we send on. Not `X-SES-…`: those SES takes for its own."""
_NOT_LETTERS: Final = frozenset(
    {"auto_reply", "bounce", "complaint", "dmarc", "journal", "tls_report", "unsubscribe"}
)
_MOST_HOPS: Final = 30
"""RFC 5321, 6.3 asks for at least 100 before mail is refused; ours has come from a device, not round the world."""


def check_loop(mail: InboundMail, headers: Headers, sender: str) -> None:
    """Whether a mail is an answer to one of ours, or one of ours itself.

    Args:
        mail: its row.
        headers: of the raw mail.
        sender: the bare address that we send from.

    Raises:
        Unsuitable: it is.
    """
    if headers.all(LOOP_HEADER):
        raise Unsuitable("loop", f"it has a {LOOP_HEADER} field: it was sent on before")
    if any(address.lower() == sender.lower() for address in listed(headers, "From", "Sender")):
        raise Unsuitable("loop", f"it is from {sender}, as all that is sent on")
    if mail["kind"] in _NOT_LETTERS:
        raise Unsuitable("automatic", f"it is of kind {mail['kind']}")
    if len(headers.all("Received")) > _MOST_HOPS:
        raise Unsuitable("loop", f"it has passed more than {_MOST_HOPS} servers")


def check_trust(mail: InboundMail, headers: Headers, policy: DistributionPolicy) -> None:
    """Whether the sender of a mail may have it sent on.

    Raises:
        Unsuitable: it may not.
    """
    verdicts = mail["verdicts"]
    for name in ("virus", "spam"):
        if verdicts[name] == "FAIL":
            raise Unsuitable(name, f"SES's {name} verdict is FAIL")
    senders = listed(headers, "From")
    if len(senders) != 1:
        raise Unsuitable("sender_not_allowed", "it has not one sender")
    if policy.senders and not matches(senders[0], policy.senders):
        raise Unsuitable("sender_not_allowed", "its sender is not among inbound.distribution.senders")
    if policy.authenticated and not _authentic(mail):
        said = ", ".join(f"{name} {verdicts[name] or 'unknown'}" for name in ("dmarc", "spf", "dkim"))
        raise Unsuitable("not_authenticated", f"nothing shows that it is from who it says ({said})")


def _authentic(mail: InboundMail) -> bool:
    """Whether DMARC passed; or SPF, for the domain that the mail says it is from: that of another shows nothing."""
    verdicts = mail["verdicts"]
    if verdicts["dmarc"] in ("PASS", "FAIL"):
        return verdicts["dmarc"] == "PASS"
    return verdicts["spf"] == "PASS" and _aligned(mail["envelope_domain"], mail["from_domain"])


def _aligned(one: str, other: str) -> bool:
    """Whether domains are the same, or one is below the other (RFC 7489, 3.1: relaxed, without a list of suffixes)."""
    one, other = one.lower(), other.lower()
    return bool(one and other) and (one == other or one.endswith(f".{other}") or other.endswith(f".{one}"))
