"""Settings: a file, the environment over it, one sentence for what is wrong, and no secret in any of them."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import SettingsError
from connectors.settings import Kafka, Secret, Settings, load

if TYPE_CHECKING:
    from pathlib import Path

HIDDEN = "hunter2-very-secret"

FULL = f"""
[kafka]
brokers = "a:9092,b:9092"
partitions = 24
replication = 1
security_protocol = "SASL_SSL"
sasl_mechanism = "SCRAM-SHA-512"
sasl_username = "ses"
sasl_password = "{HIDDEN}"

[clickhouse]
dsn = "clickhouse://ses:{HIDDEN}@host:8123/ses"

[privacy]
pii_key = "{HIDDEN}"

[[bridge.queues]]
url = "https://sqs.eu-west-1.amazonaws.com/111122223333/ses"
visibility_s = 120

[bridge.http]
bind = "0.0.0.0:8080"
firehose_access_key = "{HIDDEN}"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(FULL)
    return path


def test_nothing_given_is_the_defaults() -> None:
    assert load(None, {}) == Settings()


def test_a_file_is_read_with_what_it_leaves_out_at_its_default(file: Path) -> None:
    settings = load(file, {})
    assert settings.kafka.brokers == "a:9092,b:9092"
    assert settings.kafka.partitions == 24
    assert settings.kafka.compression == Kafka().compression
    assert settings.bridge.queues[0].visibility_s == 120
    assert settings.bridge.queues[0].pollers == 2
    assert str(settings.clickhouse.dsn) == f"clickhouse://ses:{HIDDEN}@host:8123/ses"


def test_the_environment_lies_over_the_file(file: Path) -> None:
    environment = {
        "SES_STREAMS_CONFIG": str(file),
        "SES_STREAMS_KAFKA__PARTITIONS": "6",
        "SES_STREAMS_BRIDGE__HTTP__SNS_TOPICS": '["arn:aws:sns:eu-west-1:111122223333:ses"]',
        "SES_STREAMS_COUNTING__UNKNOWN_PROVIDERS_REPORT": "true",
        "SES_STREAMS_CLICKHOUSE__DSN": "chdb:///data",
        "KAFKA__PARTITIONS": "99",
    }
    settings = load(None, environment)
    assert settings.kafka.partitions == 6
    assert settings.kafka.brokers == "a:9092,b:9092"
    assert settings.bridge.http.sns_topics == ("arn:aws:sns:eu-west-1:111122223333:ses",)
    assert settings.counting.unknown_providers_report is True
    assert settings.clickhouse.dsn == "chdb:///data"


def test_a_file_named_outright_wins_over_the_one_in_the_environment(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('[kafka]\nbrokers = "other:9092"\n')
    assert load(other, {"SES_STREAMS_CONFIG": str(file)}).kafka.brokers == "other:9092"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[kafka]\npartitions = 0\n", "kafka.partitions"),
        ('[kafka]\npartitions = "many"\n', "kafka.partitions"),
        ("[kafka]\npartition = 3\n", "partition"),
        ('[kafka]\ncompression = "zstd"\n', "kafka.compression"),
        ("[kafak]\n", "kafak"),
        ("[[bridge.queues]]\nregion = 'eu-west-1'\n", "url"),
        ("[[bridge.queues]]\nurl = 'q'\nvisibility_s = 5\n", "visibility_s"),
        ("[privacy]\npii = 'both'\n", "privacy.pii"),
        ("[bridge]\nacknowledge = 'soon'\n", "bridge.acknowledge"),
        ("[bridge.http]\ntls_key = 'key.pem'\n", "tls_certificate"),
        ("[kafka]\nsasl_mechanism = 'PLAIN'\n", "security_protocol"),
        ("[kafka\n", "not valid TOML"),
    ],
)
def test_an_unsound_file_is_refused_with_what_is_wrong(tmp_path: Path, text: str, names: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    sentence = str(caught.value)
    assert names in sentence
    assert "\n" not in sentence
    assert caught.value.exit_code == 2


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(b"\xff\xfe[kafka]")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load(path, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*gone\.toml: No such file"):
        load(tmp_path / "gone.toml", {})


def test_a_variable_below_something_that_is_no_section_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("kafka = 3\n")
    with pytest.raises(SettingsError, match="SES_STREAMS_KAFKA__BROKERS: kafka is not a section"):
        load(path, {"SES_STREAMS_KAFKA__BROKERS": "a:1"})


@pytest.mark.parametrize("password", ["12345", "true", "[1]", "0x1F", "1979-05-27", "a\\b", '"quoted"'])
def test_a_password_may_look_like_anything(password: str) -> None:
    environment = {"SES_STREAMS_KAFKA__SASL_PASSWORD": password}
    assert load(None, environment).kafka.sasl_password == password


def test_secrets_do_not_show_themselves(file: Path) -> None:
    settings = load(file, {})
    for shown in (
        repr(settings),
        str(settings),
        f"{settings}",
        f"{settings.clickhouse!r}",
        f"{settings.privacy}",
    ):
        assert HIDDEN not in shown
        assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        f"[kafka]\nsasl_password = ['{HIDDEN}']\n",
        f"[kafka]\npartitions = '{HIDDEN}'\n",
        f"[clickhouse]\ndsn = {{ password = '{HIDDEN}' }}\n",
        f"[privacy]\npii_key = '{HIDDEN}'\npii = 'odd'\n",
        f"[privacy]\npii_key = '{HIDDEN}\n",
    ],
)
def test_no_error_tells_a_secret(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    assert HIDDEN not in str(caught.value)
    assert caught.value.__suppress_context__
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))


@given(st.text(max_size=30))
def test_a_secret_is_its_text_and_hides_it(text: str) -> None:
    secret = Secret(text)
    assert secret == text
    assert repr(secret) == "'***'"
    assert msgspec.json.encode(str(secret)) == msgspec.json.encode(text)


@given(st.text(max_size=30))
def test_any_text_in_the_environment_is_taken_as_it_stands(text: str) -> None:
    assert load(None, {"SES_STREAMS_KAFKA__BROKERS": text}).kafka.brokers == text


def test_a_misspelt_variable_is_refused() -> None:
    with pytest.raises(SettingsError, match="brokres"):
        load(None, {"SES_STREAMS_KAFKA__BROKRES": "a:9092"})
