"""`Refused`: why a report, or what is left of one, is not taken."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - named by what it says
    """Nothing of this report can be used, or nothing may be.

    Causes: `not_a_report`, `damaged_gzip`, `damaged_zip`, `empty_zip`, `encrypted_zip`, `nested_zip`,
    `nested_too_deep`, `too_many_files`, `inflates_too_much`, `xml_dtd`, `damaged_xml`, `truncated_xml`,
    `damaged_record`, `too_many_records`, `no_policy_domain`, `no_date_range`, `damaged_json`, `damaged_policy`,
    `internal_error`.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail
