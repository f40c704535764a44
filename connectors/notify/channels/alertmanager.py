"""Prometheus Alertmanager, API v2: it groups, silences, inhibits and routes; we say what is true.

https://prometheus.io/docs/alerting/latest/alerts_api/ and `api/v2/openapi.yaml` of prometheus/alertmanager.

- Labels identify an alert there, so they hold nothing that changes within an incident but the severity, by which
  people route. A worse severity is therefore another alert; the one before ends in the same request.
- An alert ends by itself when it is not posted again before its `endsAt` (https://prometheus.io/docs/alerting/clients/):
  who delivers calls `refresh` every `repeats_every_s`. After a restart nothing is known of severities that were
  posted before; those end so.
- Of a cluster, set the address of one that balances over all, or make a route to each: they tell each other what
  they have sent.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.notify.channels.http import post, taken
from connectors.notify.channels.place import http_url, link_of, needs, secrets_of
from connectors.notify.channels.texts import cut_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connectors.notify.channels.place import Place
    from connectors.notify.page import Page

LASTS: Final = timedelta(minutes=15)
"""For which an alert stands without being repeated: longer than a restart or a new version takes, since an alert that
ends meanwhile looks like a recovery."""
_PATH: Final = "/api/v2/alerts"
_TO: Final = "Alertmanager"
_LABEL: Final = 1024
_ANNOTATION: Final = 32 * 1024
_AT_ONCE: Final = 200
"""Alerts of one request."""


class Alertmanager:
    """Posts alerts."""

    repeats_every_s: Final = 60.0

    def __init__(self, place: Place, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Check the settings.

        Raises:
            SettingsError: what is wrong with them.
        """
        needs(place, "url")
        self._place = place
        self._url = http_url(place, place.url, secret=False).rstrip("/").removesuffix(_PATH) + _PATH
        self._headers = _authorization(place.key)
        self._secrets = [*secrets_of(place), *(text.split()[-1] for text in self._headers.values())]
        self._clock = clock
        self._posted: dict[str, str] = {}
        """Severities by dedup key: what is active there because of this process."""

    def send(self, page: Page) -> str:
        """Post the alert, or its end.

        Raises:
            NotDelivered: it was not taken, or nobody knows.
        """
        severity = page.alarm["severity"]
        before = self._posted.get(page.dedup_key, severity)
        alerts = [_alert(self._place, page, severity, self._clock(), ended=page.kind == "resolve")]
        if before != severity:
            alerts.append(_alert(self._place, page, before, self._clock(), ended=True))
        self._post(alerts)
        if page.kind == "resolve":
            self._posted.pop(page.dedup_key, None)
            return "ended"
        self._posted[page.dedup_key] = severity
        return "posted"

    def refresh(self, pages: Sequence[Page]) -> str:
        """Post alerts again that are still active, so that they do not end.

        Args:
            pages: the last of each open incident.

        Raises:
            NotDelivered: not all were taken.
        """
        for start in range(0, len(pages), _AT_ONCE):
            now = self._clock()
            chosen = pages[start : start + _AT_ONCE]
            self._post(
                [_alert(self._place, page, page.alarm["severity"], now, ended=False) for page in chosen]
            )
        self._posted |= {page.dedup_key: page.alarm["severity"] for page in pages}
        return f"posted {len(pages)} again"

    def close(self) -> None:
        """Nothing is kept open."""

    def _post(self, alerts: list[dict[str, Any]]) -> None:
        body = msgspec.json.encode(alerts)
        answer = post(self._url, body, self._headers, to=_TO, timeout_s=self._place.timeout_s)
        taken(answer, _TO, self._clock(), self._secrets)


def _alert(place: Place, page: Page, severity: str, now: datetime, *, ended: bool) -> dict[str, Any]:
    alarm = page.alarm
    opened = datetime.fromtimestamp((alarm["opened_time"] or alarm["time"]) / 1000, UTC)
    # An end before the beginning is refused, be it that our clock is behind.
    until = max(now, opened) if ended else max(now, opened) + LASTS
    labels = {
        "alertname": alarm["rule"] or alarm["signal"],
        "service": "ses-streams",
        "signal": alarm["signal"],
        "severity": severity,
        "dimension": alarm["dimension"],
        "value": alarm["value"],
        "alarm_key": alarm["alarm_key"],
    }
    annotations = {
        "summary": page.title,
        "description": page.text,
        "incident": str(alarm["incident"]),
        "dedup_key": page.dedup_key,
        "rate": _number(alarm["rate"]),
        "limit": _number(alarm["limit"]),
        "e_value": _number(alarm["e_value"]),
        "sql": str(page.evidence.get("sql", "")),
    }
    alert: dict[str, Any] = {
        # An empty label is the same as none.
        "labels": {name: cut_bytes(text, _LABEL) for name, text in labels.items() if text},
        "annotations": {name: cut_bytes(text, _ANNOTATION) for name, text in annotations.items() if text},
        "startsAt": opened.isoformat(),
        "endsAt": until.isoformat(),
    }
    if link := link_of(place, alarm):
        alert["generatorURL"] = link
    return alert


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _authorization(key: str) -> dict[str, str]:
    """Basic for `user:password`, else Bearer (RFC 7617, RFC 6750)."""
    if not key:
        return {}
    if ":" in key:
        return {"Authorization": f"Basic {base64.b64encode(key.encode()).decode()}"}
    return {"Authorization": f"Bearer {key}"}
