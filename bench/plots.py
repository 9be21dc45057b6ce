"""Bars as SVG, legible on a light and on a dark page, without a drawing library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, VALUES, ROW, BAR = 800, 310, 80, 24, 14
"""Pixels: the drawing, the room of the labels and of the values, the height of a row and of its bar."""

_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px } .unit, .mark { font-size: 12px; fill: #57606a }
.ours { fill: #0969da } .floor { fill: #8c959f } .other { fill: #c9a227 }
.line { stroke: #cf222e; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .unit, .mark { fill: #9198a1 }
  .ours { fill: #4493f8 } .floor { fill: #6e7681 } .other { fill: #b08800 } .line { stroke: #ff7b72 }
}"""


@dataclass(frozen=True)
class Bar:
    """One bar: `kind` is ours, floor or other."""

    label: str
    value: float
    kind: str = "other"


@dataclass(frozen=True)
class Mark:
    """A target: a line across all bars."""

    label: str
    value: float


def bars(title: str, unit: str, rows: Sequence[Bar], marks: Sequence[Mark] = (), digits: int = 0) -> str:
    """A drawing of horizontal bars with their values, and a dashed line for each target.

    A target far beyond the longest bar is told in words instead, so that it does not make the bars short.
    """
    longest = max((row.value for row in rows), default=0) or 1.0
    shown = [mark for mark in marks if mark.value <= 1.6 * longest]
    beyond = [mark for mark in marks if mark.value > 1.6 * longest]
    scale = (WIDTH - LABELS - VALUES) / max([longest, *(mark.value for mark in shown)])
    top = 58
    bottom = top + ROW * len(rows)
    height = bottom + 18 * (len(shown) + len(beyond)) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="8" y="22">{escape(title)}</text>',
        f'<text class="unit" x="8" y="42">{escape(unit)}</text>',
    ]
    for number, row in enumerate(rows):
        y = top + ROW * number
        parts += [
            f'<text x="{LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(row.label)}</text>',
            f'<rect class="{row.kind}" x="{LABELS}" y="{y}" width="{max(row.value * scale, 1):.1f}" height="{BAR}"/>',
            f'<text x="{LABELS + row.value * scale + 6:.1f}" y="{y + 12}">{row.value:,.{digits}f}</text>',
        ]
    for number, mark in enumerate(shown):
        x, y = LABELS + mark.value * scale, bottom + 18 * number + 12
        anchor, at = ("end", x - 4) if x > WIDTH / 2 else ("start", x + 4)
        parts += [
            f'<line class="line" x1="{x:.1f}" y1="{top - 6}" x2="{x:.1f}" y2="{y + 2}"/>',
            f'<text class="mark" x="{at:.1f}" y="{y}" text-anchor="{anchor}">'
            f"{escape(mark.label)}: {mark.value:,.{digits}f}</text>",
        ]
    for number, mark in enumerate(beyond, len(shown)):
        text = f"{mark.label}: {mark.value:,.{digits}f}, beyond this drawing"
        parts.append(f'<text class="mark" x="8" y="{bottom + 18 * number + 12}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>", ""])
