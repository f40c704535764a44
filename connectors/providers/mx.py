"""MX records, looked up in DNS. Only commands that a person runs do this, never a bridge: answers change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import dns.exception
import dns.name
import dns.resolver

from connectors.errors import SettingsError
from pipelines.intake.mx import Mx

if TYPE_CHECKING:
    from collections.abc import Sequence

_LIFETIME_S: Final = 8.0
"""For one domain, all tries together: a name server that is away must not hold thousands of look-ups."""


class LookupFailedError(Exception):
    """No name server answered, or none would say."""


class MxLookup:
    """Looks MX records up. Threads may share it."""

    def __init__(
        self, nameservers: Sequence[str] = (), port: int = 53, lifetime_s: float = _LIFETIME_S
    ) -> None:
        """Args: addresses of name servers (none: the system's), their port, and seconds for one domain.

        Raises:
            SettingsError: the system names no name server, or one given is no IP address.
        """
        try:
            self._resolver = dns.resolver.Resolver(configure=not nameservers)
            if nameservers:
                self._resolver.nameservers = list(nameservers)
        except dns.resolver.NoResolverConfiguration:
            raise SettingsError("this machine knows no name server: give one with --nameserver") from None
        except ValueError:
            raise SettingsError(
                f"{', '.join(nameservers)} is no IP address of a name server: give one such as 9.9.9.9"
            ) from None
        self._resolver.port = port
        self._resolver.lifetime = lifetime_s

    def records(self, domain: str) -> list[Mx]:
        """The records of a domain; none where it does not exist, has none, or takes no mail (RFC 7505).

        Raises:
            LookupFailedError: no answer; asking again later may help.
        """
        try:
            answer = self._resolver.resolve(domain, "MX", search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            raise LookupFailedError(type(error).__name__) from None
        found = (Mx(int(each.preference), str(each.exchange).rstrip(".").lower()) for each in answer)
        return sorted(each for each in found if each.host)
