"""Objects that only their writer's key opens: encrypted before they came to S3, which gives them as they are.

Amazon S3 Encryption Client, "Amazon S3 Encryption Client concepts": the metadata of an object, in its versions 1 to 3.
SES's S3 action encrypts so where it is given a KMS key (SES developer guide, "Deliver to S3 bucket action").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS: Final = ("x-amz-key-v2", "x-amz-key", "x-amz-3")
"""Names of user metadata (without `x-amz-meta-`) that hold the data key, itself encrypted."""


def encrypted_by(metadata: Mapping[str, str]) -> str:
    """How an object is encrypted, by its user metadata; empty: it is not."""
    names = {name.lower(): value for name, value in metadata.items()}
    if not any(name in names for name in _KEYS):
        return ""
    return names.get("x-amz-wrap-alg") or names.get("x-amz-w") or "client-side"


def sentence(uri: str, how: str) -> str:
    """What to do about it."""
    return (
        f"{uri} was encrypted before it was stored ({how[:40]}), so S3 cannot decrypt it: take the KMS key out of the"
        " receipt rule's S3 action and let the bucket encrypt by itself (SSE-KMS); this object can be opened with"
        " the Amazon S3 Encryption Client, and then be replayed as a file"
    )
