"""A policy to read under."""

from __future__ import annotations

import pytest

from pipelines.intake.providers import Directory
from pipelines.mail.policy import MailPolicy


@pytest.fixture(scope="session")
def policy() -> MailPolicy:
    return MailPolicy(Directory(), pii="plain", list_addresses=("unsubscribe+*@news.example.com",))
