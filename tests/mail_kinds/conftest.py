"""A policy to read under, and the way from a raw mail to its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipelines.intake.providers import Directory
from pipelines.mail.kinds import kind_of
from pipelines.mail.parse import parse
from pipelines.mail.policy import Limits, MailPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mail.kinds import Kind
    from pipelines.mail.notice import Notice


@pytest.fixture(scope="session")
def policy() -> MailPolicy:
    return MailPolicy(Directory(), pii="plain")


@pytest.fixture(scope="session")
def tell(policy: MailPolicy) -> Callable[..., Kind]:
    """Of a raw mail, lines ended as they may be."""

    def told(raw: bytes | str, notice: Notice | None = None, under: MailPolicy | None = None) -> Kind:
        raw = raw.encode() if isinstance(raw, str) else raw
        return kind_of(parse(raw, Limits()), notice, under or policy)

    return told
