"""In a real browser: no text becomes a script, widgets are accessible, live charts draw what the server would."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from demo_browser import CHROMIUM, chromium, page_of
from static_pages import POLICY, serving
from xhtml_payloads import PAYLOADS, page_with

from examples.gallery.gallery import build
from framework.rpc.module import make_calls
from framework.xhtml import Document, charts_js
from framework.xhtml.charts import bar_chart, line_chart, sparkline
from framework.xhtml.theme import theme_css

pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs chromium"),
    pytest.mark.timeout(300),
]

FORMS = {"xhtml": "application/xhtml+xml; charset=utf-8", "html": "text/html; charset=utf-8"}

WATCH = """
    window.ran = [];
    window.alert = text => window.ran.push(String(text));
    window.msgbox = window.alert;
"""
POKE = """() => {
    for (const element of document.querySelectorAll("*"))
        for (const kind of ["mouseover", "focus", "load", "error", "click", "submit"])
            if (!(element.localName === "input" && kind === "click"))
                element.dispatchEvent(new Event(kind, { bubbles: true, cancelable: true }));
    return [window.ran, document.querySelector("parsererror")?.textContent ?? ""];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.mark.invalid_pages("the text stands in ids, URLs and style rules, too")
@pytest.mark.parametrize("form", sorted(FORMS))
def test_no_payload_runs(browser: Any, form: str) -> None:
    pages = {}
    for number, payload in enumerate(PAYLOADS):
        document = page_with(payload)
        for refresh in document.find_all("meta[http-equiv]"):
            refresh.remove()
        pages[f"/{number}"] = (FORMS[form], document.encode())
    ran = []
    with serving(pages, policy=None) as address:
        context = browser.new_context()
        context.add_init_script(WATCH)
        # Whatever else a payload names (an image, an icon) does not exist; only the pages themselves are let through.
        context.route(lambda url: not re.fullmatch(r"/\d+", url.removeprefix(address)), lambda route: route.abort())
        page = context.new_page()
        for number, payload in enumerate(PAYLOADS):
            page.goto(f"{address}/{number}", wait_until="domcontentloaded")
            found, broken = page.evaluate(POKE)
            if found or broken:
                ran.append((payload, found, broken))
        context.close()
    assert ran == []


def test_a_script_would_have_been_seen(browser: Any) -> None:
    pages = {
        "/": (FORMS["html"], b"<!DOCTYPE html><title>t</title><p onmouseover='alert(2)'>x<script>alert(1)</script>")
    }
    with serving(pages, policy=None) as address:
        context = browser.new_context()
        context.add_init_script(WATCH)
        page = context.new_page()
        page.goto(f"{address}/")
        assert set(page.evaluate(POKE)[0]) == {"1", "2"}
        context.close()


def gallery(kind: str) -> dict[str, tuple[str, bytes]]:
    """The gallery under a strict policy: its style sheet by URL, and the module of its buttons, which Chromium refuses
    in XML documents.
    """
    page = build()
    page.find("style").remove()  # type: ignore[union-attr]
    page.head.add_theme("/theme.css")
    script = page.find("script[src]")
    assert script is not None
    module = str(script.get("src"))
    if kind == "xhtml":
        script.remove()
    return {
        "/": (FORMS[kind], page.encode()),
        "/theme.css": ("text/css", theme_css().encode()),
        module: ("text/javascript", make_calls()[0]),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_in_the_gallery(browser: Any, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    with serving(gallery("html"), policy=None) as address:
        options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}, "reduced_motion": "reduce"}
        with page_of(browser, **options) as page:
            page.goto(f"{address}/")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            found = axe.run(page).response["violations"]
    assert [(entry["id"], node["html"][:200]) for entry in found for node in entry["nodes"]] == []


@pytest.mark.parametrize("kind", FORMS)
def test_gallery_needs_no_exception_from_a_strict_policy(browser: Any, kind: str) -> None:
    with serving(gallery(kind), POLICY + "; img-src data:") as address, page_of(browser) as page:
        page.goto(f"{address}/")
        assert page.evaluate("document.contentType") == FORMS[kind].partition(";")[0]
        assert page.evaluate("getComputedStyle(document.body).display") == "flex"


def test_live_charts_draw_what_the_server_draws(browser: Any) -> None:
    def charts(new: bool) -> Document:
        document = Document("t")
        one = [5.5, None, 7, 1e7, 3] if new else [1, 2]
        two = {"in": [1, 9.25, 4], "out": [0.001, None, 2]} if new else {"in": [1], "out": [3]}
        bars = {"a": 30.5, "b <": 0} if new else {"a": 1, "b <": 1}
        document.body.append(
            sparkline(one, label="One", unit=" %", id="one"),
            line_chart(two, label="Two", unit=" MB", id="two", start="then", end="now"),
            line_chart(one, label="Fixed", maximum=100, minimum=None, id="fixed"),
            bar_chart(bars, label="Bars", unit=" GB", maximum=50, id="bars"),
        )
        document.head.add_script_module("/live.js")
        return document

    script = """
        import { update } from "/charts.js";
        const one = [5.5, null, 7, 1e7, 3];
        const by = id => document.getElementById(id);
        update(by("one"), one);
        update(by("two"), { in: [1, 9.25, 4], out: [0.001, null, 2] });
        update(by("fixed"), one);
        update(by("bars"), { a: 30.5, "b <": 0 });
        document.documentElement.dataset.ready = "yes";
    """
    pages = {
        "/": (FORMS["html"], charts(new=False).encode()),
        "/expected": (FORMS["html"], charts(new=True).encode()),
        "/live.js": ("text/javascript", script.encode()),
        "/charts.js": ("text/javascript", charts_js().encode()),
        "/none.js": ("text/javascript", b""),
    }
    read = """() => [...document.querySelectorAll("svg")].map(svg => new XMLSerializer().serializeToString(svg))"""
    with serving(pages) as address, page_of(browser) as page:
        page.goto(f"{address}/")
        page.wait_for_selector("[data-ready]", state="attached")
        drawn = page.evaluate(read)
        page.goto(f"{address}/expected", wait_until="domcontentloaded")
        expected = page.evaluate(read)
    for ours, server in zip(drawn, expected, strict=True):
        assert ours == server


def test_history_keeps_the_last_values(browser: Any) -> None:
    pages = {"/": (FORMS["html"], Document("t").encode()), "/charts.js": ("text/javascript", charts_js().encode())}
    code = """async () => {
        const { History, nice, short } = await import("/charts.js");
        const history = new History(3, [1]);
        const seen = [2, 3, 4].map(value => history.push(value));
        return JSON.stringify([seen, [0, 7, 0.3].map(nice), [1234.5, 1.2345, 0, 2e7].map(short)]);
    }"""
    with serving(pages) as address, page_of(browser) as page:
        page.goto(f"{address}/")
        seen, rounded, said = json.loads(page.evaluate(code))
    assert seen == [[None, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert rounded == [1, 8, 0.4]
    assert said[1:3] == ["1.23", "0"]
