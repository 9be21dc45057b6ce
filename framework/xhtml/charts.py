"""Charts as inline SVG: sparkline, line, bar. No script is needed to see them.

Colours come from the style sheet (classes `series-1` … `series-6`, `currentColor` without one), so light and dark
work. Each chart says in words what it shows (`role="img"` and a <title>). For live charts each says its geometry in
`data-…` attributes, which the ES module `charts.js` beside this file reads: `update(svg, values)` redraws it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from framework.xhtml.nodes import Element

MAX_POINTS = 10_000
"""Most values of one series; more would draw several on one pixel."""

SERIES_STYLES = 6
_LARGEST = 1e300
Values = Sequence[float | None]


def sparkline(
    values: Iterable[float | None],
    *,
    label: str,
    unit: str = "",
    minimum: float | None = 0,
    maximum: float | None = None,
    width: int = 120,
    height: int = 32,
    **attributes: Any,
) -> Element:
    """A small line without axes, to stand in a text or a table.

    values: from old to new; None leaves a gap. label: what it shows; the last, lowest and highest value are told
    after it. unit: stands behind numbers. minimum, maximum: ends of the scale; None takes them from the values.
    width, height: in pixels.

    >>> sparkline([3, 5, 4, 8], label="CPU", unit=" %", maximum=100, id="cpu")
    """
    points = _checked(values)
    plot = (1.0, 2.0, width - 2.0, height - 4.0)
    svg = _svg("sparkline", width, height, plot, minimum, maximum, unit, label, attributes)
    svg.set(width=width, height=height)
    svg.add("title", describe(label, {"": points}, unit))
    _lines(svg, {"": points}, *scale([points], minimum, maximum), plot, area=True)
    return svg


def line_chart(
    series: Mapping[str, Iterable[float | None]] | Iterable[float | None],
    *,
    label: str,
    unit: str = "",
    minimum: float | None = 0,
    maximum: float | None = None,
    width: int = 480,
    height: int = 160,
    area: bool | None = None,
    legend: bool | None = None,
    start: str = "",
    end: str = "",
    **attributes: Any,
) -> Element:
    """Lines over a grid.

    series: values from old to new, or a mapping of names to such. area: fills below the line; by default where there
    is one. legend: names the lines; by default where there are several. start, end: what stands at the ends of the
    horizontal axis. The rest as for `sparkline`; width and height are those of the drawing, which grows and shrinks
    with its place.

    >>> line_chart({"in": [1, 5, 2], "out": [2, 2, 3]}, label="Network", unit=" MB/s", start="1 min ago", end="now")
    """
    named = series if isinstance(series, Mapping) else {"": series}
    points = {str(name): _checked(values) for name, values in named.items()}
    low, high = scale(points.values(), minimum, maximum)
    if maximum is None:
        high = low + nice(high - low)
    with_legend = len(points) > 1 if legend is None else legend
    bottom = (18.0 if start or end else 6.0) + (20.0 if with_legend else 0.0)
    plot = (46.0, 10.0, width - 54.0, height - 10.0 - bottom)
    svg = _svg("line", width, height, plot, minimum, maximum, unit, label, attributes)
    svg.add("title", describe(label, points, unit))
    _grid(svg, low, high, plot, unit)
    _lines(svg, points, low, high, plot, area=len(points) == 1 if area is None else area)
    left, top, plot_width, plot_height = plot
    if start:
        svg.add("text", start, x=number(left), y=number(top + plot_height + 16), class_="chart-text")
    if end:
        x, y = number(left + plot_width), number(top + plot_height + 16)
        svg.add("text", end, x=x, y=y, text_anchor="end", class_="chart-text")
    if with_legend:
        _legend(svg, list(points), left, height - 6.0)
    return svg


def bar_chart(
    values: Mapping[Any, float] | Iterable[tuple[Any, float]],
    *,
    label: str,
    unit: str = "",
    maximum: float | None = None,
    width: int = 480,
    bar_height: int = 22,
    text: Any = None,
    **attributes: Any,
) -> Element:
    """Horizontal bars, one line each: name, bar, value.

    values: names with their values, none below 0. maximum: the value of a full bar, the largest by default. text: a
    function that turns a value into what stands at the bar's end; the number and the unit by default. bar_height: of
    one line, in pixels.

    >>> bar_chart({"sda": 42, "sdb": 7}, label="Disks", unit=" %", maximum=100)
    """
    bars = [(str(name), float(value)) for name, value in (values.items() if isinstance(values, Mapping) else values)]
    if len(bars) > MAX_POINTS:
        raise ValueError(f"a bar chart shows at most {MAX_POINTS} bars, not {len(bars)}")
    if any(value < 0 or not math.isfinite(value) for _, value in bars):
        raise ValueError("a bar chart shows finite values from 0 up")
    whole = maximum or max((value for _, value in bars), default=0) or 1
    left = min(width * 0.4, 12.0 + 7.5 * max((len(name) for name, _ in bars), default=0))
    room = width - left - 72.0
    height = bar_height * max(1, len(bars)) + 4
    svg = _svg("bar", width, height, (left, 2.0, room, height - 4.0), 0, maximum, unit, label, attributes)
    shown = [(name, value, str(text(value)) if text else f"{short(value)}{unit}") for name, value in bars]
    svg.add("title", f"{label}: " + (", ".join(f"{name} {said}" for name, _, said in shown) or "no values"))
    for place, (name, value, said) in enumerate(shown):
        y = 2.0 + place * bar_height
        middle = number(y + bar_height / 2)
        line = svg.add("g", class_="chart-bar", data_name=name)
        line.add(
            "text",
            name,
            x=number(left - 8),
            y=middle,
            text_anchor="end",
            dominant_baseline="central",
            class_="chart-text",
        )
        bar = {"x": number(left), "y": number(y + 3), "height": number(bar_height - 6), "rx": "2"}
        line.add("rect", width=number(room), class_="chart-track", fill="currentColor", fill_opacity="0.12", **bar)
        share = min(1.0, value / whole)
        line.add("rect", width=number(room * share), class_="chart-value series-1", fill="currentColor", **bar)
        x = number(left + room + 8)
        line.add("text", said, x=x, y=middle, dominant_baseline="central", class_="chart-text chart-said")
    return svg


# -- numbers ---------------------------------------------------------------------------------------


def _checked(values: Iterable[float | None]) -> list[float | None]:
    points = [
        None if value is None or not math.isfinite(value) else max(-_LARGEST, min(_LARGEST, float(value)))
        for value in values
    ]
    if len(points) > MAX_POINTS:
        raise ValueError(f"a chart shows at most {MAX_POINTS} values, not {len(points)}")
    return points


def scale(series: Iterable[Values], minimum: float | None, maximum: float | None) -> tuple[float, float]:
    """Both ends of the vertical axis; never the same."""
    known = [value for values in series for value in values if value is not None]
    low = min(known, default=0.0) if minimum is None else minimum
    high = max(known, default=low + 1) if maximum is None else maximum
    if high <= low:
        high = low + max(1.0, abs(low) * 1e-6)
    return float(low), float(high)


def nice(span: float) -> float:
    """The next of 1, 2, 4, 5, 8, 10 × a power of ten that is not below `span`: halves and quarters of it read well."""
    if span <= 0 or not math.isfinite(span):
        return 1.0
    power = 10.0 ** math.floor(math.log10(span))
    return next(step * power for step in (1, 2, 4, 5, 8, 10, 20) if step * power >= span * (1 - 1e-9))


def number(value: float) -> str:
    """A coordinate, as short as it can be said."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"


