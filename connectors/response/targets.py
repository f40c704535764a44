"""`Target`: what can be paused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from connectors.errors import SettingsError
from schemas.counters import OTHER_VALUE

KINDS: Final = ("configuration_set", "tenant")
_WIDER: Final = frozenset({"account", "region"})


@dataclass(frozen=True, slots=True)
class Target:
    """A configuration set or a tenant, by its name. There is no target that is wider."""

    kind: str
    name: str

    def __post_init__(self) -> None:
        if self.kind in _WIDER:
            raise SettingsError(
                f"{str(self).rstrip(':')} is not paused by ses-streams: it would stop all mail; if it must be, use "
                "`aws sesv2 put-account-sending-attributes`"
            )
        if self.kind not in KINDS:
            raise SettingsError(
                f"{str(self).rstrip(':')} cannot be paused: give configuration_set:NAME or tenant:NAME"
            )
        if not self.name or self.name == OTHER_VALUE or self.name != self.name.strip():
            raise SettingsError(f"{self.name!r} is no name of a {self.kind}: give {self.kind}:NAME")

    @classmethod
    def of(cls, text: str) -> Target:
        """From `configuration_set:NAME` or `tenant:NAME`.

        Raises:
            SettingsError: it is neither.
        """
        kind, _, name = text.partition(":")
        return cls(kind, name)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"
