"""The wire format of SES events, as tolerant as reality is. Filled by `msgspec.json`."""

from __future__ import annotations

from msgspec import Struct


class Payload(Struct):
    """An event of event publishing, or a legacy notification."""
