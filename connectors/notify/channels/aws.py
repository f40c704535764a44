"""AWS's clients as routes use them: one try, a deadline over all of it, errors that say whether trying again helps."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ParamValidationError,
    ProxyConnectionError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from connectors.aws import Access, error_code, session, source_error
from connectors.errors import SourceError
from connectors.notify.channels.http import CONNECT_S, retry_after
from connectors.notify.page import NotDelivered

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from connectors.notify.channels.place import Place

_PASSING: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InternalError",
        "InternalFailure",
        "LimitExceededException",
        "RequestExpired",
        "RequestTimeout",
        "SendingPausedException",
        "ServiceUnavailable",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Codes of a 4xx that may pass: limits, keys that are renewed from outside, sending that is resumed."""

_NOT_SENT: Final = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError, SSLError)


class AwsCaller:
    """Calls one service; makes its client when it is first needed, since that may ask for credentials."""

    def __init__(
        self, service: str, access: Access, timeout_s: float, operations: Collection[str] = ()
    ) -> None:
        """Connects nowhere yet.

        Args:
            service: as boto3 has it, such as `sns`.
            access: how it is reached.
            timeout_s: for a call.
            operations: AWS's names of all that may be called; none: anything. Whatever else somebody should come to
                call one day does not leave this machine.
        """
        self._access = access
        self._service = service
        self._timeout_s = timeout_s
        self._operations = frozenset(operations)
        self._client: Any = None

    def call(self, operation: str, what: str, **fields: Any) -> str:
        """Call an operation that sends something; gives the id of the message that it made.

        As `ask` otherwise.
        """
        answer = self.ask(operation, what, **fields)
        if not answer.get("MessageId"):
            raise NotDelivered(f"{what} gave no whole answer", unknown=True)
        return str(answer["MessageId"])

    def ask(self, operation: str, what: str, **fields: Any) -> dict[str, Any]:
        """Call an operation once. Empty: an answer that could not be read.

        Args:
            operation: as the client has it, such as `publish`.
            what: the resource in a person's words.
            fields: of the request.

        Raises:
            NotDelivered: AWS refuses, or nobody knows.
            PermissionError: it is none of the operations that may be called.
        """

        def ask() -> dict[str, Any]:
            if self._client is None:
                self._client = self._connect()
            answer: dict[str, Any] = getattr(self._client, operation)(**fields)
            return answer

        try:
            return within(self._timeout_s, ask, what)
        except ResponseParserError:
            return {}
        except (BotoCoreError, ClientError, SourceError, ValueError) as error:
            raise refusal(error, what) from None

    def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connect(self) -> Any:
        config = Config(
            # Who delivers decides when to try again, and counts it.
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=min(CONNECT_S, self._timeout_s),
            read_timeout=self._timeout_s,
        )
        # The service is a variable, so no overload of the stubs applies.
        make: Any = session(self._access).client
        client = make(self._service, endpoint_url=self._access.endpoint_url or None, config=config)
        if self._operations:
            client.meta.events.register(f"before-call.{self._service}", self._allow)
        return client

    def _allow(self, model: Any, **_: Any) -> None:
        if model.name not in self._operations:
            raise PermissionError(f"{model.name} of {self._service} is not among what may be called here")


def caller_of(place: Place, service: str, region: str = "") -> AwsCaller:
    """The caller of a route."""
    access = Access(place.region or region, place.role_arn, place.endpoint_url)
    return AwsCaller(service, access, place.timeout_s)


def within(seconds: float, ask: Callable[[], dict[str, Any]], what: str) -> dict[str, Any]:
    """What `ask` returns or raises, unless it takes longer.

    botocore's timeouts are of one read, so an answer that drips could take for ever; its thread is then left to end
    with the connection.

    Raises:
        NotDelivered: it takes longer: nobody knows.
    """
    answers: list[dict[str, Any]] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=run, name=f"asking {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise NotDelivered(f"{what} did not answer within {seconds:g} s", unknown=True)
    return answers[0]


class Refused(NotDelivered):
    """AWS answered, and not as wished."""

    code: str = ""
    """AWS's word for it, such as `NotFoundException`."""


def refusal(error: BaseException, what: str) -> NotDelivered:
    """What an error of boto3's means for a delivery."""
    sentence = str(source_error(error, what))
    if not isinstance(error, ClientError):
        # A request that boto3 itself finds wrong stays wrong; the rest is network, credentials and roles.
        unknown = isinstance(error, HTTPClientError) and not isinstance(error, _NOT_SENT)
        return NotDelivered(sentence, for_good=isinstance(error, ParamValidationError), unknown=unknown)
    told = error.response.get("ResponseMetadata", {})
    status = int(told.get("HTTPStatusCode", 0))
    # botocore writes header names in lower case.
    headers = {name.title(): value for name, value in told.get("HTTPHeaders", {}).items()}
    passing = error_code(error) in _PASSING or not 400 <= status < 500 or status in {408, 429}  # noqa: PLR2004
    refused = Refused(
        sentence,
        retry_after_s=retry_after(headers, datetime.now(UTC)),
        for_good=not passing,
        unknown=status >= 500,  # noqa: PLR2004
    )
    refused.code = error_code(error)
    return refused
