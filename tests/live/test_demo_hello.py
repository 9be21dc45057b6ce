"""The ten lines of the README, through `sitectl dev` without root: a page, and a remote call from it."""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import demo_site
import pytest
from demo_site import DEMO, ROOT, Running

pytest.importorskip("uvicorn", reason="needs uvicorn")
pytest.importorskip("playwright.sync_api", reason="needs playwright")

import demo_browser
from demo_browser import page_of
from playwright.sync_api import expect

if not Path(demo_browser.CHROMIUM).exists():
    pytest.skip("needs chromium", allow_module_level=True)

HELLO = ROOT / "examples" / "hello"
pytestmark = pytest.mark.timeout(300)
expect.set_options(timeout=30_000)


def as_nobody(place: Path) -> dict[str, Any]:
    """Options of Popen: an ordinary user without any right, with a home of its own."""
    home = place / "home"
    home.mkdir()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(ROOT), "TMPDIR": os.environ["TMPDIR"]}
    if not demo_site.is_root():
        return {"env": environment}
    account = pwd.getpwnam("nobody")
    os.chown(home, account.pw_uid, account.pw_gid)
    return {"env": environment, "user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Running]:
    with demo_site.folder() as place:
        file = demo_site.derive(place, request.param)
        command = [sys.executable, "-m", "framework.cli", "dev", str(file)]
        with demo_site.serving(command, file, place / "log", **as_nobody(place)) as running:
            yield running


@pytest.mark.parametrize("site", [HELLO], indirect=True)
def test_a_page_and_a_remote_call(site: Running) -> None:
    assert site.visitor("localhost").call("/hello/rpc", "load")["result"] >= 0
    with demo_browser.chromium() as browser, page_of(browser, expected="/favicon.ico") as page:
        called = page.expect_response(lambda answer: answer.request.method == "POST")
        with called as answer:
            page.goto(site.url("/", host="localhost"))
        shown = "figure => document.getElementById('load').value === String(figure)"
        page.wait_for_function(shown, arg=answer.value.json()["result"])


@pytest.mark.parametrize("site", [DEMO], indirect=True)
def test_the_demo_without_root_says_that_nothing_is_separated(site: Running) -> None:
    visitor = site.visitor()
    words = visitor.get("/status/privileges").main()
    assert "nothing separates them" in words
    assert "List the folder of notes" in words
    assert "Allowed" in words
    assert re.search(r"sitectl dev \w+ ", words)
    assert "Back end notes" in words
    assert visitor.call("/status/rpc", "figures")["result"]["uptime_seconds"] > 0
    with demo_browser.chromium() as browser, page_of(browser) as page:
        page.goto(site.url("/notes/"))
        page.get_by_role("textbox", name=re.compile("^Title")).fill("By the gateway")
        page.get_by_role("button", name="Add note").click()
        expect(page.get_by_role("heading", name="By the gateway")).to_be_visible()
        page.goto(site.url("/status/"))
        page.wait_for_function("() => Number(document.body.dataset.refreshes) >= 2")


def test_the_readme_shows_this_very_example() -> None:
    readme = (ROOT / "README.md").read_text()
    code = (HELLO / "hello.py").read_text()
    assert code[code.index("def load") :].strip() in readme
    assert (HELLO / "static" / "load.mjs").read_text().strip() in readme
