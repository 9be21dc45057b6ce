"""Buttons and forms that call Python, in Chromium behind real lighttpd, under a strict policy."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator

import pytest

pytest.importorskip("playwright.sync_api", reason="needs playwright")

from pathlib import Path

import demo_browser
from front_ends import FRONT_ENDS, Site
from playwright.sync_api import Page, expect

from fastcore import implementation

pytestmark = [
    pytest.mark.skipif(not Path(demo_browser.CHROMIUM).exists(), reason="needs chromium"),
    pytest.mark.timeout(300),
]
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    front_end = FRONT_ENDS["lighttpd-streaming"]
    if not shutil.which(front_end.program, path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip(f"needs {front_end.program} (scripts/debian-packages.sh)")
    twin = "compiled" if implementation.accelerated else "pure"
    with Site(front_end, dict(os.environ), twin, application="calls_application:app") as site:
        with demo_browser.chromium() as browser, demo_browser.page_of(browser) as page:
            page.goto(f"http://127.0.0.1:{site.port}/")
            yield page


def click(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def shown(page: Page, name: str) -> object:
    return page.locator(f"p:has(> button:text-is('{name}')) > output")


def test_result_is_shown_as_text_after_the_question(page: Page) -> None:
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    click(page, "Restart")
    assert asked == ["Restart?"]
    page.once("dialog", lambda dialog: dialog.accept())
    click(page, "Restart")
    expect(shown(page, "Restart")).to_have_text("<nginx> runs again, <b>1</b>")
    expect(shown(page, "Restart")).to_have_attribute("data-state", "done")


def test_progress_is_shown(page: Page) -> None:
    click(page, "Copy")
    expect(shown(page, "Copy")).to_have_text("3 disks copied")
    expect(page.locator("p > progress")).to_have_count(0)
    click(page, "Copy there")
    expect(page.locator("#result1")).to_have_text("All is copied.")
    assert page.locator("#result2").evaluate("bar => [bar.value, bar.max]") == [2, 2]


def test_what_is_yielded_is_shown(page: Page) -> None:
    click(page, "Lines")
    expect(shown(page, "Lines")).to_have_text("one two")
    click(page, "Check")
    expect(shown(page, "Check")).to_have_text("sda is good")


def test_error_is_told(page: Page) -> None:
    click(page, "Fail")
    expect(shown(page, "Fail")).to_have_text("The disk is busy.")
    expect(shown(page, "Fail")).to_have_attribute("data-state", "failed")


def test_fields_keep_their_kinds(page: Page) -> None:
    output = page.locator("form > output")
    name = page.locator("[name=name]")
    name.fill("")
    click(page, "Save")  # the browser asks for the field itself
    expect(output).to_have_text("")
    name.fill("<box>")
    page.locator("[name=key]").set_input_files({"name": "k", "mimeType": "x/y", "buffer": b"\0\xff12"})
    click(page, "Save")
    expect(output).to_have_attribute("data-state", "done")
    assert json.loads(output.text_content() or "") == {
        "name": "<box>", "size": 7, "day": "2030-01-31", "level": "loud", "quick": True, "what": ["a", "c"], "key": 4,
        "elements": "here", "many": ["x", "z"], "empty": None,
    }  # fmt: skip
    page.locator("[name=size]").fill("")
    click(page, "Save")
    expect(output).to_have_attribute("data-state", "failed")
    expect(output).to_contain_text("size")


def test_page_is_loaded_again(page: Page) -> None:
    before = page.locator("#count").inner_text()
    click(page, "Restart and reload")
    expect(page.locator("#count")).not_to_have_text(before)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    click(page, "Fail")
    click(page, "Check")
    expect(shown(page, "Check")).to_have_text("sda is good")
    expect(shown(page, "Fail")).to_have_text("The disk is busy.")
    found = axe.run(page).response["violations"]
    assert [(entry["id"], node["html"][:200]) for entry in found for node in entry["nodes"]] == []
