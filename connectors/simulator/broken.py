"""Records that cannot be used, each wrong in one way, each worth one dead letter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.simulator.wire import bare

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.simulator.payloads import Event


def _without(event: Event, key: str) -> dict[str, Any]:
    return {name: value for name, value in event.payload.items() if name != key}


def _mail(event: Event, **changes: Any) -> bytes:
    payload = event.payload | {"mail": event.payload["mail"] | changes}
    return msgspec.json.encode(payload) + b"\n"


def _truncated(event: Event) -> bytes:
    text = bare(event)
    return text[: len(text) * 2 // 3] + b"\n"


def _invalid_utf8(event: Event) -> bytes:
    return bare(event).replace(b'"ses:feedback-id-a":["', b'"ses:feedback-id-a":["\xff\xfe', 1)


def _no_type(event: Event) -> bytes:
    return msgspec.json.encode(_without(event, "eventType")) + b"\n"


def _no_mail(event: Event) -> bytes:
    return msgspec.json.encode(_without(event, "mail")) + b"\n"


KINDS: Final[dict[str, Callable[[Event], bytes]]] = {
    "cut off in the middle": _truncated,
    "not JSON": lambda _: b"503 Service Unavailable\n",
    "not UTF-8": _invalid_utf8,
    "without eventType": _no_type,
    "without mail": _no_mail,
    "mail of the wrong type": lambda event: msgspec.json.encode(event.payload | {"mail": "gone"}) + b"\n",
    "time that is none": lambda event: _mail(event, timestamp="yesterday"),
    "an empty object": lambda _: b"{}\n",
    "nested ten thousand deep": lambda _: b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"\n",
}
"""What is wrong, and a line of a Firehose object that is wrong so."""

TRUNCATED_GZIP: Final = "a gzip file cut off"
