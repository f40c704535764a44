"""Reading received mail: bytes in, rows out. Nothing here raises, whatever the bytes."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipelines.mail import row
from pipelines.mail.addresses import Pseudonyms
from pipelines.mail.kinds import Kind, kind_of
from pipelines.mail.limits import DEFECTS, MailRefused
from pipelines.mail.notice import Notice
from pipelines.mail.outcome import MailRead
from pipelines.mail.parse import headers_of_beginning, parse
from pipelines.mail.parsed import Headers
from pipelines.mail.reports import reports_of
from schemas.dead_letters import PAYLOAD_LIMIT, DeadLetter, dead_letter

if TYPE_CHECKING:
    import mmap

    from pipelines.intake.provenance import Provenance
    from pipelines.mail.parsed import ParsedMail
    from pipelines.mail.policy import MailPolicy

_STAGE: Final = "mail"
_REPORTS: Final = frozenset({"dmarc", "tls_report"})
_DETAIL: Final = 4096


@dataclass(frozen=True, slots=True)
class _Bug:
    """Of ours, which one mail uncovers."""

    detail: str


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
        first header fields say, and a dead letter of stage `mail` whose source is the object's URI. So has a mail
        with a report that is refused, beside what else there is of it.
        """
        came = row.Received(raw, notice or Notice(), provenance, object_uri, path)
        try:
            return self._rows(came, parse(raw, self._policy.limits))
        except MailRefused as refused:
            return self._refused(came, refused.cause, refused.detail)
        except Exception:  # noqa: BLE001 - a bug that one mail uncovers must not stop the others
            return self._refused(came, "internal_error", traceback.format_exc())

    def _rows(self, came: row.Received, parsed: ParsedMail) -> MailRead:
        kind, bug = self._kind(came, parsed)
        shown = kind.inner or parsed
        about = row.Shown(shown.headers, kind.envelope_from, kind.recipients)
        mail = row.row_of(came, parsed.headers, about, self._policy, self._pseudonyms)
        mail["kind"], mail["kind_reason"], mail["automatic"] = kind.kind, kind.reason, kind.automatic
        mail["feedback"], mail["unsubscribes"] = kind.feedback, kind.unsubscribes
        mail["attachments"], contents = row.attachments_of(shown)
        mail["parts"] = len(parsed.parts)
        mail["defects"] = [*parsed.defects, *kind.defects]
        read = MailRead(mail, parsed, contents)
        if bug:
            read.dead_letters.append(_letter(came, "internal_error", bug.detail))
        if kind.kind in _REPORTS:
            self._read_reports(read, came, parsed)
        mail["defects"] = list(dict.fromkeys(mail["defects"]))[:DEFECTS]
        return read

    def _kind(self, came: row.Received, parsed: ParsedMail) -> tuple[Kind, _Bug | None]:
        try:
            return kind_of(parsed, came.notice, self._policy, self._pseudonyms), None
        except Exception:  # noqa: BLE001 - what is known without the kind is kept
            return Kind("other", "kind not told"), _Bug(traceback.format_exc())

    def _read_reports(self, read: MailRead, came: row.Received, parsed: ParsedMail) -> None:
        found = reports_of(parsed, self._policy.limits)
        mail = read.mail
        for record in (*found.dmarc, *found.tls):
            record["tenant"], record["mail_id"] = mail["tenant"], mail["mail_id"]
            record["received_time"] = mail["received_time"]
        read.dmarc, read.tls = found.dmarc, found.tls
        mail["defects"] += found.defects
        read.dead_letters += [_letter(came, cause, detail) for cause, detail in found.refusals]

    def _refused(self, came: row.Received, cause: str, detail: str) -> MailRead:
        letter = _letter(came, cause, detail)
        try:
            headers = headers_of_beginning(came.raw)
            mail = row.row_of(came, headers, row.Shown(headers), self._policy, self._pseudonyms)
        except Exception:  # noqa: BLE001 - the bug is in the header fields, and told already
            none = Headers()
            mail = row.row_of(came, none, row.Shown(none), self._policy, self._pseudonyms)
        mail["kind_reason"] = "not parsed"
        mail["defects"] = [cause]
        return MailRead(mail, None, dead_letters=[letter])


def _letter(came: row.Received, cause: str, detail: str) -> DeadLetter:
    return dead_letter(
        time=came.provenance.time,
        stage=_STAGE,
        cause=cause,
        detail=detail[-_DETAIL:],
        source=came.object_uri or came.provenance.uri,
        payload=bytes(came.raw[:PAYLOAD_LIMIT]),
        size=len(came.raw),
    )
