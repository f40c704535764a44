"""Settings: one TOML file, then environment variables over it, validated whole before anything starts.

`SES_STREAMS_KAFKA__BROKERS=…` sets `[kafka] brokers`: the section and the name, joined by two underscores; lists are
given as TOML (`["a", "b"]`). `SES_STREAMS_CONFIG` names the file. Secrets are `Secret`s: they never print.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct, field

from connectors.clickhouse.retention_settings import Retention
from connectors.clickhouse.retention_settings import check as check_retention
from connectors.errors import SettingsError
from connectors.inbound.settings import Inbound
from connectors.inbound.settings import check as check_inbound
from connectors.notify.settings import Notify
from connectors.notify.settings import check as check_notify
from connectors.response.settings import Response
from connectors.response.settings import check as check_response
from connectors.secret import Secret as Secret  # noqa: PLC0414 - it is taken from here
from connectors.setting_words import sentence
from schemas.counters import DIMENSIONS, is_dimension

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "SES_STREAMS_"
_CLICKHOUSE: Final = ("clickhouse://", "clickhousedb://", "chdb:")
"""Beginnings of a DSN. The client heeds no other: it would take https:// for a port without TLS."""


class Kafka(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the topics are."""

    brokers: str = "localhost:9092"
    """Bootstrap servers, comma-separated."""
    partitions: Annotated[int, Meta(ge=1, le=512)] = 12
    """Of every topic we create."""
    replication: Annotated[int, Meta(ge=1, le=9)] = 3
    """Replication factor of every topic we create."""
    schema_registry: str = ""
    """URL of a Confluent-compatible schema registry; empty: single-object encoding, no registry needed."""
    compression: Literal["none", "gzip", "lz4"] = "lz4"
    rebalance_timeout_ms: Annotated[int, Meta(ge=1000, le=300_000)] = 60_000
    """How long a consumer group waits for its members; the embedded broker wants it short."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = ""
    sasl_username: str = ""
    sasl_password: Secret = Secret("")


class ClickHouse(Struct, frozen=True, forbid_unknown_fields=True):
    """Where results land."""

    dsn: Secret = Secret("")
    """`clickhouse://user:password@host:8123/ses` or `chdb:///path`. Empty: embedded, in the data directory."""


class Privacy(Struct, frozen=True, forbid_unknown_fields=True):
    """What is stored of people."""

    pii: Literal["hashed", "plain"] = "hashed"
    """`hashed`: recipient addresses are stored as a keyed hash beside their domain."""
    pii_key: Secret = Secret("")
    """Key of the hash. Wanted by a production bridge unless `pii = "plain"`; an embedded instance makes its own."""


class Counting(Struct, frozen=True, forbid_unknown_fields=True):
    """How events are attributed and counted."""

    campaign_tag: str = ""
    """Message tag that names the campaign when Feedback-ID `a` is not set."""
    unknown_providers_report: bool = False
    """Whether deliveries at providers that are not in the table count as eligible for complaints."""
    providers: dict[str, str] = {}
    """Provider of domains, by its name in the tables (`other`: none), before any table: `"example.com" = "gmail"`;
    `".example.com"` is every domain below."""
    providers_file: str = ""
    """A table of domains that comes before the program's own, such as `ses-streams providers resolve` writes; read
    when a bridge starts. Give every bridge the same."""
    dimensions: tuple[str, ...] = DIMENSIONS
    """What counters are kept for: names of the built-in dimensions, and `tag:NAME` for message tags. After a change
    `ses-streams rebuild rates` makes the past agree."""
    dimension_cap: Annotated[int, Meta(ge=10)] = 100_000
    """Values of a dimension at the most; what the others count goes to `(other)`, and a notice says so."""
    open_hours: Annotated[int, Meta(ge=1, le=24 * 14)] = 48
    """Hours behind the newest event in which events are counted as they come; so long are ids remembered. What
    comes later has its hour recounted in ClickHouse."""
    retention_days: Annotated[int, Meta(ge=2, le=400)] = 14
    """Days behind the newest event that the worker keeps counters of; older ones live in ClickHouse alone."""


class SqsQueue(Struct, frozen=True, forbid_unknown_fields=True):
    """One SQS queue: of SNS notifications, EventBridge events or S3 notifications, mixed as they come."""

    url: str
    region: str = ""
    role_arn: str = ""
    """Role to assume for this queue and the objects its messages name."""
    endpoint_url: str = ""
    """Other than AWS's own, for local stand-ins."""
    pollers: Annotated[int, Meta(ge=1, le=64)] = 2
    visibility_s: Annotated[int, Meta(ge=10, le=43_200)] = 60
    """Visibility timeout; extended while a message is in work."""
    verify_signatures: bool = False
    """Verify SNS signatures of enveloped messages (the queue's policy already authenticates)."""


class Http(Struct, frozen=True, forbid_unknown_fields=True):
    """The endpoint for Firehose (`/firehose`) and SNS (`/sns`)."""

    bind: str = ""
    """`host:port`; empty: no endpoint."""
    firehose_access_key: Secret = Secret("")
    """What Firehose must send as `X-Amz-Firehose-Access-Key`; empty: none wanted."""
    sns_topics: tuple[str, ...] = ()
    """Topic ARNs whose subscriptions are confirmed and whose messages are taken; any other is refused."""
    sns_certificate_hosts: tuple[str, ...] = ()
    """Hosts trusted for signing certificates besides `sns.<region>.amazonaws.com[.cn]`."""
    tls_certificate: str = ""
    """PEM file; empty: plain HTTP, for use behind a load balancer that terminates TLS."""
    tls_key: str = ""


class Bridge(Struct, frozen=True, forbid_unknown_fields=True):
    """How sources are read."""

    acknowledge: Literal["kafka", "landed"] = "kafka"
    """When a source is acknowledged: once Kafka has its events, or once ClickHouse has them."""
    max_in_flight_mb: Annotated[int, Meta(ge=1, le=4096)] = 64
    """Encoded blocks on their way to Kafka at the most; sources wait beyond it."""
    queues: tuple[SqsQueue, ...] = ()
    http: Http = Http()


class Postmaster(Struct, frozen=True, forbid_unknown_fields=True):
    """Google Postmaster Tools, asked once a day."""

    credentials: str = ""
    """Key file (JSON) of a Google service account; empty: not asked."""
    subject: str = ""
    """User the service account acts for (domain-wide delegation); empty: for itself."""
    domains: tuple[str, ...] = ()
    """Domains to ask about; empty: all verified ones that the account may see."""
    days: Annotated[int, Meta(ge=1, le=120)] = 10
    """Days before today that are asked for each time: figures come late, and are corrected."""
    endpoint: str = "https://gmailpostmastertools.googleapis.com"
    """Other than Google's own, for local stand-ins."""


class Alarms(Struct, frozen=True, forbid_unknown_fields=True):
    """When somebody is told: docs/alarms.md."""

    rules: str = ""
    """TOML file of rules, which stand before the program's own of the same name; read again when it changes."""


class Embedded(Struct, frozen=True, forbid_unknown_fields=True):
    """Of `up`, `demo` and a local `replay` alone."""

    broker_limit_mb: Annotated[int, Meta(ge=1)] = 1500
    """Resident memory of the embedded broker beyond which it is replaced; it keeps every record it has got."""


class Metrics(Struct, frozen=True, forbid_unknown_fields=True):
    """Figures of the process, for Prometheus."""

    bind: str = ""
    """`host:port` where each process serves them; empty: nowhere. Those of one machine want a port each; an embedded
    instance takes this one for the bridge and the next three for worker, sink and notify."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything, validated."""

    kafka: Kafka = Kafka()
    clickhouse: ClickHouse = ClickHouse()
    privacy: Privacy = Privacy()
    counting: Counting = Counting()
    bridge: Bridge = field(default_factory=Bridge)
    postmaster: Postmaster = Postmaster()
    alarms: Alarms = Alarms()
    notify: Notify = Notify()
    response: Response = Response()
    inbound: Inbound = Inbound()
    embedded: Embedded = Embedded()
    metrics: Metrics = Metrics()
    retention: Retention = Retention()


def load(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """Read the file (if any), lay the environment over it, validate.

    Raises:
        SettingsError: with the setting's name and what is wrong with it.
    """
    chosen = path or (Path(name) if (name := environment.get(PREFIX + "CONFIG")) else None)
    tree = _read(chosen) if chosen else {}
    _overlay(tree, environment)
    try:
        settings = msgspec.convert(tree, Settings, dec_hook=_secret)
    except msgspec.ValidationError as error:
        where = f"{chosen}: " if chosen else ""
        raise SettingsError(f"{where}{sentence(str(error), Settings)}") from None
    _check(settings)
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None


def _overlay(tree: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Lay `SES_STREAMS_SECTION__NAME` variables over the tree."""
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        *sections, name = variable.removeprefix(PREFIX).lower().split("__")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
            if not isinstance(node, dict):
                raise SettingsError(f"{variable}: {section} is not a section")
        node[name] = text if _is_text(sections, name) else _value(text)


def _is_text(sections: list[str], name: str) -> bool:
    """Whether a setting is text: it is then taken as it stands, be it a password of digits only."""
    kind: Any = Settings
    for part in (*sections, name):
        if not (isinstance(kind, type) and issubclass(kind, Struct)):
            return False
        kind = get_type_hints(kind).get(part)
    return get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, str))


def _value(text: str) -> Any:
    """A TOML value where the text is one, else the text itself."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, bool | int | list | dict) else text


def _secret(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise TypeError(f"Expected `str`, got `{type(value).__name__}`")


def _check(settings: Settings) -> None:
    counting = settings.counting
    for name in counting.dimensions:
        if not is_dimension(name):
            raise SettingsError(
                f"counting.dimensions: there is no dimension {name}; there are {', '.join(DIMENSIONS)}, and tag:NAME"
            )
    if counting.open_hours >= counting.retention_days * 24:
        raise SettingsError("counting.open_hours must be less than counting.retention_days: raise the latter")
    if settings.clickhouse.dsn and not settings.clickhouse.dsn.startswith(_CLICKHOUSE):
        raise SettingsError(
            "clickhouse.dsn: write clickhouse://user:password@host:8123/ses (port 8443 for TLS), or chdb:///path"
        )
    check_notify(settings.notify)
    check_response(settings.response)
    check_inbound(settings.inbound)
    check_retention(
        settings.retention,
        counting_days=counting.retention_days,
        thread_days=settings.inbound.thread_days,
        outbound_days=settings.inbound.outbound_days,
        postmaster_days=settings.postmaster.days,
    )
    http = settings.bridge.http
    if bool(http.tls_certificate) != bool(http.tls_key):
        raise SettingsError(
            "bridge.http.tls_certificate and bridge.http.tls_key go together: set both or neither"
        )
    if settings.kafka.sasl_mechanism and not settings.kafka.security_protocol.startswith("SASL_"):
        raise SettingsError(
            "kafka.sasl_mechanism wants kafka.security_protocol to be SASL_PLAINTEXT or SASL_SSL"
        )
