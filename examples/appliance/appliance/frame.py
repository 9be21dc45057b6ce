"""What all pages of the console share: head, navigation, the foot that says who made the page.

The static folder is the front end's, at /static. Links to the pages of either back end are asked for by name:
`request.get_url("notes:index")`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from appliance.charts import HEIGHT, WIDTH, Chart
from appliance.proc import user_name
from framework import Request, Response
from framework.xhtml import Document, Element

MENU = (
    ("status:overview", "Overview"),
    ("status:processes", "Processes"),
    ("notes:index", "Notes"),
    ("status:privileges", "Privileges"),
)
LOGO = "M3 7a3 3 0 0 1 3-3h12a3 3 0 0 1 3 3v10a3 3 0 0 1-3 3H6a3 3 0 0 1-3-3ZM6.5 13h2.2l1.8-4.5 3 8 1.8-3.5h2.2"


def not_kept(request: Request, next: Callable[[Request], Response]) -> Response:
    """Middleware: no cache keeps a page, as its figures are of the moment and its forms of one visitor."""
    response = next(request)
    if response.get_header("Cache-Control") is None:
        response.set_header("Cache-Control", "private, no-cache")
    return response


def page(request: Request, title: str, current: str, **live: str) -> tuple[Document, Element]:
    """A page and its main part. `current` is its entry in the menu; `live` are data for static/live.mjs."""
    document = Document(title=f"{title} · {host_name()}", lang="en", get_url=request.get_url)
    document.head.add_meta("color-scheme", "light dark")
    document.head.add_icon("/static/icon.svg", type="image/svg+xml")
    document.head.add_stylesheet("/static/console.css")
    if live:
        document.head.add_script_module("/static/live.mjs")
        document.body.set(**{f"data_{name}": value for name, value in live.items()})
    document.body.add_anchor("To the content", "#main", class_="skip")
    _add_bar(document.body, request, current)
    main = document.body.add("main", id="main")
    _add_foot(document.body)
    return document, main


def add_title(main: Element, title: str, note: str) -> Element:
    """The page's heading and a line under it; returns the place for what stands beside them."""
    row = main.add("div", class_="title")
    words = row.add("div")
    words.add_heading(1, title)
    words.add_paragraph(note)
    return row.add("div", class_="title-actions")


def add_live_sign(place: Element) -> None:
    """Says whether the figures are fresh, with a button to hold them; the script fills both."""
    place.add("span", "As of loading the page", class_="live", role="status", data_live=True)
    place.add("button", "Pause", type="button", class_="quiet", hidden=True, data_pause=True)


def add_card(place: Element, title: str, *, class_: str = "card") -> Element:
    """A section with a heading."""
    return place.add_section(title, class_=class_)


def add_table_place(card: Element, label: str) -> Element:
    """Where a table may be wider than the screen: it scrolls by itself, by keyboard too."""
    return card.add("div", class_="scroll", tabindex="0", role="region", aria_label=label)


# What assistive technology is told stands on an element around each drawing: SVG 1.1 has no aria-* attributes, and a
# checker of XML refuses them on the drawing itself.
def add_chart(place: Element, name: str, chart: Chart) -> Element:
    """An inline SVG of one or two series, with its meaning in words."""
    box = place.add("div", class_="chart", role="img", aria_label=chart.text, data_chart=name)
    svg = box.add("svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", preserveAspectRatio="none")
    svg.add("path", class_="grid-line", d=f"M0 {HEIGHT / 2:g}H{WIDTH}")
    for series, line, area in zip(("first", "second"), chart.lines, chart.areas, strict=False):
        group = svg.add("g", class_=series)
        group.add("path", class_="area", d=area)
        group.add("path", class_="line", d=line)
    return box


def add_bar(place: Element, name: str, percent: float) -> None:
    """A share as a bar. The figure stands beside it as text, so the bar is hidden from screen readers."""
    box = place.add("div", class_="bar-chart", aria_hidden=True)
    svg = box.add("svg", viewBox="0 0 100 1", preserveAspectRatio="none")
    svg.add("rect", width=f"{percent:g}", height="1", data_bar=name)


def add_icon(place: Element, path: str) -> Element:
    """A line drawing of 24 × 24 units in the text's colour."""
    box = place.add("span", class_="icon", aria_hidden=True)
    box.add("svg", viewBox="0 0 24 24").add("path", d=path)
    return box


def host_name() -> str:
    """The machine's name, as it calls itself."""
    return os.uname().nodename or "appliance"


def user() -> str:
    """The name of the user of this process, from the kernel."""
    return user_name(os.geteuid())


def identity() -> str:
    """The same with its number."""
    return f"{user()} (uid {os.geteuid()})"


def _add_bar(body: Element, request: Request, current: str) -> None:
    inner = body.add("header", class_="bar").add("div", class_="bar-inner")
    brand = inner.add_anchor("", request.get_url(MENU[0][0]), class_="brand")
    add_icon(brand, LOGO)
    brand.add("span", host_name())
    links = [(title, request.get_url(handler)) for handler, title in MENU]
    inner.add_navigation(links, label="Pages", current=request.get_url(current), class_="menu")


def _add_foot(body: Element) -> None:
    inner = body.add("footer", class_="foot").add("div", class_="foot-inner")
    made_by = Element("strong", user())
    inner.add_paragraph(
        "This page was made by user ", made_by,
        f", uid {os.geteuid()}, group {os.getegid()}, in process {os.getpid()} on {host_name()}.",
    )  # fmt: skip
