"""`sitectl urls` with real applications, each imported by an interpreter of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SITE = """\
[site]
name = "urls"

[[host]]
name = "console.localhost"
backends = ["good", "plain"]

[[host]]
name = "wall.localhost"
backends = { good = "/", bad = "/bad" }

[backend.good]
application = "good:app"
user = "daemon"
group = "daemon"
[backend.plain]
application = "plain:app"
user = "bin"
group = "bin"
[backend.bad]
application = "bad:app"
user = "games"
group = "games"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="urls-"))
    path.chmod(0o755)
    (path / "good.py").write_text(
        "from framework import App\n"
        "from framework.rpc import Proxy\n"
        "def load(core: int = 0) -> float:\n    'The load of a core.'\n    return 1.0\n"
        "def overview(request): return 'x'\n"
        "def disk(request, id): return id\n"
        "app = App([(r'/$', overview, 'overview'), (r'/disk/(?P<id>[0-9]+)$', disk), (r'/rpc$', Proxy([load]))])\n"
    )
    (path / "plain.py").write_text("def app(environ, start_response): return []\n")
    (path / "bad.py").write_text("import nothing_of_this_name\n")
    (path / "site.toml").write_text(SITE)
    yield path
    shutil.rmtree(path)


def sitectl(folder: Path, *arguments: str, word: str = "urls") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "framework.cli", word, *arguments, str(folder)]
    environment = os.environ | {"XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)


def test_the_tree_names_each_handler_its_back_end_and_its_user(folder: Path) -> None:
    done = sitectl(folder)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["console.localhost", "/good/$", "good.overview", "overview", "good", "daemon"] in rows
    assert ["console.localhost", "/good/disk/(?P<id>[0-9]+)$", "good.disk", "-", "good", "daemon"] in rows
    assert ["wall.localhost", "/disk/(?P<id>[0-9]+)$", "good.disk", "-", "good", "daemon"] in rows
    assert ["console.localhost", "/plain/", "plain:app", "(WSGI)", "-", "plain", "bin"] in rows


def test_an_application_that_cannot_be_imported_is_named_and_the_others_are_shown(folder: Path) -> None:
    done = sitectl(folder, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert set(report["errors"]) == {"bad"}
    assert "nothing_of_this_name" in report["errors"]["bad"]
    assert "sitectl: back end bad:" in done.stderr
    assert {route["backend"] for route in report["routes"]} == {None, "good", "plain", "bad"}


def test_the_types_of_remote_functions_are_told_by_each_back_end(folder: Path) -> None:
    done = sitectl(folder, word="types")
    assert done.returncode == 1
    assert "back end bad:" in done.stderr
    assert "// good.d.ts: /rpc$ of back end good\n" in done.stdout
    assert "  /** The load of a core. */\n  load(core?: number | bigint): Call<number>;\n" in done.stdout
    written = sitectl(folder, "--into", str(folder / "types"), word="types")
    assert written.stdout.split() == [str(folder / "types" / "good.d.ts")]
    assert "export default functions;" in (folder / "types" / "good.d.ts").read_text()
