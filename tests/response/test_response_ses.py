"""The switch of SES, over HTTP: what it says and does, and that it can do nothing else."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from connectors.errors import SettingsError
from connectors.response.ses import OPERATIONS, SesTrouble, Status
from connectors.response.targets import Target

pytestmark = pytest.mark.sockets
BULK = Target.of("configuration_set:bulk")
ACME = Target.of("tenant:acme")


def test_a_configuration_set_is_switched_off_and_on(ses: Any, sending: Any) -> None:
    odd = Target.of("configuration_set:50% off/now")
    assert sending.look(odd) == Status(enabled=True)
    sending.pause(odd)
    assert sending.look(odd) == Status(enabled=False)
    sending.resume(odd, "ENABLED")
    assert ses.changes == [("50% off/now", False), ("50% off/now", True)]


def test_a_tenant_is_switched_by_its_arn(ses: Any, sending: Any) -> None:
    assert sending.look(ACME) == Status(enabled=True)
    sending.pause(ACME)
    assert sending.look(ACME) == Status(enabled=False)
    sending.resume(ACME, "ENABLED")
    assert ses.changes == [("acme", "DISABLED"), ("acme", "ENABLED")]


def test_a_tenant_whose_switch_was_never_touched_may_send(sending: Any) -> None:
    assert sending.look(Target.of("tenant:fresh")) == Status(enabled=True)
    assert sending.look(Target.of("tenant:forgiven")) == Status(enabled=True, was="REINSTATED")


def test_ses_own_switch_is_told_and_not_taken_for_ours(ses: Any, sending: Any) -> None:
    ses.by_ses = {"acme"}
    status = sending.look(ACME)
    assert status.enabled
    assert "SES itself" in status.note


@pytest.mark.parametrize("target", ["configuration_set:gone", "tenant:gone"])
def test_what_is_not_there(sending: Any, target: str) -> None:
    with pytest.raises(SesTrouble) as caught:
        sending.look(Target.of(target))
    assert (caught.value.gone, caught.value.for_good, caught.value.unknown) == (True, True, False)


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (429, "TooManyRequestsException", (False, False)),
        (500, "InternalError", (False, True)),
        (403, "AccessDeniedException", (True, False)),
        (None, "", (False, True)),
    ],
)
def test_errors_say_whether_it_may_have_been_done(
    ses: Any, sending: Any, status: Any, code: str, told: tuple[bool, bool]
) -> None:
    ses.goes_awry("PUT", status, code)
    with pytest.raises(SesTrouble) as caught:
        sending.pause(BULK)
    assert (caught.value.for_good, caught.value.unknown) == told
    assert ses.changes == []


def test_an_answer_without_the_figure_is_no_answer(ses: Any, sending: Any) -> None:
    ses.goes_awry("GET", 200)
    with pytest.raises(SesTrouble, match="does not say"):
        sending.look(BULK)


def test_the_account_cannot_be_called(ses: Any, sending: Any) -> None:
    sending.look(BULK)
    before = list(ses.paths)
    client = sending._caller._client
    for call in (
        lambda: client.put_account_sending_attributes(SendingEnabled=False),
        client.get_account,
        lambda: client.delete_configuration_set(ConfigurationSetName="bulk"),
        lambda: sending._caller.ask("put_account_sending_attributes", "the account", SendingEnabled=False),
    ):
        with pytest.raises(PermissionError, match="not among what may be called"):
            call()
    assert ses.paths == before


def test_every_operation_exists_and_none_is_of_the_account() -> None:
    client = boto3.client("sesv2", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    model = client.meta.service_model
    client.close()
    assert set(model.operation_names) >= OPERATIONS
    assert not any("Account" in name for name in OPERATIONS)
    # Without a name a request could mean more than one target.
    for name in OPERATIONS:
        assert model.operation_model(name).input_shape.required_members


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("account:111122223333", "would stop all mail"),
        ("account", "^account is not paused"),
        ("region:eu-west-1", "would stop all mail"),
        ("campaign:bulk", "cannot be paused: give configuration_set:NAME"),
        ("bulk", "cannot be paused"),
        ("configuration_set:", "is no name"),
        ("configuration_set:(other)", "is no name"),
        ("tenant: acme", "is no name"),
    ],
)
def test_only_what_can_be_named_can_be_paused(text: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        Target.of(text)
