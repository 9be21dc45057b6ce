"""A page with a table of 100 rows, built and written: f-strings, Jinja2, and page builders beside framework.xhtml.

`python bench/xhtml.py [--rounds N] [--rows N] [--json FILE]`. Every entry makes the same page from the same values,
with everything escaped; that they say the same is checked before anything is timed. Rounds are interleaved; the table
shows medians. An entry whose library is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
import tracemalloc
import xml.etree.ElementTree as etree
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

Page = Callable[[list[tuple[str, str, str, str]]], str]
HEADINGS = ("Name", "Mounted at", "Size", "State")


def rows_of(count: int) -> list[tuple[str, str, str, str]]:
    """Rows as an admin page has them; one value in each needs escaping."""
    return [(f"disk{i}", f"/srv/<data {i}>", f"{i * 37 % 1000} GB", "good & well") for i in range(count)]


def by_fstrings(rows: list[tuple[str, str, str, str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in HEADINGS)
    body = "".join(
        f"<tr><td>{escape(a)}</td><td>{escape(b)}</td><td>{escape(c)}</td><td>{escape(d)}</td></tr>"
        for a, b, c, d in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<html><head><title>Disks</title></head><body><h1>Disks</h1>{table}</body></html>"


def jinja2_page() -> Page:
    import jinja2

    environment = jinja2.Environment(autoescape=True)
    template = environment.from_string(
        "<html><head><title>{{ title }}</title></head><body><h1>{{ title }}</h1><table><thead><tr>"
        "{% for heading in headings %}<th>{{ heading }}</th>{% endfor %}</tr></thead><tbody>"
        "{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}"
        "</tbody></table></body></html>"
    )
    return lambda rows: template.render(title="Disks", headings=HEADINGS, rows=rows)


def elementtree_page() -> Page:
    def page(rows: list[tuple[str, str, str, str]]) -> str:
        html = etree.Element("html")
        etree.SubElement(etree.SubElement(html, "head"), "title").text = "Disks"
        body = etree.SubElement(html, "body")
        etree.SubElement(body, "h1").text = "Disks"
        table = etree.SubElement(body, "table")
        line = etree.SubElement(etree.SubElement(table, "thead"), "tr")
        for heading in HEADINGS:
            etree.SubElement(line, "th").text = heading
        tbody = etree.SubElement(table, "tbody")
        for row in rows:
            line = etree.SubElement(tbody, "tr")
            for cell in row:
                etree.SubElement(line, "td").text = cell
        return etree.tostring(html, encoding="unicode")

    return page


def lxml_page() -> Page:
    from lxml import etree as lxml_etree
    from lxml.builder import E

    def page(rows: list[tuple[str, str, str, str]]) -> str:
        tree = E.html(
            E.head(E.title("Disks")),
            E.body(
                E.h1("Disks"),
                E.table(
                    E.thead(E.tr(*[E.th(heading) for heading in HEADINGS])),
                    E.tbody(*[E.tr(*[E.td(cell) for cell in row]) for row in rows]),
                ),
            ),
        )
        return str(lxml_etree.tostring(tree, encoding="unicode"))

    return page


def dominate_page() -> Page:
    from dominate import tags

    def page(rows: list[tuple[str, str, str, str]]) -> str:
        html = tags.html(
            tags.head(tags.title("Disks")),
            tags.body(
                tags.h1("Disks"),
                tags.table(
                    tags.thead(tags.tr(*[tags.th(heading) for heading in HEADINGS])),
                    tags.tbody(*[tags.tr(*[tags.td(cell) for cell in row]) for row in rows]),
                ),
            ),
        )
        return str(html.render(pretty=False))

    return page


def htpy_page() -> Page:
    import htpy

    def page(rows: list[tuple[str, str, str, str]]) -> str:
        tree = htpy.html[
            htpy.head[htpy.title["Disks"]],
            htpy.body[
                htpy.h1["Disks"],
                htpy.table[
                    htpy.thead[htpy.tr[(htpy.th[heading] for heading in HEADINGS)]],
                    htpy.tbody[(htpy.tr[(htpy.td[cell] for cell in row)] for row in rows)],
                ],
            ],
        ]
        return str(tree)

    return page


def framework_generic() -> Page:
    """Element by element, with nothing but `add`."""
    from framework.xhtml import Element

    def page(rows: list[tuple[str, str, str, str]]) -> str:
        html = Element("html")
        html.add("head").add("title", "Disks")
        body = html.add("body")
        body.add("h1", "Disks")
        table = body.add("table")
        line = table.add("thead").add("tr")
        for heading in HEADINGS:
            line.add("th", heading)
        tbody = table.add("tbody")
        for row in rows:
            line = tbody.add("tr")
            for cell in row:
                line.add("td", cell)
        return str(html)

    return page


def framework_tags() -> Page:
    """With a method for each element."""
    from framework.xhtml import Element

    def page(rows: list[tuple[str, str, str, str]]) -> str:
        html = Element("html")
        html.add("head").title("Disks")
        body = html.add("body")
        body.h1("Disks")
        table = body.table()
        line = table.thead().tr()
        for heading in HEADINGS:
            line.th(heading)
        tbody = table.tbody()
        for row in rows:
            line = tbody.tr()
            for cell in row:
                line.td(cell)
        return str(html)

    return page


def framework_functions() -> Page:
    """From the inside out, with a function for each element."""
    from framework.xhtml import tags

    def page(rows: list[tuple[str, str, str, str]]) -> str:
        html = tags.html(
            tags.head(tags.title("Disks")),
            tags.body(
                tags.h1("Disks"),
                tags.table(
                    tags.thead(tags.tr([tags.th(heading) for heading in HEADINGS])),
                    tags.tbody([tags.tr([tags.td(cell) for cell in row]) for row in rows]),
                ),
            ),
        )
        return str(html)

    return page


def framework_widget() -> Page:
    """The table widget: a real tree, with `scope` on headings."""
    from framework.xhtml import Document

    def page(rows: list[tuple[str, str, str, str]]) -> str:
        document = Document("Disks")
        document.body.add_heading(1, "Disks")
        document.body.add_table(rows, headings=HEADINGS)
        return str(document)

    return page


def framework_streamed() -> Page:
    """The table widget with rows that are made while they are written."""
    from framework.xhtml import Document

    def page(rows: list[tuple[str, str, str, str]]) -> str:
        document = Document("Disks")
        document.body.add_heading(1, "Disks")
        document.body.add_table(rows, headings=HEADINGS, stream=True)
        return b"".join(document).decode()

    return page


ENTRIES: dict[str, Callable[[], Page]] = {
    "f-strings": lambda: by_fstrings,
    "Jinja2": jinja2_page,
    "framework.xhtml, add()": framework_generic,
    "framework.xhtml, methods": framework_tags,
    "framework.xhtml, tags": framework_functions,
    "framework.xhtml, add_table()": framework_widget,
    "framework.xhtml, streamed": framework_streamed,
    "xml.etree": elementtree_page,
    "lxml.builder": lxml_page,
    "htpy": htpy_page,
    "dominate": dominate_page,
}


def cells_of(text: str) -> list[str]:
    """All cells, to see that every entry says the same."""
    tree = etree.fromstring(str(text).removeprefix("<!doctype html>"))
    return ["".join(cell.itertext()) for cell in tree.iter() if cell.tag.rpartition("}")[2] == "td"]


def installed() -> tuple[dict[str, Page], list[str]]:
    """The pages that can be made here, and the names of those that cannot."""
    pages, missing = {}, []
    for name, make in ENTRIES.items():
        try:
            pages[name] = make()
        except ImportError:
            missing.append(name)
    return pages, missing


def measure(pages: dict[str, Page], rows: list[tuple[str, str, str, str]], rounds: int) -> dict[str, list[float]]:
    """Seconds for one page, by entry and round; rounds are interleaved, each is the mean of some repetitions."""
    times: dict[str, list[float]] = {name: [] for name in pages}
    for _ in range(rounds):
        for name, page in pages.items():
            repetitions = 5 if name in ("htpy", "dominate") else 20
            gc.collect()
            start = time.perf_counter()
            for _ in range(repetitions):
                page(rows)
            times[name].append((time.perf_counter() - start) / repetitions)
    return times


def bytes_per_element(rows: list[tuple[str, str, str, str]]) -> float:
    """Memory of one element of the table, its text not counted (the rows hold it)."""
    from framework.xhtml import Element
    from framework.xhtml.implementation import tree

    assert tree  # whose own memory is not counted
    tracemalloc.start()
    table = Element("tbody")
    before = tracemalloc.get_traced_memory()[0]
    for row in rows:
        line = table.add("tr")
        for cell in row:
            line.add("td", cell)
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return size / (5 * len(rows))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args(argv)
    from framework.xhtml.implementation import chosen

    rows = rows_of(arguments.rows)
    pages, missing = installed()
    expected = [cell for row in rows for cell in row]
    for name, page in pages.items():
        if cells_of(page(rows)) != expected:
            print(f"{name} does not make the same table", file=sys.stderr)
            return 1
    times = measure(pages, rows, arguments.rounds)
    medians = {name: statistics.median(each) for name, each in times.items()}
    base = medians.get("Jinja2", medians["f-strings"])
    results: dict[str, Any] = {
        name: {"microseconds": round(value * 1e6, 1), "to_jinja2": round(value / base, 3)}
        for name, value in medians.items()
    }
    print(f"The tree of framework.xhtml is the {chosen} twin.\n")
    print(f"| {arguments.rows} rows, built and written | µs | × Jinja2 |\n|---|---:|---:|")
    for name, value in sorted(medians.items(), key=lambda item: item[1]):
        print(f"| {name} | {value * 1e6:,.0f} | {value / base:.2f} |")
    size = bytes_per_element(rows)
    print(f"\nMemory of one element: {size:.0f} bytes.")
    if missing:
        print(f"Left out, not installed: {', '.join(missing)}.")
    if arguments.json:
        facts = {"python": sys.version.split()[0], "tree": chosen, "rows": arguments.rows, "rounds": arguments.rounds}
        text = json.dumps({**facts, "bytes_per_element": round(size), "results": results}, indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
