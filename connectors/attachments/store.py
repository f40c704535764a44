"""`AttachmentStore`: contents under their SHA-256, in S3 or in a directory.

SourceError
 └─ StoreError             the store does not take or give a content now: the mail is to be read again later
     └─ StoreRefuses       what is asked cannot be had from this store, however often
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from connectors.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.mail.outcome import Content

DAY_S: Final = 86_400
LONGEST_LINK_S: Final = 7 * DAY_S
"""What AWS signs at the most (S3 user guide, "Sharing objects with presigned URLs")."""
HARMLESS: Final = "application/octet-stream"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,62}/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}")
_SAFE: Final = re.compile(
    r"image/(png|jpeg|gif|webp|tiff|bmp|heic|avif)|audio/.*|video/.*|text/(plain|csv|calendar)"
    r"|application/(json|zip|gzip|msword|vnd\.[a-z0-9.+-]*)"
)
"""Types that no browser runs anything of. Not among them: HTML, XML, SVG, scripts, PDF."""


class StoreError(SourceError):
    """The store does not take or give a content now; a person may have to cure it, and nothing is lost meanwhile."""


class StoreRefuses(StoreError):  # noqa: N818 - named by what it says
    """What is asked cannot be had from this store, however often it is asked."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A content that is there."""

    key: str
    """URI: what `put` gave."""
    size: int
    """Bytes."""
    time: int
    """When it was last put, as far as the store can tell; ms."""


class AttachmentStore(Protocol):
    """Owned by whoever opened it; all threads of a process may use it at once, and many processes one place."""

    def put(self, content: Content) -> str:
        """Keep a content; gives its key, a URI. Again: nothing is sent, but its retention begins anew.

        Whoever crashes in the middle leaves nothing under the hash.

        Raises:
            StoreError: the store does not take it now. Nothing of the mail may be acknowledged.
            ValueError: its bytes have another hash than it says.
        """

    def find(self, sha256: str) -> Stored | None:
        """What is stored under a hash; None: nothing, or not any more.

        Raises:
            StoreError: the store does not say now.
        """

    def read(self, sha256: str) -> Iterator[bytes]:
        """The bytes of a content. The iterator raises at its end if they are not of that hash.

        Raises:
            StoreError: there are none, they are damaged, or the store does not give them now.
        """

    def link(self, sha256: str, expires_s: int, name: str = "") -> str:
        """A URL by which anybody can download it for so long, under a file name; not asked whether it exists.

        Raises:
            StoreRefuses: this store makes no links, or none that hold so long.
            StoreError: it makes none now.
        """

    def link_holds_s(self, expires_s: int) -> int:
        """How long a link made now for so long will hold: one made with a role's credentials ends with them.

        Raises:
            StoreError: there are no credentials.
        """

    def warnings(self) -> list[str]:
        """What a person should see to, a sentence each; asked once, at the start."""

    def close(self) -> None:
        """Let go of connections."""


def path_of(sha256: str) -> str:
    """Where a content is below a prefix or directory: `ab/cd/HASH`.

    Raises:
        ValueError: it is no SHA-256 in lower case hex, so nothing may be made a path of it.
    """
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256[:80]!r} is not a SHA-256: 64 hex digits")
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def harmless_type(content_type: str) -> str:
    """The type a content is served as: what it says it is, where no browser would run anything of that."""
    plain = content_type.partition(";")[0].strip().lower()
    return plain if _TYPE.fullmatch(plain) and _SAFE.fullmatch(plain) else HARMLESS
