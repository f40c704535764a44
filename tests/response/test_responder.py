"""What is paused on account of which transitions, what is not, and when it ends; SES over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.errors import SettingsError
from connectors.metrics.catalogue import METRICS
from connectors.metrics.readings import of_response
from connectors.response.settings import Response, check
from connectors.response.targets import Target

pytestmark = pytest.mark.sockets
HOUR = 3600
BULK = "configuration_set:bulk"


def test_a_critical_alarm_pauses_until_it_expires(
    make_responder: Any, make_alarm: Any, ses: Any, actions: Any, clock: Any
) -> None:
    responder = make_responder(expires_h=6)
    responder.hear(make_alarm())
    responder.step()
    responder.hear(make_alarm(revision=1))
    responder.step()
    assert ses.changes == [("bulk", False)]
    assert actions.told() == [("pause", BULK, "intended"), ("pause", BULK, "done")]
    last = actions.rows[-1]
    assert last["action_id"] == actions.rows[0]["action_id"]
    assert last["time"] > actions.rows[0]["time"]
    assert last["expires_time"] == int((clock.now + 6 * HOUR) * 1000)
    assert (last["incident"], last["alarm_key"]) == (1, "complaint_rate:configuration_set:bulk")
    assert "complaint rate of configuration_set bulk is critical" in last["detail"]
    clock.now += 6 * HOUR - 1
    responder.step()
    assert ses.sets["bulk"] is False
    clock.now += 1
    responder.step()
    responder.step()
    assert ses.changes == [("bulk", False), ("bulk", True)]
    assert actions.told()[2:] == [("resume", BULK, "intended"), ("resume", BULK, "done")]
    assert responder.numbers.paused == 0


def test_a_tenant_gets_back_what_it_had(make_responder: Any, make_alarm: Any, ses: Any, clock: Any) -> None:
    make_responder().hear(make_alarm("forgiven", "tenant"))
    responder = make_responder()
    responder.hear(make_alarm("forgiven", "tenant"))
    responder.step()
    clock.now += 25 * HOUR
    # By one that was started later.
    make_responder().step()
    assert ses.changes == [("forgiven", "DISABLED"), ("forgiven", "REINSTATED")]


@pytest.mark.parametrize(
    "fields",
    [
        {"severity": "warning"},
        {"state": "recovering", "cause": "clean"},
        {"state": "resolved"},
        {"cause": "acknowledged"},
        {"cause": "silenced"},
        {"signal": "traffic_stopped"},
        {"dimension": "campaign"},
        {"dimension": "account"},
        {"dimension": "region"},
        {"value": "(other)"},
        {"value": ""},
        {"time": 1_795_000_000_000 - 7 * HOUR * 1000},
        {"evidence": '{"hits": 40, "hit_time": "2026-11-01T12:00:00+00:00"}'},
    ],
    ids=str,
)
def test_anything_else_pauses_nothing_and_asks_nobody(
    make_responder: Any, make_alarm: Any, ses: Any, actions: Any, fields: dict[str, Any]
) -> None:
    responder = make_responder()
    responder.hear(make_alarm(**fields))
    responder.step()
    assert (ses.paths, actions.rows) == ([], [])


def test_it_is_off_by_default_and_dry_when_it_is_on(
    make_responder: Any, make_alarm: Any, ses: Any, actions: Any
) -> None:
    assert (Response().enabled, Response().dry_run) == (False, True)
    off = make_responder(enabled=False)
    off.hear(make_alarm())
    off.step()
    assert actions.rows == []
    for _ in range(2):
        dry = make_responder(dry_run=True)
        dry.hear(make_alarm())
        dry.step()
    assert actions.told() == [("pause", BULK, "dry_run")]
    assert ses.paths == []


def test_what_somebody_else_has_disabled_is_never_resumed(
    make_responder: Any, make_alarm: Any, ses: Any, actions: Any, clock: Any
) -> None:
    responder = make_responder()
    responder.hear(make_alarm("off"))
    responder.hear(make_alarm("stopped", "tenant"))
    responder.step()
    clock.now += 100 * HOUR
    responder.step()
    make_responder().step()
    assert ses.changes == []
    assert [row["outcome"] for row in actions.rows] == ["skipped", "skipped"]
    assert all("by somebody else" in row["detail"] for row in actions.rows)


def test_what_a_person_has_resumed_stays_so_for_the_incident(
    make_responder: Any, make_alarm: Any, ses: Any, actions: Any
) -> None:
    responder = make_responder()
    responder.hear(make_alarm())
    responder.step()
    pause = responder._ledger.of(Target.of(BULK))
    responder._deeds.resume(pause, "it was a test", "ann")
    again = make_responder()
    again.hear(make_alarm(seq=3, cause="relapse"))
    again.step()
    assert actions.told()[-1] == ("pause", BULK, "skipped")
    assert "ann has resumed it" in actions.rows[-1]["detail"]
    again.hear(make_alarm(seq=9, incident=9))
    again.step()
    assert ses.changes == [("bulk", False), ("bulk", True), ("bulk", False)]


def test_what_somebody_else_has_resumed_is_theirs_from_then_on(
    make_responder: Any, make_alarm: Any, ses: Any, actions: Any, clock: Any
) -> None:
    responder = make_responder()
    responder.hear(make_alarm())
    responder.step()
    ses.sets["bulk"] = True  # in SES's console
    for _ in range(4):
        clock.now += 121
        responder.step()
    assert actions.told()[-1] == ("resume", BULK, "skipped")
    ses.sets["bulk"] = False  # there again
    responder.hear(make_alarm(seq=2, cause="relapse"))
    clock.now += 48 * HOUR
    responder.step()
    assert ses.sets["bulk"] is False
    assert len(ses.changes) == 1


def test_ses_that_says_for_a_moment_what_was_is_not_believed(
    make_responder: Any, make_alarm: Any, ses: Any, clock: Any
) -> None:
    responder = make_responder()
    responder.hear(make_alarm())
    responder.step()
    clock.now += 121
    responder.step()
    ses.sets["bulk"] = True
    clock.now += 121
    responder.step()
    ses.sets["bulk"] = False
    clock.now += 121
    responder.step()
    assert responder.numbers.paused == 1
    clock.now += 24 * HOUR
    responder.step()
    assert ses.sets["bulk"] is True


def test_two_incidents_of_a_target_pause_it_once(
    make_responder: Any, make_alarm: Any, ses: Any, actions: Any, clock: Any
) -> None:
    responder = make_responder()
    responder.hear(make_alarm())
    other = {"signal": "hard_bounce_rate", "alarm_key": "hard_bounce_rate:configuration_set:bulk"}
    responder.hear(make_alarm(**other))
    responder.step()
    assert actions.told()[-1] == ("pause", BULK, "skipped")
    clock.now += 24 * HOUR
    responder.step()
    assert ses.changes == [("bulk", False), ("bulk", True)]


def test_no_more_than_so_many_are_paused_at_once(
    make_responder: Any, make_alarm: Any, ses: Any, actions: Any
) -> None:
    responder = make_responder(at_most=2)
    for name in ("bulk", "news", "offers", "more"):
        responder.hear(make_alarm(name))
    responder.step()
    assert [name for name, _ in ses.changes] == ["bulk", "news"]
    assert [row["outcome"] for row in actions.rows[-2:]] == ["refused", "refused"]


@pytest.mark.parametrize("fields", [{"values": ("bulk*",)}, {"never": ("ne?s", "of*")}])
def test_names_can_be_left_out(
    make_responder: Any, make_alarm: Any, ses: Any, fields: dict[str, Any]
) -> None:
    responder = make_responder(**fields)
    for name in ("bulk", "news", "offers"):
        responder.hear(make_alarm(name))
    responder.step()
    assert ses.changes == [("bulk", False)]


def test_an_incident_that_is_over_before_it_is_heard_of_pauses_nothing(
    make_responder: Any, make_alarm: Any, ses: Any, actions: Any
) -> None:
    responder = make_responder()
    responder.hear(make_alarm())
    responder.hear(make_alarm(seq=2, state="recovering", cause="clean"))
    responder.hear(make_alarm("news"))
    responder.hear(make_alarm("news", seq=2, cause="silenced", silenced_until=int(4e12)))
    responder.step()
    assert ses.paths == []
    assert [row["outcome"] for row in actions.rows] == ["skipped", "skipped"]


@pytest.mark.parametrize("last", [{"state": "resolved", "incident": 1}, {"state": "resolved", "incident": 0}])
def test_the_end_of_the_incident_resumes_only_when_told_to(
    make_responder: Any, make_alarm: Any, ses: Any, last: dict[str, Any]
) -> None:
    stays, ends = make_responder(), make_responder(resume_on_resolve=True)
    stays.hear(make_alarm())
    stays.step()
    stays.hear(make_alarm(seq=2, **last))
    stays.step()
    assert ses.changes == [("bulk", False)]
    ends = make_responder(resume_on_resolve=True)
    ends.hear(make_alarm(seq=2, state="recovering"))
    ends.step()
    assert ses.changes == [("bulk", False)]
    ends.hear(make_alarm(seq=3, **last))
    ends.step()
    assert ses.changes == [("bulk", False), ("bulk", True)]


def test_a_target_that_ses_does_not_know_is_refused_once(
    make_responder: Any, make_alarm: Any, ses: Any, actions: Any
) -> None:
    responder = make_responder()
    responder.hear(make_alarm("gone"))
    responder.step()
    responder.step()
    assert actions.told() == [("pause", "configuration_set:gone", "refused")]
    assert len(ses.paths) == 1


def test_a_target_that_is_deleted_while_it_is_paused_is_let_go(
    make_responder: Any, make_alarm: Any, ses: Any, actions: Any, clock: Any
) -> None:
    responder = make_responder()
    responder.hear(make_alarm())
    responder.step()
    del ses.sets["bulk"]
    clock.now += 25 * HOUR
    responder.step()
    assert actions.told()[-1] == ("resume", BULK, "skipped")
    assert responder.numbers.paused == 0


FAULTS = [
    (method, *fault)
    for method in ("GET", "PUT")
    for fault in (
        (429, "TooManyRequestsException", False),
        (503, "ServiceUnavailable", False),
        (503, "ServiceUnavailable", True),
        (None, "", False),
        (None, "", True),
    )
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_ses_does_not_take_is_tried_again_with_pauses_in_between(
    make_responder: Any, make_alarm: Any, ses: Any, clock: Any, fault: Any
) -> None:
    responder = make_responder()
    ses.goes_awry(*fault)
    responder.hear(make_alarm())
    responder.step()
    asked = len(ses.paths)
    responder.step()
    assert len(ses.paths) == asked
    for _ in range(5):
        clock.now += 30
        responder.step()
    assert ses.sets["bulk"] is False
    assert responder.numbers.outcomes["pause", "done"] == 1
    ses.goes_awry(*fault)
    clock.now += 24 * HOUR
    responder.step()
    for _ in range(5):
        clock.now += 70
        responder.step()
    assert ses.sets["bulk"] is True
    assert responder.numbers.paused == 0


def test_a_pause_that_cannot_be_ended_is_seen_in_the_metrics(world: Any, make_alarm: Any) -> None:
    responder = world.make_responder(expires_h=1)
    responder.hear(make_alarm())
    responder.step()
    for _ in range(4):
        world.ses.goes_awry("PUT", 403, "AccessDeniedException")
    world.clock.now += 3700
    for _ in range(4):
        responder.step()
        world.clock.now += 50
    found = {(sample.name, sample.labels): sample.value for sample in of_response(responder.numbers)}
    assert {name for name, _ in found} <= {metric.name for metric in METRICS}
    assert found["notify_paused", ()] == 1
    assert found["notify_pause_overdue_seconds", ()] == 250
    assert found["notify_pauses", ("resume", "failed")] == 4
    world.clock.now += 50
    responder.step()
    assert (responder.numbers.overdue_s, responder.numbers.paused) == (0.0, 0)


def test_settings_are_checked() -> None:
    check(Response())
    with pytest.raises(SettingsError, match="there is no signal complaints"):
        check(Response(signals=("complaints",)))
