"""The figures of `alarms.py` as the tables and the plot of docs/alarms.md."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from alarm_figures import Delay, Wrong

    Axis = tuple[Callable[[float], float], Sequence[float]]
    """Where a value is, and the values that are written."""

BEGIN = "<!-- figures of make bench-alarms: begin -->"
END = "<!-- figures of make bench-alarms: end -->"
PLOT = "alarms-wrong-and-late.svg"
FONT = 'font-family="sans-serif" font-size="12"'
COLOURS = ("#0b6e4f", "#c8553d", "#e09f3e", "#7b5ea7", "#2f6690", "#8a8a8a")
WIDTH, HEIGHT, LEFT, TOP, PANEL, DEEP = 960, 400, 60, 50, 360, 270


def write(docs: Path, wrongs: Sequence[Wrong], delays: Sequence[Delay], runs: str) -> None:
    """Between the marks of docs/alarms.md, and the plot beside it."""
    page = docs / "alarms.md"
    text = page.read_text("utf-8")
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    tables = "\n\n".join(tables_of(wrongs, delays))
    page.write_text(f"{head}{BEGIN}\nFigures of {runs}.\n\n{tables}\n{END}{tail}", "utf-8")
    (docs / PLOT).write_text(plot(wrongs, delays), "utf-8")


def tables_of(wrongs: Sequence[Wrong], delays: Sequence[Delay]) -> Iterable[str]:
    yield "**Wrong pages a key-year** (95 % limits)"
    names = list(wrongs[0].pages)
    yield table(
        ["traffic", *names],
        (
            [f"{each.traffic}, {each.rate}", *(spread(each.pages[name], 2) for name in names)]
            for each in wrongs
        ),
    )
    yield "**Keys with a wrong page within 30 days** (95 % limits)"
    yield table(
        ["traffic", *names],
        ([f"{each.traffic}, {each.rate}", *(percent(each.keys[name]) for name in names)] for each in wrongs),
    )
    yield "**Hours until the page**: median (95 % limits), and the 90th percentile"
    names = list(delays[0].median)
    yield table(
        ["traffic", *names],
        (
            [
                f"{each.traffic}, {each.multiple:g} times the limit",
                *(f"{spread(each.median[name], 1)}, {hours(each.p90[name])}" for name in names),
            ]
            for each in delays
        ),
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def spread(figure: tuple[float, float, float], digits: int) -> str:
    middle, low, high = figure
    if math.isinf(middle):
        return "not found"
    digits = digits if middle < 20 else 0
    return f"{middle:.{digits}f} ({low:.{digits}f}-{hours(high, digits)})"


def percent(figure: tuple[float, float, float]) -> str:
    return "{:.0f} % ({:.0f}-{:.0f})".format(*(100 * each for each in figure))


def hours(figure: float, digits: int = 1) -> str:
    return "not found" if math.isinf(figure) else f"{figure:.{digits if figure < 20 else 0}f}"


def plot(wrongs: Sequence[Wrong], delays: Sequence[Delay]) -> str:
    """Two panels on logarithmic axes, by trials an hour: wrong pages at the limit, and hours until the page."""
    plain = [each for each in wrongs if each.rate == "at the limit" and each.traffic == f"{each.volume:,}/h"]
    names = list(delays[0].median)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    x = scale(LEFT, PANEL, [each.volume for each in plain])
    y = scale(TOP + DEEP, -DEEP, [0.01, 1000])
    parts += axes(
        LEFT,
        "Wrong pages a key-year, rate exactly at the limit",
        (x, [5, 50, 500, 5000]),
        (y, [0.01, 0.1, 1, 10, 100, 1000]),
    )
    parts.append(line([(LEFT, y(1)), (LEFT + PANEL, y(1))], "#000000", "2 4"))
    parts.append(f'<text x="{LEFT + 6}" y="{y(1) - 6:.1f}" fill="#000000">promised: at most 1</text>')
    for name, colour in zip(names, COLOURS, strict=True):
        points = [(x(each.volume), y(max(each.pages[name][0], 0.01))) for each in plain if name in each.pages]
        parts += curve(points, colour)
    left = LEFT + PANEL + 100
    x = scale(left, PANEL - 20, [50, 5000])
    y = scale(TOP + DEEP, -DEEP, [0.1, 1000])
    parts += axes(
        left,
        "Hours until the page: 5 times the limit, dashed twice",
        (x, [50, 500, 5000]),
        (y, [0.1, 1, 10, 100, 1000]),
    )
    for multiple, dash in ((5, ""), (2, "5 4")):
        of = [each for each in delays if each.multiple == multiple and each.traffic == f"{each.volume:,}/h"]
        for name, colour in zip(names, COLOURS, strict=True):
            found = [
                (x(each.volume), y(each.median[name][0]))
                for each in of
                if math.isfinite(each.median[name][0])
            ]
            parts += curve(found, colour, dash)
    for index, (name, colour) in enumerate(zip(names, COLOURS, strict=True)):
        place = LEFT + index * 148
        parts.append(line([(place, HEIGHT - 18), (place + 20, HEIGHT - 18)], colour, "", 3))
        parts.append(f'<text x="{place + 26}" y="{HEIGHT - 14}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def scale(start: float, length: float, over: Sequence[float]) -> Callable[[float], float]:
    low, high = math.log(over[0]), math.log(over[-1])
    return lambda value: start + length * (math.log(value) - low) / (high - low)


def axes(left: float, title: str, across: Axis, up: Axis) -> list[str]:
    (x, volumes), (y, values) = across, up
    bottom = TOP + DEEP
    parts = [f'<text x="{left}" y="{TOP - 18}" font-size="14" font-weight="bold">{title}</text>']
    for value in values:
        parts.append(line([(left, y(value)), (left + PANEL, y(value))], "#dddddd"))
        parts.append(f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts += [
        f'<text x="{x(value):.1f}" y="{bottom + 18}" text-anchor="middle">{value:,}/h</text>'
        for value in volumes
    ]
    return parts


def line(points: Sequence[tuple[float, float]], colour: str, dash: str = "", width: float = 1) -> str:
    path = " ".join(f"{across:.1f},{up:.1f}" for across, up in points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'


def curve(points: Sequence[tuple[float, float]], colour: str, dash: str = "") -> list[str]:
    dots = [f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3.5" fill="{colour}"/>' for across, up in points]
    return [line(points, colour, dash, 2), *dots]
