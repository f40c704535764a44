"""Rows of `mail.threads`: what is told of a member of a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.threads.rows import PROFILE
from schemas.mail import ThreadMember

if TYPE_CHECKING:
    from pipelines.threads.facts import Fact

_CAMPAIGN = PROFILE.index("campaign")


def name(fact: Fact) -> str:
    """The name of a member."""
    return f"out:{fact.text}" if fact.sent else f"in:{fact.member[1:].hex()}"


def row(fact: Fact, thread: bytes) -> ThreadMember:
    """A member in a thread."""
    about = fact if fact.sent else fact.answer
    return ThreadMember(
        member=name(fact),
        tenant=fact.tenant,
        thread_id=thread.hex(),
        direction="out" if fact.sent else "in",
        time=fact.time,
        kind=fact.kind,
        automatic=fact.automatic,
        rank=fact.rank,
        message_id="" if about is None else about.text,
        campaign="" if about is None else about.profile[_CAMPAIGN],
        sent_time=0 if about is None else about.time,
    )
