"""Objects in S3 that a message announces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.sources.reading import Paper, Tally, read_into
from connectors.sources.s3 import ObjectUnavailable
from pipelines.intake.provenance import Provenance

if TYPE_CHECKING:
    from connectors.bridge import Receipt
    from connectors.inbound.fetching import Buckets
    from connectors.sources.reading import Desk
    from pipelines.intake.outcomes import ObjectRef
    from pipelines.mail.notice import Notice


def read_announced(
    desk: Desk, buckets: Buckets, ref: ObjectRef, receipt: Receipt, notice: Notice | None
) -> Tally:
    """Submit what an object holds, and say what that was; with a notice it is a mail whatever it looks like.

    Raises:
        ObjectError: it cannot be read, or not to its end now; part of it may be submitted already.
        StoreError: its attachments cannot be stored now.
        UserError: when the bridge is broken.
    """
    uri = f"s3://{ref.bucket}/{ref.key}"
    facts, chunks = buckets.open(ref)
    tally = Tally()
    # What is no mail is what Firehose writes.
    paper = Paper(Provenance(uri, facts.modified, "firehose"), receipt, tally, facts.size, notice)
    if not read_into(desk, chunks, paper):
        raise ObjectUnavailable(f"stopped while reading {uri}")
    return tally
