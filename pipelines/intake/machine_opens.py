"""Whether an Open was fetched by a machine rather than by a reader."""

from __future__ import annotations

from functools import cache
from importlib import resources

import msgspec


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule of `machine_opens.toml`."""

    name: str
    equals: str | None = None
    contains: str | None = None
    ends_with: str | None = None
    within_ms: int | None = None

    def holds(self, user_agent: str, delay_ms: int) -> bool:
        """Whether everything the rule names holds."""
        return (
            (self.equals is None or user_agent == self.equals)
            and (self.contains is None or self.contains in user_agent)
            and (self.ends_with is None or user_agent.endswith(self.ends_with))
            and (self.within_ms is None or 0 <= delay_ms <= self.within_ms)
        )


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rule: tuple[Rule, ...]


@cache
def rules() -> tuple[Rule, ...]:
    """The table.

    Raises:
        msgspec.ValidationError: if it has an unknown key or a wrong type.
    """
    data = resources.files("pipelines.intake").joinpath("machine_opens.toml").read_bytes()
    return msgspec.toml.decode(data, type=_File).rule


def is_machine_open(user_agent: str, delay_ms: int) -> bool:
    """Of a user agent and the time from `mail.timestamp` to the Open."""
    return any(rule.holds(user_agent, delay_ms) for rule in rules())
