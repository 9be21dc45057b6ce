"""What the router was to reach beside what a run of `bench/router.py` reached, as text and for docs/router.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

PAGE = Path(__file__).parent.parent / "docs" / "router.md"
BEGIN = "<!-- written by `python bench/router.py --docs`; not by hand -->"
END = "<!-- end -->"

COLUMNS = ("fastcore", "routrie", "re2.Set + re", "falcon", "werkzeug", "starlette", "django", "sequential re")
TITLES = {"match": "match", "miss": "miss", "awkward": "overlapping"}


class Row(NamedTuple):
    """One line of the table; `reached` is None where something of it was not measured."""

    case: str
    wanted: str
    got: str
    reached: bool | None

    @property
    def verdict(self) -> str:
        return "not measured" if self.reached is None else "ok" if self.reached else "missed"


def judge(outcome: dict[str, Any], recorded: dict[str, float]) -> list[Row]:
    """The rows of the table, in its order; `recorded` has the instructions for one match, by number of routes."""
    match, miss = _sized(outcome, "match", 1000), _sized(outcome, "miss", 1000)
    build, url, growth = (outcome.get(part, {}) for part in ("build", "url", "growth"))
    mean = "mean match with captures, 1,000 routes"
    rows = [
        _times_less(mean, "≤ 0.5 × routrie", match, "routrie", 0.5),
        _times_less(mean, "≤ 0.2 × Falcon", match, "falcon", 0.2),
        _times_less(mean, "≤ 1/200 of sequential re", match, "sequential re", 1 / 200),
        _at_most("growth from 10 to 10,000 routes", growth.get("factor"), 1.5, "×", 2),
        _below_match(miss.get("fastcore"), match.get("fastcore")),
        _at_most("build, 1,000 routes", build.get("build_ms"), 150, "ms", 0),
        _at_most("memory, 1,000 routes", build.get("memory_mb"), 8, "MB", 1),
        _times_faster("`url()`", "≥ 5 × faster than Werkzeug's build", url, "werkzeug", 5),
        _times_faster("`url()`", "≥ 10 × faster than Django's reverse", url, "django", 10),
    ]
    told = ", ".join(f"{value:,.0f} with {int(size):,} routes" for size, value in recorded.items())
    rows.append(Row("instructions for one match", "recorded, guarded at 3 %", told or "none", bool(told)))
    return rows


def _sized(outcome: dict[str, Any], case: str, size: int) -> dict[str, float]:
    """One row of the peers; results that were read from a file have text for keys."""
    rows = outcome.get(case, {})
    found: dict[str, float] = rows.get(size) or rows.get(str(size)) or {}
    return found


def _times_less(case: str, wanted: str, row: dict[str, float], peer: str, factor: float) -> Row:
    ours, other = row.get("fastcore"), row.get(peer)
    if ours is None or other is None:
        return Row(case, wanted, "", None)
    share = f"{ours / other:.2f} ×" if factor > 0.01 else f"1/{other / ours:.0f}"
    return Row(case, wanted, f"{share} ({ours:,.0f} to {other:,.0f} ns)", ours <= factor * other)


def _times_faster(case: str, wanted: str, row: dict[str, float], peer: str, factor: float) -> Row:
    ours, other = row.get("fastcore"), row.get(peer)
    if ours is None or other is None:
        return Row(case, wanted, "", None)
    return Row(case, wanted, f"{other / ours:.1f} × ({ours:,.0f} to {other:,.0f} ns)", other >= factor * ours)


def _at_most(case: str, value: float | None, most: float, unit: str, digits: int) -> Row:
    wanted = f"≤ {most:g} {unit}"
    if value is None:
        return Row(case, wanted, "", None)
    return Row(case, wanted, f"{value:.{digits}f} {unit}", value <= most)


def _below_match(miss: float | None, match: float | None) -> Row:
    case, wanted = "miss, 1,000 routes", "≤ the mean match"
    if miss is None or match is None:
        return Row(case, wanted, "", None)
    return Row(case, wanted, f"{miss:,.0f} to {match:,.0f} ns", miss <= match)


def show(rows: list[Row]) -> str:
    """The table for a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{row.case:{widths[0]}}  {row.wanted:{widths[1]}}  {row.got:{widths[2]}}  {row.verdict}" for row in rows
    )


def render(outcome: dict[str, Any], recorded: dict[str, float]) -> str:
    """The part of docs/router.md between its marks: the targets, then the peers."""
    lines = ["| case | to reach | reached | |", "|---|---|---|---|"]
    for row in judge(outcome, recorded):
        shown = "**missed**" if row.reached is False else row.verdict
        lines.append(f"| {row.case} | {row.wanted} | {row.got} | {shown} |")
    lines += ["", "| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for case, title in TITLES.items():
        for size, peers in outcome.get(case, {}).items():
            lines.append(_peers_row(f"{title}, {int(size):,} routes", peers))
    lines.append(_peers_row("`url()`, 1,000 routes", outcome.get("url", {})))
    if growth := outcome.get("growth"):
        sizes = ", ".join(f"{value:,.0f} ns with {int(size):,}" for size, value in growth["ns"].items())
        lines += ["", f"Match alone, the sizes in turns: {sizes} routes."]
    if machine := outcome.get("machine"):
        busy = (
            f"CPython {machine['python']}, {machine['cores']} cores, load average {machine['load']} when the run began"
        )
        lines += ["", busy + (": others were at work." if machine["load"] > 1 else ".")]
    return "\n".join(lines)


def _peers_row(title: str, peers: dict[str, float]) -> str:
    return f"| {title} | " + " | ".join(f"{peers[name]:,.0f}" if name in peers else "–" for name in COLUMNS) + " |"


def write_page(outcome: dict[str, Any], recorded: dict[str, float]) -> None:
    """Put the run into docs/router.md."""
    text = PAGE.read_text("utf-8")
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    PAGE.write_text(f"{text[:begin]}\n{render(outcome, recorded)}\n{text[end:]}", "utf-8")
