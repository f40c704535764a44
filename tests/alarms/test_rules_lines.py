"""Lines of keys in TOML: every path that tomllib finds has one, and it is the right one."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.alarms.toml_lines import Path, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator

AWKWARD = r"""# a [comment] = 1
top = 1
[[rule]] # x
name = "a ] # , = \" b"
"dimensions" = [ # [c
  "x]", 'y#"',
  QQQm
  "q" \QQQ "QQQ, { a = 1, "b c".d = [1, 2] },
]
a . "b.c" . d = 2020-01-01 10:00:00
[rule.sub]
x = '''
a = 1
'''''
[[rule]]
y = {}
z = []
'k é' = "\\"
[[rule.deep]]
[[rule.deep]]
v = +1e6
[other."a.b"]
w = inf # = [
""".replace("QQQ", '"' * 3)


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Of everything in a document."""
    if at:
        yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*at, key))


def test_an_awkward_document() -> None:
    lines = lines_of(AWKWARD)
    assert set(lines) == set(paths(tomllib.loads(AWKWARD)))
    expected = {
        ("top",): 2,
        ("rule", 0): 3,
        ("rule", 0, "name"): 4,
        ("rule", 0, "dimensions"): 5,
        ("rule", 0, "dimensions", 1): 6,
        ("rule", 0, "dimensions", 2): 7,
        ("rule", 0, "dimensions", 3, "b c", "d", 1): 8,
        ("rule", 0, "a", "b.c", "d"): 10,
        ("rule", 0, "sub", "x"): 12,
        ("rule", 1): 15,
        ("rule", 1, "z"): 17,
        ("rule", 1, "k é"): 18,
        ("rule", 1, "deep", 1, "v"): 21,
        ("other", "a.b", "w"): 23,
    }
    assert {path: lines[path] for path in expected} == expected


def test_line_ends_of_windows() -> None:
    assert lines_of("a = 1\r\n\r\n[b]\r\nc = [\r\n 1,\r\n 2]\r\n")["b", "c", 1] == 6


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing", "a=''", 'a=""', 'a=""""""', "a=''''''"])
def test_small_documents(text: str) -> None:
    assert set(lines_of(text)) == set(paths(tomllib.loads(text)))


keys = st.from_regex(r"[a-z]{1,3}", fullmatch=True) | st.sampled_from(['"a.b"', "'c d'", '"e\\"f"', "g.h"])
blanks = st.sampled_from(["", " ", "\n", " # [ ] = '\n", "\r\n"])
scalars = st.sampled_from(
    [
        "1",
        "-0.5",
        "true",
        "1979-05-27T07:32:00Z",
        '"x]},#"',
        "'y\"'",
        '"""\n"a" \\""""',
        "'''\n[[z]]\n'''",
        '""',
    ]
)
arrays = st.recursive(
    scalars,
    lambda inner: st.lists(st.tuples(blanks, inner, blanks), max_size=3).map(
        lambda items: "[" + ",".join(before + item + after for before, item, after in items) + "]"
    ),
    max_leaves=6,
)
inlines = st.lists(st.tuples(keys, arrays), max_size=2).map(
    lambda pairs: "{" + ", ".join(f"{key} = {value}" for key, value in pairs) + "}"
)
pairs = st.tuples(keys, arrays | inlines).map(lambda pair: f"{pair[0]} = {pair[1]}")
headers = st.tuples(st.sampled_from(["[%s]", "[[%s]]", "[[rule]]"]), keys).map(
    lambda made: made[0].replace("%s", made[1])
)
documents = st.lists(pairs | headers | blanks, max_size=10).map("\n".join)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents)
def test_whatever_tomllib_reads_has_lines_that_hold_the_key(text: str) -> None:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = lines_of(text)
    assert set(lines) == set(paths(tree))
    written = text.split("\n")
    for path, line in lines.items():
        if isinstance(last := path[-1], str):
            assert last.split(".")[0].strip("\"'")[:1] in written[line - 1]
