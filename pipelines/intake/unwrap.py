"""Takes envelopes off until an SES payload, or something else that is known, is left.

Layers are worked off a list, not by recursion, and their number is limited: an envelope inside an envelope
inside … is no more than bytes somebody sent us.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import DecodeError, Raw, ValidationError
from msgspec.json import Decoder

from pipelines.intake import envelopes, receipts
from pipelines.intake.envelopes import Layer, Opened, Refusal, Rejection
from pipelines.intake.framing import Document, Fault, split
from pipelines.intake.outcomes import Control, Outcome, SesPayload
from pipelines.intake.receipts import bare, named, received
from pipelines.intake.sniffing import BOM, TOPIC_VALIDATED
from schemas.dead_letters import DeadLetter, dead_letter
from schemas.ses import LEGACY_TYPES, PAYLOAD, Payload

if TYPE_CHECKING:
    from pipelines.intake.provenance import Provenance

MAX_ENVELOPES: Final = 16
"""A list and its records count as two: SES → SNS → SQS → Firehose → Lambda is eight, and nobody needs twice
that."""

_SURROGATES: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_KEYS: Final = Decoder(dict[str, Raw])
_LIST: Final = Decoder(list[Raw])


def unwrap(document: bytes, provenance: Provenance, offset: int = 0) -> list[Outcome]:
    """Everything that is in a document, in its order; never empty, never raises."""
    opened = _open(Layer(document, provenance.path))
    if len(opened) == 1 and type(opened[0]) is SesPayload:
        return [opened[0]]
    pending: list[Layer | Rejection | Outcome] = opened[::-1]
    outcomes: list[Outcome] = []
    while pending:
        item = pending.pop()
        if isinstance(item, Layer):
            pending.extend(reversed(_open(item)))
        elif isinstance(item, Rejection):
            outcomes.append(letter(item, provenance, offset))
        else:
            outcomes.append(item)
    return outcomes


def letter(rejection: Rejection, provenance: Provenance, offset: int) -> DeadLetter:
    """The dead letter of a rejection."""
    return dead_letter(
        time=provenance.time,
        stage=rejection.stage,
        cause=rejection.cause,
        detail=rejection.detail,
        source=provenance.at(offset),
        payload=rejection.payload,
        size=rejection.size if rejection.size >= 0 else None,
    )


def _open(layer: Layer) -> Opened:
    """Take one layer off."""
    try:
        # msgspec looks only at the strings it reads; JSON is UTF-8 throughout (RFC 8259, section 8.1).
        if not layer.data.isascii() and layer.data.lstrip().startswith((b"{", b"[")):
            layer.data.decode()
        payload = PAYLOAD.decode(layer.data)
    except RecursionError:
        return [_too_deep(layer)]
    except UnicodeDecodeError as error:
        return [_invalid_utf8(layer, error)]
    except ValidationError as error:
        return _envelope(layer, error)
    except DecodeError as error:
        return _not_a_document(layer, error)
    if payload.event_type or payload.notification_type not in (None, "", "Received"):
        return [_ses(layer, payload)]
    return _envelope(layer, None)


def _ses(layer: Layer, payload: Payload) -> Rejection | Outcome:
    if not payload.event_type:
        kind = payload.notification_type
        if kind == "AmazonSnsSubscriptionSucceeded":
            return Control("subscription_succeeded")
        if kind not in LEGACY_TYPES:
            return Rejection(
                "unwrap", "not_an_ses_event", f"Unknown notificationType {kind!r:.99}.", layer.data
            )
    return SesPayload(payload, layer.data, layer.path, layer.position)


def _envelope(layer: Layer, invalid: ValidationError | None) -> Opened:
    """Take an envelope off, or say what else the JSON is."""
    try:
        return _taken_off(layer, invalid)
    except UnicodeDecodeError as error:
        return [_invalid_utf8(layer, error)]
    except RecursionError:
        return [_too_deep(layer)]
    except Refusal as refusal:
        return [Rejection(refusal.stage, refusal.cause, refusal.detail, layer.data)]
    except ValidationError as error:
        return [Rejection("parse", "invalid_field", f"{error}.", layer.data)]
    except DecodeError as error:
        return _not_a_document(layer, error)


def _invalid_utf8(layer: Layer, error: UnicodeDecodeError) -> Rejection:
    return Rejection("parse", "invalid_utf8", f"Not UTF-8: {error.reason} (byte {error.start}).", layer.data)


def _too_deep(layer: Layer) -> Rejection:
    return Rejection("parse", "nested_too_deep", "The JSON is nested too deep.", layer.data)


def _taken_off(layer: Layer, invalid: ValidationError | None) -> Opened:
    if layer.depth >= MAX_ENVELOPES:
        raise Refusal("too_many_envelopes", f"More than {MAX_ENVELOPES} envelopes inside each other.")
    first = layer.data.lstrip()[:1]
    if first == b"[":
        items = _LIST.decode(layer.data)
        inner = [layer.inner(bytes(item), number=n) for n, item in enumerate(items)]
        return [*inner] or [_not_ours(layer, "An empty JSON array.")]
    if first != b"{":
        return [_not_ours(layer, "A JSON scalar.")]
    return _known(layer, _KEYS.decode(layer.data), invalid)


def _known(layer: Layer, keys: dict[str, Raw], invalid: ValidationError | None) -> Opened:
    if not keys:
        return [Rejection("unwrap", "empty_object", "An empty JSON object.", layer.data)]
    if bytes(keys.get("notificationType", b"")) == b'"Received"':
        return received(layer)
    if invalid is not None and ("eventType" in keys or "notificationType" in keys):
        return [Rejection("parse", "invalid_field", f"{invalid}.", layer.data)]
    for fits, opener in (*receipts.KNOWN, *envelopes.KNOWN):
        if fits(keys):
            return opener(layer, keys)
    mail = named(layer, keys)
    return [mail] if mail else [_not_ours(layer, f"A JSON object with {_names(keys)}.")]


def _names(keys: dict[str, Raw]) -> str:
    shown = ", ".join(f"{key:.40}" for key in sorted(keys)[:12])
    return f"the keys {shown}{', …' if len(keys) > 12 else ''}"  # noqa: PLR2004 - as many as shown


def _not_ours(layer: Layer, what: str) -> Rejection:
    return Rejection(
        "unwrap", "not_an_ses_event", f"{what} It is no SES event and no envelope of one.", layer.data
    )


def _not_a_document(layer: Layer, error: DecodeError) -> Opened:
    """What does not decode as one JSON document: several of them, text, or broken JSON."""
    repaired = _repair(layer.data)
    if repaired is not None:
        return [layer.with_data(repaired)]
    if not layer.data.removeprefix(BOM).strip():
        return [Control("empty_record")]
    if mail := bare(layer.data, layer.path):
        return [mail]
    frames = split(layer.data)
    if layer.data.lstrip().startswith(TOPIC_VALIDATED):
        return [Control("topic_validated")]
    whole = len(layer.data.strip())
    if (
        not frames
        or layer.depth >= MAX_ENVELOPES
        or any(type(f) is Document and len(f.data) >= whole for f in frames)
    ):
        cause = "truncated_json" if "truncated" in str(error) else "malformed_json"
        return [Rejection("parse", cause, f"{error}.", layer.data)]
    return [
        layer.inner(frame.data, number=n) if isinstance(frame, Document) else refused(frame)
        for n, frame in enumerate(frames)
    ]


def refused(fault: Fault) -> Rejection:
    """The rejection of what could not be framed."""
    stage = "parse" if fault.cause in ("truncated_json", "malformed_json") else "unwrap"
    return Rejection(stage, fault.cause, fault.detail, fault.payload, fault.size)


def _repair(data: bytes) -> bytes | None:
    r"""The document with lone surrogates replaced by U+FFFD; None when there are none.

    `"\ud800"` is what JavaScript writes of a string that was cut inside an emoji: no UTF-8 can carry it.
    """
    if b"\\u" not in data:
        return None
    repaired = _SURROGATES.sub(lambda match: rb"\ufffd" if match[1] else match[0], data)
    return repaired if repaired != data else None
