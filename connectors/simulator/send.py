"""Sends simulated events to an HTTP endpoint, as Firehose does."""

from __future__ import annotations

import urllib.error
import urllib.request
from random import Random
from typing import TYPE_CHECKING, Final

from connectors.errors import SourceError
from connectors.simulator import wire
from connectors.simulator.batches import batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.simulator.traffic import Traffic

_BATCH: Final = 500
"""Records of a PutRecordBatch at the most."""
_TIMEOUT_S: Final = 180
"""Firehose's own patience with one attempt."""


def to_http(url: str, traffic: Traffic, access_key: str, progress: Callable[[int], None]) -> int:
    """Post everything; returns the number of events.

    Raises:
        SourceError: when the endpoint cannot be reached or refuses.
    """
    rng = Random(traffic.truth.seed + 2)  # noqa: S311 - a simulation
    target = url if url.rstrip("/").endswith("/firehose") else url.rstrip("/") + "/firehose"
    sent = 0
    for batch in batches(traffic, _BATCH):
        body = wire.firehose_request([wire.bare(event) for event in batch], batch[-1].arrival_ms, rng)
        _post(target, body, access_key)
        sent += len(batch)
        progress(sent)
    return sent


def _post(url: str, body: bytes, access_key: str) -> None:
    headers = {
        "Content-Type": "application/json",
        "X-Amz-Firehose-Protocol-Version": "1.0",
        "X-Amz-Firehose-Request-Id": body[14:50].decode(),
        "X-Amz-Firehose-Source-Arn": "arn:aws:firehose:us-east-1:012345678901:deliverystream/ses-events",
    }
    if access_key:
        headers["X-Amz-Firehose-Access-Key"] = access_key
    try:
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - the user's own URL, checked below
        if request.type not in {"http", "https"}:
            raise SourceError(f"{url} is not an http:// or https:// URL")
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            if answer.status != 200:  # noqa: PLR2004 - as Firehose has it: exactly 200
                raise SourceError(f"{url} answered {answer.status}: it does not take Firehose's requests")
    except urllib.error.HTTPError as error:
        raise SourceError(
            f"{url} refuses ({error.code} {error.reason}): check the path and --access-key"
        ) from None
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{url} cannot be reached ({getattr(error, 'reason', error)}): is `ses-streams up` running?"
        ) from None
