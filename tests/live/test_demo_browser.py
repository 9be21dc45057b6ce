"""The demo as a person meets it: lighttpd, two users, headless Chromium. Pictures are kept in .artifacts/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import demo_site
import pytest
from demo_site import WALL, Running

pytest.importorskip("playwright.sync_api", reason="needs playwright")
if not demo_site.is_root():
    pytest.skip("needs root: the parts run under users of their own", allow_module_level=True)

import demo_browser
from demo_browser import page_of
from nu_validator import problems
from playwright.sync_api import Browser, Locator, Page, Route, expect

if not Path(demo_browser.CHROMIUM).exists():
    pytest.skip("needs chromium", allow_module_level=True)

pytestmark = pytest.mark.timeout(300)
expect.set_options(timeout=30_000)

PAGES = ("/status/", "/status/processes", "/status/privileges", "/notes/", "/notes/privileges")
REFRESHED = "() => Number(document.body.dataset.refreshes ?? 0) >= {count}"
ROOT = demo_site.ROOT


@pytest.fixture(scope="module")
def demo() -> Iterator[Running]:
    with demo_site.running() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with demo_browser.chromium() as running:
        yield running


def await_refreshes(page: Page, count: int) -> None:
    page.wait_for_function(REFRESHED.format(count=count))


def field(page: Page, label: str) -> Locator:
    # get_by_label() and input_value() know upper-case names only; in XHTML documents they are lower-case.
    return page.get_by_role("textbox", name=re.compile(f"^{label}( required)?$"))


def value_of(place: Locator) -> str:
    return str(place.evaluate("element => element.value"))


class TestLiveFigures:
    def test_change_by_themselves(self, demo: Running, browser: Browser, artifacts: Path) -> None:
        with page_of(browser) as page:
            page.goto(demo.url("/"))
            assert page.url.endswith("/status/")
            clock, line = page.locator("[data-text=time]"), page.locator("[data-chart=cpu] .line")
            before = clock.inner_text(), line.get_attribute("d")
            await_refreshes(page, 3)
            assert clock.inner_text() != before[0]
            assert line.get_attribute("d") != before[1]
            expect(page.locator("[data-live]")).to_have_text("Live, every 2 s")
            page.screenshot(path=artifacts / "demo-overview.png", full_page=True)

    def test_hold_when_asked_and_go_on(self, demo: Running, browser: Browser) -> None:
        with page_of(browser) as page:
            page.goto(demo.url("/status/"))
            await_refreshes(page, 1)
            page.get_by_role("button", name="Pause").click()
            expect(page.locator("[data-live]")).to_have_text("Paused")
            held = page.evaluate("document.body.dataset.refreshes")
            page.wait_for_timeout(2500)
            assert page.evaluate("document.body.dataset.refreshes") == held
            page.get_by_role("button", name="Go on").click()
            await_refreshes(page, int(held) + 1)

    def test_of_processes_keep_their_order(self, demo: Running, browser: Browser, artifacts: Path) -> None:
        with page_of(browser) as page:
            page.goto(demo.url("/status/processes"))
            page.get_by_role("link", name="pid").click()
            await_refreshes(page, 2)
            pids = [int(text) for text in page.locator("tbody tr td:nth-child(2)").all_inner_texts()]
            assert len(pids) > 3
            assert pids == sorted(pids)
            page.screenshot(path=artifacts / "demo-processes.png", full_page=True)

    def test_say_when_the_back_end_is_away_and_recover(self, demo: Running, browser: Browser) -> None:
        context = browser.new_context()
        context.set_default_timeout(demo_browser.PATIENCE)
        page = context.new_page()
        try:
            page.goto(demo.url("/status/"))
            await_refreshes(page, 1)
            context.set_offline(True)
            expect(page.locator("[data-live]")).to_have_text(re.compile("No answer"))
            context.set_offline(False)
            expect(page.locator("[data-live]")).to_have_text("Live, every 2 s")
        finally:
            context.close()

    def test_of_the_wallboard(self, demo: Running, browser: Browser, artifacts: Path) -> None:
        with page_of(browser, color_scheme="dark", viewport={"width": 1920, "height": 1080}) as page:
            page.goto(demo.url("/", host=WALL))
            before = page.locator(".clock").inner_text()
            await_refreshes(page, 3)
            assert page.locator(".clock").inner_text() != before
            assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
            page.screenshot(path=artifacts / "demo-wall.png")

    def test_are_there_without_a_script(self, demo: Running, browser: Browser) -> None:
        context = browser.new_context(java_script_enabled=False)
        context.set_default_timeout(demo_browser.PATIENCE)
        try:
            page = context.new_page()
            page.goto(demo.url("/status/"))
            assert re.fullmatch(r"[0-9.]+ %", page.locator("[data-text=cpu]").inner_text())
            assert page.get_by_role("button", name="Pause").count() == 0
            page.goto(demo.url("/notes/"))
            field(page, "Title").fill("Without a script")
            page.get_by_role("button", name="Add note").click()
            expect(page.get_by_role("heading", name="Without a script")).to_be_visible()
        finally:
            context.close()

    def test_are_reached_by_import(self, demo: Running, browser: Browser) -> None:
        with page_of(browser) as page:
            page.goto(demo.url("/status/"))
            wrong = page.evaluate(
                """async () => {
                    const { default: status } = await import("/status/rpc");
                    const { cpu_percent } = await status.figures();
                    if (!(cpu_percent >= 0 && cpu_percent <= 100)) return `cpu ${cpu_percent}`;
                    try { await status.processes("colour"); } catch (error) { return error.name; }
                }"""
            )
            assert wrong == "ValueError"


class TestPrivileges:
    def test_a_button_makes_the_attempts_again(self, demo: Running, browser: Browser) -> None:
        with page_of(browser) as page:
            page.goto(demo.url("/status/privileges"))
            page.get_by_role("button", name="Try again").click()
            expect(page.locator("output")).to_have_text(re.compile("^At [0-9:]{8} the kernel refused 8 of 8 attempts"))


class TestNotes:
    def test_written_read_changed_and_deleted(self, demo: Running, browser: Browser, artifacts: Path) -> None:
        with page_of(browser) as page:
            page.goto(demo.url("/notes/"))
            assert page.evaluate("document.contentType") == "application/xhtml+xml"
            field(page, "Title").fill("Spare parts")
            field(page, "Text").fill("Second drawer.\nLeft.")
            page.get_by_role("button", name="Add note").click()
            expect(page.get_by_text("The note was added.")).to_be_visible()
            note = page.locator("li.card", has_text="Spare parts")
            expect(note.locator(".note-text")).to_have_text("Second drawer.\nLeft.")
            page.screenshot(path=artifacts / "demo-notes.png", full_page=True)
            page.reload()
            assert page.locator("li.card", has_text="Spare parts").count() == 1
            note.get_by_role("link", name="Edit").click()
            field(page, "Title").fill("Spare filters")
            page.get_by_role("button", name="Save").click()
            page.locator("li.card", has_text="Spare filters").get_by_role("link", name="Delete").click()
            page.get_by_role("button", name="Delete").click()
            expect(page.get_by_text("The note was deleted.")).to_be_visible()
            assert page.get_by_text("Spare filters").count() == 0

    @pytest.mark.parametrize(
        "text", ["<script>document.title='owned'</script>", "</textarea><img src=x onerror=alert(1)>"]
    )
    def test_with_markup_show_it_as_text(self, demo: Running, browser: Browser, text: str) -> None:
        with page_of(browser) as page:
            page.goto(demo.url("/notes/"))
            field(page, "Title").fill(text)
            field(page, "Text").fill(text)
            page.get_by_role("button", name="Add note").click()
            note = page.locator("li.card", has=page.get_by_role("heading", name=text)).first
            expect(note.locator(".note-text")).to_have_text(text)
            note.get_by_role("link", name="Edit").click()
            assert value_of(field(page, "Text")) == text
            assert page.title().startswith("Edit note")

    def test_a_mistake_leads_to_its_field(self, demo: Running, browser: Browser) -> None:
        with page_of(browser, expected="422") as page:
            page.goto(demo.url("/notes/"))
            field(page, "Title").fill("x" * 121)
            field(page, "Text").fill("kept")
            page.get_by_role("button", name="Add note").click()
            page.get_by_role("alert").get_by_role("link").click()
            expect(field(page, "Title")).to_be_focused()
            assert value_of(field(page, "Title")) == "x" * 121
            assert value_of(field(page, "Text")) == "kept"


class TestForEverybody:
    @pytest.mark.parametrize(("form", "kind"), [("html", "text/html"), ("xml", "application/xhtml+xml")])
    def test_all_pages_are_valid(self, demo: Running, tmp_path: Path, form: str, kind: str) -> None:
        visitor = demo.visitor()
        fields = visitor.hidden("/notes/")
        assert visitor.post("/notes/", {**fields, "title": "Valid", "text": "<&>\n]]>"}).status == 303
        note = re.findall(r"/notes/[0-9]+/", visitor.get("/notes/").text)[0]
        places = [*PAGES, "/notes/?q=zzz", "/notes/?q=Valid", "/notes/?done=added", f"{note}edit", f"{note}delete"]
        pages = [visitor.get(path, Accept=kind) for path in (*places, "/notes/999999/edit", "/status/nowhere")]
        pages.append(visitor.post("/notes/", {**fields, "title": ""}, Accept=kind))
        wall = demo.visitor(WALL)
        pages += [wall.get("/", Accept=kind), wall.get("/nowhere", Accept=kind)]
        assert {page.headers.get_content_type() for page in pages} == {kind}
        assert sorted(page.status for page in pages) == [200] * 11 + [404] * 3 + [422]
        named = {f"{number}-{page.status}": page.body for number, page in enumerate(pages)}
        assert problems(named, tmp_path, form) == []

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing(self, demo: Running, browser: Browser, scheme: str) -> None:
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
        found = []
        # axe is put into the page as a script, which the site's policy forbids.
        context = browser.new_context(bypass_csp=True, color_scheme=scheme)
        context.set_default_timeout(demo_browser.PATIENCE)
        try:
            page = context.new_page()
            page.route("**/*", as_html)
            for path in (*PAGES, "/notes/?q=zzz"):
                page.goto(demo.url(path))
                found += [f"{path}: {entry['id']} {entry['nodes'][0]['html']}" for entry in violations(axe, page)]
            page.goto(demo.url("/notes/"))
            field(page, "Title").fill("x" * 121)
            page.get_by_role("button", name="Add note").click()
            page.get_by_role("alert").wait_for()
            found += [f"mistake: {entry['id']} {entry['nodes'][0]['html']}" for entry in violations(axe, page)]
            page.goto(demo.url("/", host=WALL))
            found += [f"wall: {entry['id']} {entry['nodes'][0]['html']}" for entry in violations(axe, page)]
        finally:
            context.close()
        assert found == []

    @pytest.mark.parametrize("width", [320, 360, 768])
    def test_no_page_is_wider_than_the_screen(self, demo: Running, browser: Browser, width: int) -> None:
        with page_of(browser, viewport={"width": width, "height": 700}) as page:
            for url in (*map(demo.url, PAGES), demo.url("/", host=WALL)):
                page.goto(url)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, url

    def test_by_keyboard(self, demo: Running, browser: Browser) -> None:
        with page_of(browser) as page:
            page.goto(demo.url("/status/"))
            page.keyboard.press("Tab")
            skip = page.get_by_role("link", name="To the content")
            expect(skip).to_be_focused()
            expect(skip).to_be_in_viewport()
            page.keyboard.press("Tab")
            page.keyboard.press("Tab")
            expect(page.get_by_role("link", name="Overview")).to_be_focused()
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid"

    def test_what_is_not_there_has_a_page_that_looks_like_one(self, demo: Running, browser: Browser) -> None:
        with page_of(browser, expected="404") as page:
            page.goto(demo.url("/notes/999999/edit"))
            expect(page.get_by_text("There is no such note")).to_be_visible()
            assert page.evaluate("getComputedStyle(document.querySelector('main')).borderTopStyle") == "solid"

    def test_dark_and_light_differ(self, demo: Running, browser: Browser) -> None:
        colours = []
        for scheme in ("light", "dark"):
            with page_of(browser, color_scheme=scheme) as page:
                page.goto(demo.url("/status/"))
                colours.append(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
        assert len(set(colours)) == 2

    def test_nothing_moves_for_those_who_want_that(self, demo: Running, browser: Browser) -> None:
        with page_of(browser, reduced_motion="reduce") as page:
            page.goto(demo.url("/status/"))
            moving = page.evaluate(
                """[...document.querySelectorAll("*")].filter(element => {
                    const style = getComputedStyle(element);
                    return style.transitionDuration !== "0s" && style.transitionProperty !== "none"
                        || style.animationName !== "none";
                }).length"""
            )
            assert moving == 0

    def test_paper_shows_figures_and_no_buttons(self, demo: Running, browser: Browser) -> None:
        with page_of(browser) as page:
            page.goto(demo.url("/status/"))
            await_refreshes(page, 1)
            page.emulate_media(media="print")
            expect(page.locator("[data-text=cpu]")).to_be_visible()
            expect(page.get_by_role("navigation")).to_be_hidden()
            assert page.locator("button:visible").count() == 0


def as_html(route: Route) -> None:
    """Asks for HTML: axe knows elements by HTML's names."""
    route.continue_(headers={**route.request.headers, "accept": "text/html"})


def violations(axe: object, page: Page) -> list[dict[str, list[dict[str, str]]]]:
    return axe.run(page).response["violations"]  # type: ignore[attr-defined,no-any-return]
