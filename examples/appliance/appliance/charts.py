"""Small charts: points of time and value → the paths of an inline SVG.

The picture is `WIDTH` × `HEIGHT` units, now at its right edge; the style sheet stretches it and gives its colours.
The live pages fetch new paths from here, so a chart looks the same before and after its first refresh.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastcore.values import dataclass

WIDTH = 240
HEIGHT = 64
MARGIN = 1
SPAN_SECONDS = 120.0
GAP_SECONDS = 15.0

Series = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """`lines` and `areas`: one path each per series; `text` says in words what the picture shows."""

    lines: tuple[str, ...]
    areas: tuple[str, ...]
    text: str


def draw(series: Sequence[Series], now: float, top: float, text: str) -> Chart:
    """Draws each series of (time, value) from `SPAN_SECONDS` before `now` on; `top` is the value at the upper edge.

    Where nobody looked for more than `GAP_SECONDS` the line is interrupted: nothing is known about that time.

    >>> draw([[(70.0, 0.0), (71.0, 50.0)]], now=71.0, top=100.0, text="").lines
    ('M238 63L240 32',)
    """
    runs = [_runs(points, now, top) for points in series]
    return Chart(
        tuple("".join(_line(run) for run in parts) for parts in runs),
        tuple("".join(_area(run) for run in parts) for parts in runs),
        text,
    )


def ceiling(value: float, least: float = 1.0) -> float:
    """The next 1, 2 or 5 times a power of two's thousand, so that the scale seldom changes.

    >>> ceiling(1500.0), ceiling(3.0), ceiling(0.2)
    (2048.0, 5.0, 1.0)
    """
    value = max(value, least)
    unit = 1024.0 ** math.floor(math.log(value, 1024))
    decade = 10.0 ** math.floor(math.log10(value / unit))
    return next((unit * decade * step for step in (1, 2, 5, 10) if value <= unit * decade * step), unit * 1024)


def _runs(points: Series, now: float, top: float) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = []
    before = -math.inf
    for at, value in points:
        if not now - SPAN_SECONDS <= at <= now:
            continue
        if at - before > GAP_SECONDS:
            runs.append([])
        x = WIDTH * (1 - (now - at) / SPAN_SECONDS)
        share = min(max(value / top, 0.0), 1.0) if top > 0 else 0.0
        y = MARGIN + (HEIGHT - 2 * MARGIN) * (1 - share)
        runs[-1].append((x, y))
        before = at
    return runs


def _line(run: list[tuple[float, float]]) -> str:
    if len(run) == 1:
        x, y = run[0]
        run = [(x - 1, y), (x, y)]
    return "M" + "L".join(f"{x:.4g} {y:.3g}" for x, y in run)


def _area(run: list[tuple[float, float]]) -> str:
    return f"{_line(run)}L{run[-1][0]:.4g} {HEIGHT}L{run[0][0]:.4g} {HEIGHT}Z" if len(run) > 1 else ""