def short(value: float) -> str:
    """A value in three significant digits, without an exponent where it has few."""
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f"{value:.3g}"
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "0" if text == "-0" else text


def describe(label: str, series: Mapping[str, Values], unit: str) -> str:
    """What a line shows, in words."""
    said = []
    for name, values in series.items():
        known = [value for value in values if value is not None]
        head = f"{name} " if name else ""
        if known:
            last, low, high = (f"{short(value)}{unit}" for value in (known[-1], min(known), max(known)))
            said.append(f"{head}now {last}, lowest {low}, highest {high}")
        else:
            said.append(f"{head}no values")
    return f"{label}: " + "; ".join(said)


def path(values: Values, low: float, high: float, plot: tuple[float, float, float, float]) -> tuple[str, str]:
    """The line through the values and the area below it, as SVG path data; None leaves a gap."""
    left, top, width, height = plot
    step = width / (len(values) - 1) if len(values) > 1 else 0.0
    base = number(top + height)
    runs: list[list[tuple[str, str]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            share = min(1.0, max(0.0, (value - low) / (high - low)))
            runs[-1].append((number(left + place * step), number(top + height * (1 - share))))
    line = area = ""
    for run in filter(None, runs):
        points = "L".join(f"{x} {y}" for x, y in run)
        line += f"M{points}" + ("h0" if len(run) == 1 else "")  # h0: a lone value is seen as a dot
        area += f"M{run[0][0]} {base}L{points}L{run[-1][0]} {base}Z"
    return line, area


# -- drawing ---------------------------------------------------------------------------------------


def _svg(
    kind: str,
    width: int,
    height: int,
    plot: tuple[float, float, float, float],
    minimum: float | None,
    maximum: float | None,
    unit: str,
    label: str,
    attributes: dict[str, Any],
) -> Element:
    names = ["chart", f"chart-{kind}", attributes.pop("class_", None)]
    return Element(
        "svg",
        class_=names,
        role="img",
        viewBox=f"0 0 {width} {height}",
        data_chart=kind,
        data_label=label,
        data_unit=unit or None,
        data_minimum=minimum,
        data_maximum=maximum,
        data_plot=[number(value) for value in plot],
        **attributes,
    )


def _lines(
    svg: Element,
    series: Mapping[str, Values],
    low: float,
    high: float,
    plot: tuple[float, float, float, float],
    *,
    area: bool,
) -> None:
    for place, (name, values) in enumerate(series.items()):
        line, below = path(values, low, high, plot)
        group = svg.add("g", class_=f"chart-series series-{place % SERIES_STYLES + 1}", data_name=name or None)
        if area:
            group.add("path", d=below or None, class_="chart-area", fill="currentColor", fill_opacity="0.15")
        group.add(
            "path",
            d=line or None,
            class_="chart-path",
            fill="none",
            stroke="currentColor",
            stroke_width="1.5",
            stroke_linejoin="round",
            stroke_linecap="round",
        )


def _grid(svg: Element, low: float, high: float, plot: tuple[float, float, float, float], unit: str) -> None:
    left, top, width, height = plot
    grid = svg.add("g", class_="chart-grid")
    for share in (0.0, 0.5, 1.0):
        y = number(top + height * (1 - share))
        value = low + (high - low) * share
        grid.add(
            "line", x1=number(left), x2=number(left + width), y1=y, y2=y, stroke="currentColor", stroke_opacity="0.2"
        )
        grid.add(
            "text",
            f"{short(value)}{unit}",
            x=number(left - 6),
            y=y,
            text_anchor="end",
            dominant_baseline="central",
            class_="chart-text chart-tick",
            data_share=share,
        )


def _legend(svg: Element, names: list[str], left: float, y: float) -> None:
    legend = svg.add("g", class_="chart-legend")
    x = left
    for place, name in enumerate(names):
        item = legend.add("g", class_=f"series-{place % SERIES_STYLES + 1}")
        item.add("rect", x=number(x), y=number(y - 9), width="10", height="10", rx="2", fill="currentColor")
        item.add("text", name, x=number(x + 15), y=number(y), class_="chart-text")
        x += 34 + 7 * len(name)
