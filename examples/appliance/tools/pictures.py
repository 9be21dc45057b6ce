"""Pictures of the running demo, as they stand in the README.

    make demo                                               in one terminal
    .venv/bin/python examples/appliance/tools/pictures.py   in another; --url http://127.0.0.1:8080 --folder docs/images

Watches the overview for `--seconds` first, so that the charts have something to show. Needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, sync_playwright

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1", "--force-color-profile=srgb",
]  # fmt: skip
PICTURES = (
    ("demo.png", "console.localhost", "/status/", "light", (1280, 1080)),
    ("demo-dark.png", "console.localhost", "/status/", "dark", (1280, 1080)),
    ("demo-privileges.png", "console.localhost", "/status/privileges", "light", (1280, 800)),
    ("demo-wall.png", "wall.localhost", "/", "dark", (1280, 720)),
    ("demo-narrow.png", "console.localhost", "/status/", "light", (360, 780)),
)


def take(browser: Browser, url: str, scheme: str, size: tuple[int, int], file: Path) -> None:
    """One picture, after the page has been refreshed once."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    if page.locator("body[data-rpc]").count():
        page.wait_for_function("() => document.body.dataset.refreshes >= 1")
    page.screenshot(path=file)
    context.close()
    print(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="where the demo listens")
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to watch first")
    arguments = parser.parse_args()
    port = urlsplit(arguments.url).port or 80
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=FLAGS)
        page = browser.new_page()
        page.goto(f"http://console.localhost:{port}/status/")
        page.wait_for_timeout(arguments.seconds * 1000)
        for name, host, path, scheme, size in PICTURES:
            take(browser, f"http://{host}:{port}{path}", scheme, size, arguments.folder / name)
        browser.close()


if __name__ == "__main__":
    main()
