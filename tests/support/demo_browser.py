"""Headless Chromium for the demo: pages with everything that went wrong on them, and pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
PATIENCE = 60_000  # milliseconds: a machine under load is slow, not wrong
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1",
]


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def page_of(browser: Browser, *, expected: str = "ERR_ABORTED", **options: Any) -> Iterator[Page]:
    """A page in a context of its own; a script error, a refused resource or a failed request fails the test at the end.

    What has the text `expected` in it is no mistake: by default a call that is under way when the page is left.
    `options` are those of `Browser.new_context`.
    """
    options = {"viewport": {"width": 1280, "height": 900}, **options}
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(_told(message)) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"{request.url}: {request.failure}"))
    page.on("response", lambda answer: wrong.append(f"{answer.url}: {answer.status}") if answer.status >= 500 else None)
    try:
        yield page
        page.evaluate("() => new Promise(done => setTimeout(done))")
    finally:
        context.close()
    assert [text for text in wrong if expected not in text] == []


def _told(message: ConsoleMessage) -> str:
    return f"{message.text} ({message.location.get('url')})"
