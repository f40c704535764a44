"""AWS clients: the default credential chain, a role where a source names one, errors as sentences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSOError,
    TokenRetrievalError,
)
from botocore.session import Session as CoreSession

from connectors.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

LONG_POLL_S: Final = 20
"""The longest SQS waits for messages."""
_READ_TIMEOUT_S: Final = LONG_POLL_S + 15
"""Above the long poll, or every quiet poll would end as a timeout and be retried."""
_CONNECT_TIMEOUT_S: Final = 10
_ATTEMPTS: Final = 4
_SESSION_NAME: Final = "ses-streams"

_NO_CREDENTIALS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
)
_UNREACHABLE: Final = (EndpointConnectionError, ConnectTimeoutError, ReadTimeoutError, HTTPClientError)
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "403", "Forbidden"})
_BAD_CREDENTIALS: Final = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_MISSING: Final = frozenset(
    {
        "404",
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NoSuchKey",
        "NoSuchVersion",
        "NotFound",
        "QueueDoesNotExist",
    }
)


@dataclass(frozen=True, slots=True)
class Access:
    """How a source is reached. Empty fields: as the environment says."""

    region: str = ""
    role_arn: str = ""
    """Role to assume; its credentials are renewed before they expire."""
    endpoint_url: str = ""
    """Other than AWS's own, for SQS, S3 and STS alike."""


def session(access: Access) -> boto3.Session:
    """A session of the default credential chain, or of the role on top of it.

    Raises:
        SourceError: when a role is wanted and there are no credentials to assume it with.
    """
    base = CoreSession()
    if access.region:
        base.set_config_variable("region", access.region)
    if not access.role_arn:
        return boto3.Session(botocore_session=base)
    try:
        credentials = base.get_credentials()
    except BotoCoreError as error:
        raise source_error(error, f"the role {access.role_arn}") from error
    if credentials is None:
        raise source_error(NoCredentialsError(), f"the role {access.role_arn}")
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=partial(
            base.create_client, config=_config(), endpoint_url=access.endpoint_url or None
        ),
        source_credentials=credentials,
        role_arn=access.role_arn,
        extra_args={"RoleSessionName": _SESSION_NAME},
    )
    assumed = CoreSession()
    if region := base.get_config_variable("region"):
        assumed.set_config_variable("region", region)
    resolver = CredentialResolver([_AssumedRole(fetcher.fetch_credentials)])
    assumed.register_component("credential_provider", resolver)
    return boto3.Session(botocore_session=assumed)


def sqs_client(access: Access, *, connections: int = 10) -> SQSClient:
    """A client that stands a long poll.

    Args:
        access: how it is reached.
        connections: threads that use it at once.

    Raises:
        SourceError: when there is no region, or no credentials for the role.
    """
    try:
        return session(access).client(
            "sqs", endpoint_url=access.endpoint_url or None, config=_config(connections)
        )
    except (BotoCoreError, ValueError) as error:
        raise source_error(error, "SQS") from error


def s3_client(access: Access, *, connections: int = 10) -> S3Client:
    """A client for objects.

    Args:
        access: how it is reached.
        connections: threads that use it at once.

    Raises:
        SourceError: when there are no credentials for the role.
    """
    config = _config(connections)
    if access.endpoint_url:
        # Stand-ins answer on one host name; AWS wants the bucket in it.
        config = config.merge(Config(s3={"addressing_style": "path"}))
    try:
        return session(access).client("s3", endpoint_url=access.endpoint_url or None, config=config)
    except (BotoCoreError, ValueError) as error:
        raise source_error(error, "S3") from error


def error_code(error: BaseException) -> str:
    """AWS's word for an error, such as `AccessDenied`; empty when AWS did not answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def is_missing(error: BaseException) -> bool:
    """Whether AWS says there is no such queue, bucket or object: trying again does not help."""
    return error_code(error) in _MISSING


def is_denied(error: BaseException) -> bool:
    """Whether the caller may not, or is not known: a person has to change a policy."""
    return error_code(error) in _DENIED | _BAD_CREDENTIALS or isinstance(error, _NO_CREDENTIALS)


def source_error(error: BaseException, what: str) -> SourceError:
    """One sentence for a person.

    Args:
        error: from boto3.
        what: the resource, such as `queue https://…`.
    """
    if isinstance(error, SourceError):
        return error
    return SourceError(_sentence(error, what))


def _sentence(error: BaseException, what: str) -> str:
    code, words = error_code(error), " ".join(str(error).split()).rstrip(".")[:300]
    if isinstance(error, _NO_CREDENTIALS):
        cure = (
            "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is attached"
        )
        text = f"no AWS credentials for {what} ({words}): {cure}"
    elif isinstance(error, NoRegionError):
        text = f"no AWS region for {what}: set its region, or AWS_DEFAULT_REGION"
    elif isinstance(error, _UNREACHABLE):
        text = f"{what} cannot be reached ({words}): check the network, region and endpoint_url"
    elif code in _BAD_CREDENTIALS:
        text = f"AWS does not accept the credentials for {what} ({code}): renew them"
    elif code in _DENIED:
        text = f"access to {what} is denied: allow it in the role's policy ({words})"
    elif code in _MISSING:
        text = f"there is no {what} ({code}): check its name, account and region"
    else:
        text = f"AWS refuses {what}: {words}"
    return text


class _AssumedRole(CredentialProvider):
    """The only provider of an assumed role's session; asks STS when a request is signed, not before."""

    METHOD = "assume-role-of-source"

    def __init__(self, refresh: Callable[[], Any]) -> None:
        super().__init__()
        self._refresh = refresh

    def load(self) -> DeferredRefreshableCredentials:
        """Credentials that renew themselves."""
        return DeferredRefreshableCredentials(refresh_using=self._refresh, method=self.METHOD)


def _config(connections: int = 10) -> Config:
    return Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        max_pool_connections=connections,
        tcp_keepalive=True,
    )
