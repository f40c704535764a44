"""What of normalisation is a setting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pipelines.intake.providers import Directory, Table

if TYPE_CHECKING:
    from pipelines.mail.policy import MailPolicy


@dataclass(frozen=True, slots=True)
class NormalisePolicy:
    """Settings of `Normaliser`; see `[privacy]` and `[counting]`."""

    pii: Literal["hashed", "plain"] = "hashed"
    """Whether recipient addresses are stored as a keyed hash or as they are."""
    pii_key: bytes = field(default=b"", repr=False)
    """Key of the hash."""
    campaign_tag: str = ""
    """Message tag that names the campaign when Feedback-ID `a` is not set."""
    unknown_providers_report: bool = False
    """Whether providers that are not in the table report complaints."""
    mail_objects: tuple[str, str] | None = None
    """Bucket and prefix of the mails that notifications without mail and object stand for."""
    provider_tables: tuple[Table, ...] = field(default=(), repr=False)
    """Tables of the user's own, which come before the program's; the first has precedence."""
    outbound: MailPolicy | None = field(default=None, repr=False)
    """How messages sent are read for threads, so that it suits mail received; None: they are not."""

    def directory(self) -> Directory:
        """Who hosts which domain under these settings."""
        return Directory(self.provider_tables, unknown_report=self.unknown_providers_report)
