"""docs/benchmarks.md and its drawings from the kept results: `python bench/run.py --render`."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import targets
from plots import Bar, Mark, bars
from toolchain import RESULTS, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
ALSO = {"rpc": ROOT / "docs" / "rpc.md", "streams": ROOT / "docs" / "rpc.md"}
"""Other pages that have a section's table."""
IMAGES = ROOT / "docs" / "images"
SECTIONS = ("hello", "transfer", "memory", "frontends", "startup", "wsgi_profile", "rpc", "streams")
Results = dict[str, dict[str, Any]]


def write() -> None:
    """The tables between their markers, and the drawings."""
    results = read()
    write_table(PAGE, "targets", targets.render(results))
    for name, result in results.items():
        table = importlib.import_module(name).render(result)
        for page in (PAGE, *([ALSO[name]] if name in ALSO else [])):
            write_table(page, name.replace("_", "-"), table)
    IMAGES.mkdir(exist_ok=True)
    for name, drawing in drawings(results):
        (IMAGES / f"bench-{name}.svg").write_text(drawing)


def read() -> Results:
    """The kept results by section."""
    files = {name: RESULTS / f"{name.replace('_', '-')}.json" for name in SECTIONS}
    return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}


def write_table(page: Path, name: str, table: str) -> None:
    """Put a table between the markers ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->`` of a page."""
    text = page.read_text()
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise SystemExit(f"{page.name} lacks the markers {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}")


def drawings(results: Results) -> Iterator[tuple[str, str]]:
    """Name and SVG of each drawing for which there are results."""
    floor_kept, floor_each = targets.rate("floor", "kept")(results), targets.rate("floor", "each")(results)
    uwsgi = targets.rate("uwsgi", "each")(results)
    hello = (
        (
            "kept",
            "One small page, connections kept",
            (("WSGI: 0.55 × floor", 0.55, floor_kept), ("native: 0.80 × floor", 0.80, floor_kept)),
        ),
        (
            "each",
            "One small page, a connection each",
            (("WSGI: 0.70 × floor", 0.70, floor_each), ("native: 1.5 × uWSGI", 1.5, uwsgi)),
        ),
    )
    for mode, title, wanted in hello:
        rows = _bars(results, "hello", lambda row, mode=mode: (row[mode] or {}).get("requests_per_second"))
        yield from _draw(f"hello-{mode}", title, "requests per second, longer is better", rows, _marks(wanted))
    for kind, title in (
        ("up", "1 GiB read by the application"),
        ("blocks", "1 GiB sent from an iterator"),
        ("file", "1 GiB sent from a file"),
    ):
        wanted = (
            ("10 × flup", 10, targets.moved(kind, "flup-prefork", "flup-threaded")(results)),
            ("1.5 × uWSGI", 1.5, targets.moved(kind, "uwsgi")(results)),
        )
        rows = _bars(results, "transfer", lambda row, kind=kind: (row[kind] or {}).get("mb_per_second"))
        yield from _draw(f"transfer-{kind}", title, "MB/s, longer is better", rows, _marks(wanted))
    for front in ("nginx", "lighttpd"):
        wanted = (("uWSGI's by 1.3", 1 / 1.3, targets.backend_cpu(front, "uwsgi", "uwsgi-own")(results)),)
        rows = _bars(results, "frontends", lambda row, front=front: (row[front] or {}).get("cpu_us"))
        title = f"The back end's processor time behind {front}"
        yield from _draw(f"behind-{front}", title, "µs for a request, shorter is better", rows, _marks(wanted), 1)
    rows = _bars(results, "memory", lambda row: row["workers"]["1"]["pss"] / 1e6)
    yield from _draw("memory", "Memory with one worker", "PSS in MB, shorter is better", rows, [Mark("target", 8)], 1)
    rows = _bars(results, "memory", lambda row: row["further"] and row["further"] / 1e6)
    yield from _draw(
        "memory-further", "Each further worker", "PSS in MB, shorter is better", rows, [Mark("target", 2)], 1
    )
    best = targets.remote("cpu_us", False)(results)
    rows = _bars(results, "rpc", lambda row: row["cpu_us"])
    title = "The back end's processor time for a remote call behind nginx"
    marks = _marks([("a fifth of the best", 0.2, best)])
    yield from _draw("rpc", title, "µs for a call, shorter is better", rows, marks, 1)
    rows = _bars(results, "startup", lambda row: row["ms"])
    yield from _draw("startup", "From the command to the first answer", "ms, shorter is better", rows, [])


def _bars(results: Results, section: str, value: Any) -> list[Bar]:
    found = []
    for row in results.get(section, {}).get("rows", []):
        measured = value(row)
        if measured is not None:
            kind = "floor" if row["name"] == "floor" else "ours" if row["name"].startswith("fastcore") else "other"
            found.append(Bar(row["label"].replace("**", ""), measured, kind))
    return found


def _marks(wanted: Any) -> list[Mark]:
    return [Mark(label, factor * base) for label, factor, base in wanted if base]


def _draw(
    name: str, title: str, unit: str, rows: list[Bar], marks: list[Mark], digits: int = 0
) -> Iterator[tuple[str, str]]:
    if rows:
        yield name, bars(title, unit, rows, marks, digits)
