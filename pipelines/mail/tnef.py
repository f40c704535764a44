"""TNEF (winmail.dat)."""

from __future__ import annotations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.mail.parsed import Part
    from pipelines.mail.policy import Limits


def is_tnef(part: Part) -> bool:
    return part.content_type in ("application/ms-tnef", "application/vnd.ms-tnef")


def open_into(parts: list[Part], part: Part, limits: Limits) -> list[str]:
    return []
