"""Reading received mail: bytes in, rows out. Nothing here raises, whatever the bytes."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from pipelines.mail import row
from pipelines.mail.addresses import Pseudonyms
from pipelines.mail.limits import MailRefused
from pipelines.mail.notice import Notice
from pipelines.mail.outcome import MailRead
from pipelines.mail.parse import headers_of_beginning, parse
from pipelines.mail.parsed import Headers
from schemas.dead_letters import PAYLOAD_LIMIT, DeadLetter, dead_letter

if TYPE_CHECKING:
    import mmap

    from pipelines.intake.provenance import Provenance
    from pipelines.mail.parsed import ParsedMail
    from pipelines.mail.policy import MailPolicy

_STAGE: Final = "mail"


class MailReader:
    """Reads mails under a policy. Holds caches; not thread-safe: one for each thread."""

    def __init__(self, policy: MailPolicy) -> None:
        self._policy = policy
        self._pseudonyms = Pseudonyms(policy)

    def read(
        self,
        raw: bytes | mmap.mmap,
        notice: Notice | None,
        provenance: Provenance,
        *,
        object_uri: str = "",
        path: str,
    ) -> MailRead:
        """Rows of one mail.

        A mail that is refused (see `parse`) or that uncovers a bug of ours (`internal_error`) has a row with what its
        first header fields say, and a dead letter of stage `mail` whose source is the object's URI.
        """
        came = row.Received(raw, notice or Notice(), provenance, object_uri, path)
        try:
            parsed = parse(raw, self._policy.limits)
            return self._rows(came, parsed)
        except MailRefused as refused:
            return self._refused(came, refused.cause, refused.detail)
        except Exception:  # noqa: BLE001 - a bug that one mail uncovers must not stop the others
            return self._refused(came, "internal_error", traceback.format_exc())

    def _rows(self, came: row.Received, parsed: ParsedMail) -> MailRead:
        mail = row.row_of(came, parsed.headers, parsed.headers, self._policy, self._pseudonyms)
        mail["attachments"], contents = row.attachments_of(parsed)
        mail["parts"] = len(parsed.parts)
        mail["defects"] = parsed.defects
        return MailRead(mail, parsed, contents)

    def _refused(self, came: row.Received, cause: str, detail: str) -> MailRead:
        letter = _letter(came, cause, detail)
        try:
            headers = headers_of_beginning(came.raw)
            mail = row.row_of(came, headers, headers, self._policy, self._pseudonyms)
        except Exception:  # noqa: BLE001 - the bug is in the header fields, and told already
            mail = row.row_of(came, Headers(), Headers(), self._policy, self._pseudonyms)
        mail["kind_reason"] = "not parsed"
        mail["defects"] = [cause]
        return MailRead(mail, None, dead_letters=[letter])


def _letter(came: row.Received, cause: str, detail: str) -> DeadLetter:
    return dead_letter(
        time=came.provenance.time,
        stage=_STAGE,
        cause=cause,
        detail=detail[-4096:],
        source=came.object_uri or came.provenance.uri,
        payload=bytes(came.raw[:PAYLOAD_LIMIT]),
        size=len(came.raw),
    )
