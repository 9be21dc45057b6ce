"""Writes the gallery of widgets into docs/xhtml.md: the source of each beside a picture of it.

`python -m examples.gallery` from the project's folder; needs playwright and Chromium (`CHROMIUM`, /usr/bin/chromium by
default). `python -m examples.gallery --page` prints the gallery as one page instead.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.gallery.gallery import WIDGETS, build, line_chart_with_names, messages, new_page, table
from framework.xhtml import Element

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "xhtml.md"
PICTURES = ROOT / "docs" / "xhtml"
BEGIN, END = "<!-- gallery: written by python -m examples.gallery -->", "<!-- end of gallery -->"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTH = 640
"""Of a picture, in pixels of the page."""

DARK = (table, messages, line_chart_with_names)


def title_of(widget: Callable[[Element], None]) -> str:
    """`line_chart` → "Line chart"."""
    name = widget.__name__.replace("_", " ")
    return name[0].upper() + name[1:]


def page_of(*widgets: Callable[[Element], None]) -> bytes:
    """A page with one widget alone, or several."""
    page = new_page(title_of(widgets[0]))
    page.head.add_theme()
    section = page.body.add("section", id="widget")
    for widget in widgets:
        widget(section)
    return page.encode()


def take_pictures() -> None:
    """One picture of each widget, and one of some in the dark."""
    from playwright.sync_api import sync_playwright

    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for widget in WIDGETS:
            picture(browser, page_of(widget), "#widget", f"{widget.__name__}.png", width=WIDTH)
        picture(browser, page_of(*DARK), "#widget", "dark.png", width=WIDTH, color_scheme="dark")
        browser.close()


def picture(browser: Any, data: bytes, selector: str, name: str, *, width: int, **options: Any) -> None:
    """A picture of what a selector finds in a page."""
    context = browser.new_context(viewport={"width": width, "height": 600}, reduced_motion="reduce", **options)
    page = context.new_page()
    page.route("**/rpc?*", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.set_content(data.decode())
    page.locator(selector).screenshot(path=PICTURES / name)
    context.close()


def guide_with(text: str) -> str:
    """The guide with the gallery between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    parts = []
    for widget in WIDGETS:
        title = title_of(widget)
        source = inspect.getsource(widget).strip()
        parts.append(f"### {title}\n\n```python\n{source}\n```\n\n![{title}](xhtml/{widget.__name__}.png)\n")
    return f"{before}{BEGIN}\n\n{chr(10).join(parts)}\n{END}{after}"


def main() -> None:
    """Pictures first, then the text."""
    if "--page" in sys.argv[1:]:
        sys.stdout.buffer.write(build().encode())
        return
    take_pictures()
    GUIDE.write_text(guide_with(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
