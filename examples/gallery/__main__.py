"""Writes the gallery of widgets into docs/xhtml.md: the source of each beside a picture of it.

`python -m examples.gallery` from the project's folder; needs playwright and Chromium (`CHROMIUM`, /usr/bin/chromium by
default). `python -m examples.gallery --page` prints the gallery as one page instead.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from examples.gallery.gallery import (
    WIDGETS,
    build,
    buttons_that_call_python,
    line_chart_with_names,
    messages,
    new_page,
    services,
    table,
)
from framework import App, Request
from framework.xhtml import Document, Element

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


def page_of(*widgets: Callable[[Element], None]) -> Document:
    """A page with one widget alone, or several."""
    page = new_page(title_of(widgets[0]))
    page.head.add_theme()
    section = page.body.add("section", id="widget")
    for widget in widgets:
        widget(section)
    return page


def show(request: Request, name: str) -> Document:
    """The page of one widget, or of those that are shown in the dark."""
    return page_of(*(DARK if name == "dark" else [widget for widget in WIDGETS if widget.__name__ == name]))


class Quiet(WSGIRequestHandler):
    """Writes no log."""

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[str]:
    """The widgets at a port of this machine, with the functions that their buttons call; gives the address."""
    app = App([(r"/rpc$", services), (r"/(?P<name>[a-z_]+)$", show)])
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def take_pictures() -> None:
    """One picture of each widget, and one of some in the dark."""
    from playwright.sync_api import sync_playwright

    PICTURES.mkdir(exist_ok=True)
    with serving() as address, sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for widget in WIDGETS:
            picture(browser, f"{address}/{widget.__name__}")
        picture(browser, f"{address}/dark", color_scheme="dark")
        browser.close()


def picture(browser: Any, url: str, **options: Any) -> None:
    """A picture of the widget at `url`; of buttons that call Python, when they have been pressed."""
    context = browser.new_context(viewport={"width": WIDTH, "height": 600}, reduced_motion="reduce", **options)
    page = context.new_page()
    page.goto(url)
    name = url.rpartition("/")[2]
    if name == buttons_that_call_python.__name__:
        press(page)
    page.locator("#widget").screenshot(path=PICTURES / f"{name}.png")
    context.close()


def press(page: Any) -> None:
    """Press both buttons and wait for the results."""
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Restart nginx").click()
    page.get_by_label("Service").fill("lighttpd")
    page.get_by_role("button", name="Restart it").click()
    page.locator("output[data-state=done]").nth(1).wait_for()


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
