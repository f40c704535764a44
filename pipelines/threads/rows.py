"""`Rows`: messages sent, by columns, as the index keeps them; and their bytes in the changelog.

| bytes | what |
|---|---|
| 1, 1, 1, 1 | format, tier, whether there are callers' Message-IDs, 0 |
| 4, 4 | number of rows, length of what follows (little-endian, as all below) |
| … | msgpack: profiles, and those ids that do not pack |
| 28 a row | SES's ids, packed |
| 8 a row | hashes of base subjects |
| 8 a row | times sent (ms) |
| 4 a row | numbers of profiles |
| 16 a row | nodes of callers' Message-IDs, where there are |
| 1 a row | numbers of recipients, 255 at the most |
| 4 a recipient | their marks |
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from pipelines.counting.rate import StateError
from pipelines.threads import names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from schemas.mail import OutboundMessage

Profile = tuple[str, ...]
"""What many messages have in common: the values of `PROFILE`."""
PROFILE: Final = (
    "tenant",
    "account",
    "region",
    "configuration_set",
    "from_domain",
    "feedback_a",
    "feedback_b",
    "feedback_c",
    "campaign",
)
MOST_RECIPIENTS: Final = 255
"""Of a message that are remembered; SES takes 50."""
_TENANT: Final = PROFILE.index("tenant")
_VERSION: Final = 1
_NONE: Final = np.empty(0)
_HEAD: Final = struct.Struct("<BB?xII")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message sent, as far as it is remembered."""

    packed: bytes
    ses: str
    time: int
    subject: bytes
    header: bytes
    """Node of the caller's Message-ID; empty: it has none."""
    profile: Profile
    recipients: tuple[int, ...]
    """Marks of addresses: see `pipelines.intake.identity.marks`."""

    @property
    def tenant(self) -> str:
        """The tenant."""
        return self.profile[_TENANT]

    def message(self) -> OutboundMessage:
        """As a row; what the index does not keep is empty."""
        facts: Any = dict(zip(PROFILE, self.profile, strict=True))
        return facts | {  # type: ignore[no-any-return]
            "message_id": self.ses,
            "header_message_id": "",
            "sent_time": self.time,
            "subject": "",
            "base_subject": "",
            "in_reply_to": [],
            "references": [],
            "conversations": [],
            "recipients": list(self.recipients),
        }


@dataclass(frozen=True, slots=True)
class Rows:
    """Aligned columns."""

    ses: NDArray[np.uint32]
    """(n, 7): packed ids."""
    subjects: NDArray[np.uint64]
    times: NDArray[np.int64]
    profiles: NDArray[np.uint32]
    """Numbers in `known`."""
    known: list[Profile]
    headers: NDArray[np.uint64] | None
    """(n, 2): nodes of callers' Message-IDs; None: none of them has one."""
    texts: dict[bytes, str]
    """SES's ids that do not pack, by what stands for them."""
    counts: NDArray[np.uint8]
    """Of recipients."""
    marks: NDArray[np.uint32]
    """Of all recipients, row by row."""

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.times.size)

    def take(self, chosen: NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        return Rows(
            self.ses[chosen],
            self.subjects[chosen],
            self.times[chosen],
            self.profiles[chosen],
            self.known,
            None if self.headers is None else self.headers[chosen],
            self.texts,
            self.counts[chosen],
            self.marks[np.repeat(chosen, self.counts)],
        )

    def headed(self, *, kept: bool) -> Rows:
        """The same, with callers' Message-IDs or without."""
        return self if kept else replace(self, headers=None)

    def packed(self, tier: int) -> bytes:
        """The value of a record of the changelog."""
        numbers, profiles = np.unique(self.profiles, return_inverse=True)
        texts = self.texts
        if texts:
            raw = self.ses.tobytes()
            size = names.PACKED_BYTES
            here = {raw[at : at + size] for at in range(0, len(raw), size)}
            texts = {packed: text for packed, text in texts.items() if packed in here}
        meta = msgspec.msgpack.encode(([self.known[number] for number in numbers.tolist()], texts))
        return b"".join(
            (
                _HEAD.pack(_VERSION, tier, self.headers is not None, len(self), len(meta)),
                meta,
                self.ses.astype("<u4", copy=False).tobytes(),
                self.subjects.astype("<u8", copy=False).tobytes(),
                self.times.astype("<i8", copy=False).tobytes(),
                profiles.astype("<u4").tobytes(),
                b"" if self.headers is None else self.headers.astype("<u8", copy=False).tobytes(),
                self.counts.tobytes(),
                self.marks.astype("<u4", copy=False).tobytes(),
            )
        )


def unpacked(value: bytes) -> tuple[int, Rows]:
    """The tier and the rows of a record.

    Raises:
        StateError: when it is of a later release, or damaged.
    """
    try:
        version, tier, headed, count, length = _HEAD.unpack_from(value)
        if version != _VERSION:
            raise StateError(f"messages sent have format {version}, this release reads {_VERSION}")
        at = _HEAD.size + length
        known, texts = msgspec.msgpack.decode(
            value[_HEAD.size : at], type=tuple[list[tuple[str, ...]], dict[bytes, str]]
        )
        columns: list[NDArray[Any]] = []
        for kind, each in (("<u4", 7), ("<u8", 1), ("<i8", 1), ("<u4", 1), ("<u8", 2 * headed)):
            column = (
                np.frombuffer(value, dtype=kind, count=each * count, offset=at) if each * count else _NONE
            )
            columns.append(column)
            at += column.nbytes
        counts = np.frombuffer(value, dtype=np.uint8, count=count, offset=at)
        marks = np.frombuffer(value, dtype="<u4", count=int(counts.sum()), offset=at + count)
    except (struct.error, ValueError, msgspec.MsgspecError) as error:
        raise StateError(f"what is remembered of messages sent is damaged: {error}") from error
    ses, subjects, times, profiles, headers = columns
    if profiles.size and int(profiles.max()) >= len(known):
        raise StateError("a message sent has no profile")
    shaped = headers.reshape(-1, 2) if headed else None
    return tier, Rows(ses.reshape(-1, 7), subjects, times, profiles, known, shaped, texts, counts, marks)
