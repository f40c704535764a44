"""`Ses`: whether a configuration set or a tenant may send, and the switch for it, by SES v2.

- PutConfigurationSetSendingOptions: mail sent with the set is refused while it is off.
  https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_PutConfigurationSetSendingOptions.html
- UpdateReputationEntityCustomerManagedStatus, of the tenant's ARN: the customer's own switch beside that of SES; mail
  goes out while neither is DISABLED.
  https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_UpdateReputationEntityCustomerManagedStatus.html

The client can call what is in `OPERATIONS` and nothing else, so never PutAccountSendingAttributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from connectors.aws import Access
from connectors.notify.channels.aws import AwsCaller, Refused
from connectors.notify.page import NotDelivered

if TYPE_CHECKING:
    from connectors.response.settings import Response
    from connectors.response.targets import Target

OPERATIONS: Final = frozenset(
    {
        "GetConfigurationSet",
        "PutConfigurationSetSendingOptions",
        "GetTenant",
        "GetReputationEntity",
        "UpdateReputationEntityCustomerManagedStatus",
    }
)
TIMEOUT_S: Final = 15.0
ENABLED: Final = "ENABLED"
_DISABLED: Final = "DISABLED"
_STATUSES: Final = frozenset({ENABLED, "REINSTATED", _DISABLED})
_RESOURCE: Final = "RESOURCE"


class SesTrouble(Exception):  # noqa: N818 - it says what happened
    """SES did not do it."""

    def __init__(self, reason: str, *, for_good: bool, unknown: bool = False, gone: bool = False) -> None:
        """Say why.

        Args:
            reason: one sentence.
            for_good: whether trying again is useless as things are: there is no such target, or no permission.
            unknown: whether it may have been done all the same.
            gone: whether there is no such target.
        """
        super().__init__(reason)
        self.reason = reason
        self.for_good = for_good
        self.unknown = unknown
        self.gone = gone


@dataclass(frozen=True, slots=True)
class Status:
    """Of a target."""

    enabled: bool
    """By the switch that is ours to turn."""
    was: str = ENABLED
    """What to set it to again: a tenant may have been REINSTATED."""
    note: str = ""
    """What else keeps it from sending."""


class Sending(Protocol):
    """The switch; for one thread."""

    def look(self, target: Target) -> Status:
        """How it stands.

        Raises:
            SesTrouble: SES does not say.
        """

    def pause(self, target: Target) -> None:
        """Switch off.

        Raises:
            SesTrouble: it is not, or nobody knows.
        """

    def resume(self, target: Target, was: str) -> None:
        """Switch on again, to what it was.

        Raises:
            SesTrouble: it is not, or nobody knows.
        """

    def close(self) -> None:
        """Let go of connections."""


class Ses:
    """The switch of SES; connects when it is first asked."""

    def __init__(self, settings: Response, timeout_s: float = TIMEOUT_S) -> None:
        access = Access(settings.region, settings.role_arn, settings.endpoint_url)
        self._caller = AwsCaller("sesv2", access, timeout_s, OPERATIONS)

    def look(self, target: Target) -> Status:
        """How it stands."""
        if target.kind == "tenant":
            return self._tenant(target)
        told = self._ask("get_configuration_set", target, ConfigurationSetName=target.name)
        enabled = told.get("SendingOptions", {}).get("SendingEnabled")
        if not isinstance(enabled, bool):
            raise SesTrouble(f"SES does not say whether {target} may send", for_good=False)
        return Status(enabled)

    def pause(self, target: Target) -> None:
        """Switch off."""
        self._switch(target, _DISABLED)

    def resume(self, target: Target, was: str) -> None:
        """Switch on again, to what it was."""
        self._switch(target, was)

    def close(self) -> None:
        """Let go of connections."""
        self._caller.close()

    def _switch(self, target: Target, status: str) -> None:
        if target.kind == "tenant":
            self._ask(
                "update_reputation_entity_customer_managed_status",
                target,
                ReputationEntityType=_RESOURCE,
                ReputationEntityReference=self._arn(target),
                SendingStatus=status,
            )
        else:
            self._ask(
                "put_configuration_set_sending_options",
                target,
                ConfigurationSetName=target.name,
                SendingEnabled=status != _DISABLED,
            )

    def _tenant(self, target: Target) -> Status:
        told = self._ask(
            "get_reputation_entity",
            target,
            ReputationEntityType=_RESOURCE,
            ReputationEntityReference=self._arn(target),
        ).get("ReputationEntity", {})
        # A tenant whose switch was never touched may have no record of it.
        own = told.get("CustomerManagedStatus", {}).get("Status", told.get("SendingStatusAggregate"))
        if own not in _STATUSES:
            raise SesTrouble(f"SES does not say whether {target} may send", for_good=False)
        by_ses = told.get("AwsSesManagedStatus", {}).get("Status") == _DISABLED
        note = "SES itself keeps it from sending" if by_ses else ""
        return Status(own != _DISABLED, ENABLED if own == _DISABLED else own, note)

    def _arn(self, target: Target) -> str:
        arn = self._ask("get_tenant", target, TenantName=target.name).get("Tenant", {}).get("TenantArn")
        if not isinstance(arn, str) or not arn:
            raise SesTrouble(f"SES does not say what the ARN of {target} is", for_good=False)
        return arn

    def _ask(self, operation: str, target: Target, **fields: Any) -> dict[str, Any]:
        try:
            return self._caller.ask(operation, str(target), **fields)
        except NotDelivered as error:
            gone = isinstance(error, Refused) and error.code == "NotFoundException"
            raise SesTrouble(
                error.reason, for_good=error.for_good, unknown=error.unknown, gone=gone
            ) from None
