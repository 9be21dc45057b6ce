"""Framework applications in a running site: their URL tables, URLs across back ends, and `sitectl urls`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_site import RunningSite, discard, open_folder, running_site

from framework.process.describe import url_tables
from framework.site import load

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: back ends run as users of their own")

PAGES = """\
import os
from framework import App, Response

def overview(request):
    urls = request.get_url("other:edit", number=7), request.get_url("overview")
    return Response.text(" ".join((str(os.getuid()), *urls)))

def edit(request, number: int):
    return Response.text(f"edit {number}")

app = App([(r"^/$", overview, "overview"), (r"^/edit/(?P<number>[0-9]+)$", edit, "edit")])
"""


@pytest.fixture(scope="module")
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.add_backend("pages", application="pages:app")
    site.add_backend("other", application="pages:app", prefix="/elsewhere")
    site.add_backend("plain")
    site.add_backend("broken", application="nothing:app")
    site.write_code("pages.py", PAGES)
    try:
        with running_site(site):
            yield site
    finally:
        discard(folder)


def test_a_back_end_knows_the_urls_of_another(site: RunningSite) -> None:
    assert site.text("/pages/").split()[1:] == ["/elsewhere/edit/7", "/pages/"]
    assert site.text("/elsewhere/edit/7") == "edit 7"


def test_each_table_is_a_file_that_all_may_read_and_only_root_may_write(site: RunningSite) -> None:
    path = site.run_directory / "urls" / "pages.json"
    rows = json.loads(path.read_text())
    assert [(row["pattern"], row["name"]) for row in rows] == [
        ("^/$", "overview"),
        ("^/edit/(?P<number>[0-9]+)$", "edit"),
    ]
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.stat().st_uid == 0
    assert not (site.run_directory / "urls" / "broken.json").exists()


def test_the_tables_can_be_had_without_a_running_site(site: RunningSite) -> None:
    """Each application is imported as its user: the table of one that tells its uid shows it."""
    site.write_code(
        "telling.py", "import os\nfrom framework import App\napp = App([(f'^/{os.getuid()}$', lambda r: '', 'x')])\n"
    )
    site.backends["pages"]["application"] = "telling:app"
    site.write_site()
    try:
        tables = url_tables(load(site.file))
    finally:
        site.backends["pages"]["application"] = "pages:app"
        site.write_site()
    assert [row["pattern"] for row in tables["pages"]] == [f"^/{site.part('pages')['uid']}$"]
    assert tables["plain"] == []
    assert isinstance(tables["broken"], str)
    assert tables["broken"].startswith("cannot import 'nothing': there is no module 'nothing' in ")


def test_an_import_that_floods_or_forges_its_table_is_refused(site: RunningSite) -> None:
    """An application can write what it likes into the pipe: nothing but rows of text comes through."""
    flood = "import os\nos.write(3, b'[' * 300000)\nos._exit(0)\n"
    row = "{'pattern': 'a\\x1b[2J', 'handler': 'h', 'name': None}"
    forged = f"import os, json\nos.write(3, json.dumps([{row}]).encode())\nos._exit(0)\n"
    wrong = "import os\nos.write(3, b'[{\"pattern\": 1}]')\nos._exit(0)\n"
    silent = "import os\nos._exit(0)\n"
    expected = {
        flood: "its URL table is larger than 262144 bytes",
        forged: [{"pattern": "a\\x1b[2J", "handler": "h", "name": None}],
        wrong: "its URL table has not the form [{pattern, handler, name}]",
        silent: "it ended without a word",
    }
    site.backends["pages"]["application"] = "hostile:app"
    site.write_site()
    try:
        for code, table in expected.items():
            site.write_code("hostile.py", code)
            assert url_tables(load(site.file))["pages"] == table
    finally:
        site.backends["pages"]["application"] = "pages:app"
        site.write_site()


def test_sitectl_urls_shows_the_whole_tree(site: RunningSite) -> None:
    done = site.sitectl("urls")
    assert re.search(rf"console\.localhost.*edit.*other.*{site.user_of('other')}", done.stdout), (
        done.stdout + done.stderr
    )
    assert "nothing" in done.stdout + done.stderr
