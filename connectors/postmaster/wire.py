"""Requests and answers of the Postmaster Tools API, version 2, as JSON.

Requests are exactly as the reference has them
(https://developers.google.com/workspace/gmail/postmaster/reference/rest/v2; its discovery document of revision
20260623 says the same). Answers are read tolerantly: what is unknown is passed over, what is missing stays
missing.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw, Struct

from connectors.postmaster.metrics import COMPLIANCE, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOG: Final = logging.getLogger(__name__)
PAGE_SIZE: Final = 200
"""The most that the API gives at once; without it, 10."""

_MET: Final = {"COMPLIANT": 1.0, "NEEDS_WORK": 0.0}


@dataclass(frozen=True, slots=True)
class Figure:
    """One value of one metric on one day."""

    domain: str
    day: date
    metric: str
    identifier: str
    value: float


@dataclass(frozen=True, slots=True)
class Days:
    """Calendar days (UTC), the first and the last included."""

    first: date
    last: date


class Domain(Struct):
    """`Domain`."""

    name: str = ""
    permission: str = ""
    verificationState: str = ""  # noqa: N815 - Google's name

    @property
    def usable(self) -> bool:
        """Whether there can be figures for the account."""
        return (
            self.name.startswith("domains/")
            and self.permission != "NONE"
            and self.verificationState != "UNVERIFIED"
        )


class Domains(Struct):
    """`ListDomainsResponse`."""

    domains: list[Domain] = []
    nextPageToken: str = ""  # noqa: N815 - Google's name


class Stats(Struct):
    """`QueryDomainStatsResponse`."""

    domainStats: list[Raw] = []  # noqa: N815 - Google's name
    nextPageToken: str = ""  # noqa: N815 - Google's name


class _Date(Struct):
    year: int
    month: int
    day: int


class _Strings(Struct):
    values: list[str] = []


class _Value(Struct):
    doubleValue: float | None = None  # noqa: N815 - Google's name
    floatValue: float | None = None  # noqa: N815 - Google's name
    intValue: float | None = None  # noqa: N815 - Google's name
    stringList: _Strings | None = None  # noqa: N815 - Google's name

    @property
    def number(self) -> float | None:
        """Whichever kind it is; None for a list, and for what is no finite number."""
        for each in (self.doubleValue, self.floatValue, self.intValue):
            if each is not None and math.isfinite(each):
                return each
        return None


class _Stat(Struct):
    metric: str
    date: _Date
    value: _Value


class _Requirement(Struct):
    requirement: str = ""
    status: dict[str, Any] = {}


class _ComplianceData(Struct):
    domainId: str = ""  # noqa: N815 - Google's name
    rowData: list[_Requirement] = []  # noqa: N815 - Google's name


class Compliance(Struct):
    """`DomainComplianceStatus`."""

    complianceData: _ComplianceData | None = None  # noqa: N815 - Google's name
    subdomainComplianceData: _ComplianceData | None = None  # noqa: N815 - Google's name


class _Detail(Struct):
    reason: str = ""


class _Problem(Struct):
    message: str = ""
    status: str = ""
    details: list[Raw] = []


class Problem(Struct):
    """The body of an answer that refuses (https://google.aip.dev/193)."""

    error: _Problem = msgspec.field(default_factory=_Problem)

    @property
    def message(self) -> str:
        """For developers, in English."""
        return " ".join(self.error.message.split())

    @property
    def reasons(self) -> set[str]:
        """Those of `google.rpc.ErrorInfo`, such as `SERVICE_DISABLED`."""
        found = set()
        for raw in self.error.details:
            try:
                found.add(msgspec.json.decode(raw, type=_Detail).reason)
            except msgspec.MsgspecError:
                continue
        return found - {""}


def query(domain: str, metrics: Sequence[Metric], days: Days, page_token: str = "") -> dict[str, Any]:
    """A `QueryDomainStatsRequest`: a value for each metric and day. Metrics are named by their position."""
    wanted = []
    for position, metric in enumerate(metrics):
        one: dict[str, Any] = {
            "name": f"m{position}",
            "baseMetric": {"standardMetric": metric.name.upper()},
        }
        if metric.filter:
            one["filter"] = metric.filter
        wanted.append(one)
    body: dict[str, Any] = {
        "parent": f"domains/{domain}",
        "metricDefinitions": wanted,
        "timeQuery": {"dateRanges": {"dateRanges": [{"start": _date(days.first), "end": _date(days.last)}]}},
        "aggregationGranularity": "DAILY",
        "pageSize": PAGE_SIZE,
    }
    return body | {"pageToken": page_token} if page_token else body


def figures(domain: str, metrics: Sequence[Metric], stats: Iterable[Raw]) -> list[Figure]:
    """The figures in the answers to `query`; a `DomainStat` without a day or a number is none."""
    named = {f"m{position}": metric for position, metric in enumerate(metrics)}
    found = []
    for stat, day in _dated(stats):
        metric, value = named.get(stat.metric), stat.value.number
        if metric is not None and value is not None:
            found.append(Figure(domain, day, metric.name, metric.identifier, value))
    return found


def identifiers(stats: Iterable[Raw]) -> set[str]:
    """The identifiers in the answers to a query of `FEEDBACK_LOOP_ID`, of whatever day."""
    return {
        each for stat, _ in _dated(stats) for each in (stat.value.stringList or _Strings()).values if each
    }


def compliance(domain: str, day: date, status: Compliance) -> list[Figure]:
    """Whether each requirement is met; of the domain itself, and of the registrable domain above it."""
    found = []
    for data in (status.complianceData, status.subdomainComplianceData):
        for row in data.rowData if data else ():
            value = _MET.get(str(row.status.get("status")))
            if row.requirement and value is not None and data:
                whose = (data.domainId or domain).lower()
                found.append(Figure(whose, day, COMPLIANCE, row.requirement.lower(), value))
    return found


def _dated(stats: Iterable[Raw]) -> Iterable[tuple[_Stat, date]]:
    for raw in stats:
        try:
            # Not strict: int64 is text in JSON.
            stat = msgspec.json.decode(raw, type=_Stat, strict=False)
            yield stat, date(stat.date.year, stat.date.month, stat.date.day)
        except (msgspec.MsgspecError, ValueError) as error:
            LOG.warning(
                "a figure of Postmaster Tools cannot be read and is left out: %s: %.200r", error, bytes(raw)
            )


def _date(day: date) -> dict[str, int]:
    return {"year": day.year, "month": day.month, "day": day.day}
