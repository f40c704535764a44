"""Reports that come by mail: DMARC aggregate (RFC 7489, 9990) and failure (RFC 6591, 9991), SMTP TLS (RFC 8460)."""

from __future__ import annotations

from pipelines.mail.reports.failure import Failure, failure_of
from pipelines.mail.reports.finding import Reports, looks_like_report, reports_of

__all__ = ["Failure", "Reports", "failure_of", "looks_like_report", "reports_of"]
