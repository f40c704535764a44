"""Rows that the Avro schema refuses: they become dead letters."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.blocks import RowTooLarge
from schemas.dead_letters import DeadLetter, dead_letter


def refused(event: Any, error: Exception) -> DeadLetter:
    """The dead letter of an event that does not fit `ses.events`; cause `row_too_large` or `row_refused`."""
    payload = _json(event)
    time = event.get("event_time") if isinstance(event, dict) else None
    identity = event.get("event_id") if isinstance(event, dict) else None
    return dead_letter(
        time=time if type(time) is int and abs(time) < 1 << 63 else 0,
        stage="bridge",
        cause="row_too_large" if isinstance(error, RowTooLarge) else "row_refused",
        detail=str(error).encode(errors="backslashreplace").decode(),
        source=f"event:{identity.hex()}" if isinstance(identity, bytes) else "event",
        payload=payload,
    )


def _json(event: Any) -> bytes:
    """What of the event a person can read: JSON where that can say it, else Python's notation."""
    try:
        return msgspec.json.encode(event)
    except (TypeError, ValueError, OverflowError):
        return repr(event).encode(errors="backslashreplace")
