"""Settings of the distribution: what is refused, which mail is chosen, and what runs beside the delivery of alarms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace as changed

from connectors.attachments.sweeper import Sweeper
from connectors.cli.notify import companions_of
from connectors.distribution.chosen import Chosen
from connectors.distribution.companion import DistributionCompanion
from connectors.distribution.forwarder import Numbers
from connectors.distribution.settings import Distribution, check
from connectors.errors import SettingsError
from connectors.inbound.settings import Inbound
from connectors.metrics.catalogue import BY_NAME
from connectors.metrics.readings import of_distribution
from connectors.settings import Privacy, Secret, Settings, load
from pipelines.mail.addresses import Pseudonyms

if TYPE_CHECKING:
    from pathlib import Path

STORE = "s3://attachments/a"


def test_it_is_off_and_sends_to_nobody_by_default() -> None:
    plain = Distribution()
    assert not plain.enabled
    assert plain.allowed_domains == ()
    check(plain, "")


@pytest.mark.parametrize(
    ("changes", "store", "part"),
    [
        ({}, "", "inbound.attachments"),
        ({}, "/var/attachments", "inbound.attachments"),
        ({"recipients": ()}, STORE, "distribution.recipients"),
        ({"sender": ""}, STORE, "distribution.sender"),
        ({"sender": "Captures"}, STORE, "distribution.sender"),
        ({"sender": "a@us.example\r\nBcc: eve@evil.example"}, STORE, "distribution.sender"),
        ({"sender": "Ä <a@us.example>"}, STORE, "distribution.sender"),
        ({"allowed_domains": ()}, STORE, "distribution.allowed_domains"),
        ({"allowed_domains": ("*",)}, STORE, "distribution.allowed_domains"),
        ({"allowed_domains": ("*.a.example",)}, STORE, "distribution.allowed_domains"),
        ({"allowed_domains": ("example",)}, STORE, "distribution.allowed_domains"),
        ({"recipients": ("cap*@iot.example",)}, STORE, "distribution.recipients"),
        ({"senders": ("*",)}, STORE, "distribution.senders"),
        ({"begin": "["}, STORE, "distribution.begin"),
        ({"end": "> x"}, STORE, "distribution.end"),
        ({"begin": "a\nb"}, STORE, "distribution.begin"),
        ({"fallback_topic": "undistributed"}, STORE, "distribution.fallback_topic"),
    ],
)
def test_what_is_unsound_is_refused_with_its_name(
    world: Any, changes: dict[str, Any], store: str, part: str
) -> None:
    check(world.settings, STORE)
    with pytest.raises(SettingsError, match=part):
        check(changed(world.settings, **changes), store)


def test_the_environment_sets_it() -> None:
    settings = load(
        None,
        {
            "SES_STREAMS_INBOUND__ATTACHMENTS": STORE,
            "SES_STREAMS_INBOUND__DISTRIBUTION__ENABLED": "true",
            "SES_STREAMS_INBOUND__DISTRIBUTION__RECIPIENTS": '["captures@iot.example"]',
            "SES_STREAMS_INBOUND__DISTRIBUTION__SENDER": "c@us.example",
            "SES_STREAMS_INBOUND__DISTRIBUTION__ALLOWED_DOMAINS": '["a.example"]',
        },
    )
    assert settings.inbound.distribution.enabled
    assert settings.inbound.distribution.allowed_domains == ("a.example",)


@pytest.mark.parametrize("pii", ["plain", "hashed"])
def test_mail_is_chosen_by_its_recipients_hashed_or_not(world: Any, pii: Any) -> None:
    policy = replace(world.policy(), pii=pii, pii_key=b"key")
    chosen = Chosen(("Captures@iot.example", "*@all.example"), Pseudonyms(policy))
    bridge = Pseudonyms(policy)

    def row(*addresses: str) -> Any:
        known = [bridge.recipient(each) for each in addresses]
        return world.add(b"", recipients=[{"address": each.address, "domain": each.domain} for each in known])

    assert chosen(row("captures@IOT.example"))
    assert chosen(row("x@else.example", "any@all.example"))
    assert not chosen(row("captures@else.example"))
    assert not chosen(row("other@iot.example"))
    assert not chosen(row("any@sub.all.example"))
    assert not chosen(row())


def names(settings: Settings, data: Path | None = None) -> list[str]:
    return [each.name for each in companions_of(settings, "", tuple, data)]


def test_it_runs_beside_the_delivery_where_it_is_wanted(world: Any, tmp_path: Path) -> None:
    wanted = Settings(
        inbound=Inbound(attachments=STORE, distribution=world.settings), privacy=Privacy(pii_key=Secret("k"))
    )
    assert names(Settings()) == ["response"]
    assert names(wanted) == ["response", "distribution"]
    assert names(Settings(), tmp_path) == ["response", "attachments"]
    found = companions_of(Settings(), "", tuple, tmp_path)
    assert isinstance(found[-1], Sweeper)
    with pytest.raises(SettingsError, match="pii_key"):
        names(changed(wanted, privacy=Privacy()))


def test_its_figures_are_in_the_catalogue(world: Any) -> None:
    found = {each.name: each for each in of_distribution(Numbers({"sent": 3}, 2, 1.5))}
    assert {name: each.value for name, each in found.items()} == {
        "notify_mails_forwarded": 3,
        "notify_mails_to_forward": 2,
        "notify_oldest_mail_to_forward_seconds": 1.5,
    }
    assert set(found) <= set(BY_NAME)
    companion = DistributionCompanion(Settings(), world.policy())
    assert list(of_distribution(companion.numbers))[-1].value == 0.0
