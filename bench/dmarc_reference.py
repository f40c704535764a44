"""What parsedmarc reads in the files named: a line of JSON each. Runs in an environment of its own.

parsedmarc wants `kafka-python-ng`, which would shadow our kafka-python, and a dozen clients of mailboxes and stores; so
it is installed alone, with what its parser uses, and what it imports beside that is empty here.
"""

from __future__ import annotations

import json
import sys
from types import ModuleType


def parser() -> ModuleType:
    mail, smtp = ModuleType("parsedmarc.mail"), ModuleType("mailsuite.smtp")
    for name in ("Gmail", "IMAP", "Mailbox", "Maildir", "MSGraph"):
        setattr(mail, f"{name}Connection", type(name, (), {}))
    smtp.send_email = None  # type: ignore[attr-defined]
    sys.modules |= {"parsedmarc.mail": mail, "mailsuite": ModuleType("mailsuite"), "mailsuite.smtp": smtp}
    import parsedmarc

    return parsedmarc


def main() -> None:
    parsedmarc = parser()
    for name in sys.argv[1:]:
        try:
            found = parsedmarc.parse_report_file(
                name, offline=True, always_use_local_files=True, normalize_timespan_threshold_hours=1e9
            )
        except parsedmarc.ParserError as error:
            found = {"report_type": "refused", "report": str(error)}
        print(json.dumps({"file": name} | found))


if __name__ == "__main__":
    main()
