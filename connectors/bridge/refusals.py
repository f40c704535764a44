"""Rows that the Avro schema refuses: they become dead letters."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.blocks import RowTooLarge
from schemas.dead_letters import DeadLetter, dead_letter

_IDENTITY: Final = {
    "ses_event": ("event", "event_id", "event_time"),
    "inbound_mail": ("mail", "mail_id", "received_time"),
    "outbound_message": ("outbound", "message_id", "sent_time"),
    "dmarc_record": ("mail", "mail_id", "received_time"),
    "tls_result": ("mail", "mail_id", "received_time"),
}
"""What a row is, and the names of its id and its time."""


def refused(row: Any, error: Exception, record: str = "ses_event") -> DeadLetter:
    """The dead letter of a row that does not fit its record; cause `row_too_large` or `row_refused`."""
    kind, identity, time = _IDENTITY[record]
    known = row if isinstance(row, dict) else {}
    at, found = known.get(time), known.get(identity)
    name = found.hex() if isinstance(found, bytes) else found
    return dead_letter(
        time=at if type(at) is int and abs(at) < 1 << 63 else 0,
        stage="bridge",
        cause="row_too_large" if isinstance(error, RowTooLarge) else "row_refused",
        detail=str(error).encode(errors="backslashreplace").decode(),
        source=f"{kind}:{name}" if isinstance(name, str) and name else kind,
        payload=_json(row),
    )


def _json(row: Any) -> bytes:
    """What of the row a person can read: JSON where that can say it, else Python's notation."""
    try:
        return msgspec.json.encode(row)
    except (TypeError, ValueError, OverflowError):
        return repr(row).encode(errors="backslashreplace")
