"""`sitectl check` on the routes of real applications, each imported by an interpreter of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framework.site import routes
from framework.site.tables import Findings

SITE = """\
[site]
name = "routes"
listen = "127.0.0.1:0"

[[host]]
name = "console.localhost"
backends = ["web", "plain", "bad"]

[backend.web]
application = "web:app"
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

WEB = r"""
import re

from framework import App

def home(request): return "home"
def page(request, name): return name
def about(request): return "about"
def odd(request): return "odd"

app = App([(r"/$", home), (r"/(?P<name>[a-z]+)/$", page), (r"/about/$", about), (r"/(?!x)[0-9]+$", odd),
           (re.compile(r"/1/A$", re.IGNORECASE), home), (r"/1/a$", home)])
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="routes-"))
    path.chmod(0o755)
    (path / "web.py").write_text(WEB)
    (path / "plain.py").write_text("def app(environ, start_response): return []\n")
    (path / "bad.py").write_text("import nothing_of_this_name\napp = None\n")
    (path / "site.toml").write_text(SITE.replace(":0", ":8971"))
    yield path
    shutil.rmtree(path)


def check(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "framework.cli", "check", "--json", *arguments, str(folder / "site.toml")]
    environment = os.environ | {"XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False, env=environment)
    problems: list[dict[str, Any]] = json.loads(done.stdout)["problems"]
    return [problem for problem in problems if "route" in problem["reason"] or "URL table" in problem["reason"]]


def test_a_route_that_can_never_win_is_a_warning_with_those_that_take_its_paths(folder: Path) -> None:
    found = check(folder)
    warnings = [problem for problem in found if problem["level"] == "warning" and ".web." in problem["key"]]
    assert [problem["reason"] for problem in warnings] == [
        'route 2 "/about/$" (web.about) can never win: route 1 "/(?P<name>[a-z]+)/$" (web.page) before it takes all its'
        ' paths, such as "/about/"',
        'route 5 "/1/a$" (web.home) can never win: route 4 "(?i)/1/A$" (web.home) before it takes all its paths,'
        ' such as "/1/a"',
    ]
    assert warnings[0]["key"] == "backend.web.application"
    assert warnings[0]["line"] == 10
    notes = [problem["reason"] for problem in found if problem["level"] == "note"]
    competing = 'route 1 "/(?P<name>[a-z]+)/$" (web.page) and route 2 "/about/$" (web.about) both match "/about/"'
    assert f"{competing}; route 1 wins" in notes
    assert any(note.startswith('route 3 "/(?!x)[0-9]+$" (web.odd) is matched by re') for note in notes)


def test_an_application_that_cannot_be_imported_is_a_warning_and_a_wsgi_application_has_no_routes(folder: Path) -> None:
    keys = {problem["key"]: problem["reason"] for problem in check(folder) if ".web." not in problem["key"]}
    assert set(keys) == {"backend.bad.application"}
    assert "nothing_of_this_name" in keys["backend.bad.application"]


def test_nothing_is_imported_for_the_file_alone(folder: Path) -> None:
    assert check(folder, "--file-only") == []


def reasons(patterns: list[str]) -> list[tuple[str, str]]:
    findings = Findings("site.toml")
    table = [{"pattern": pattern, "handler": f"h{number}", "name": None} for number, pattern in enumerate(patterns)]
    routes.check_routes({"web": table}, findings)
    return [(problem.level, problem.reason) for problem in findings.problems]


def test_a_table_too_tangled_for_pairs_is_said_to_be_so() -> None:
    patterns = [f"/.*{'ab'[number % 2]}.{{{number % 7 + 12}}}{number}.*[0-9]{{12}}$" for number in range(40)]
    told = reasons(patterns)
    assert any(reason.startswith("which routes compete is not known") for _, reason in told)


def test_a_table_that_needs_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "ANALYSIS_SECONDS", 0.01)
    told = reasons([r"/(?P<a>\w+)/$", "/about/$"])
    assert [level for level, _ in told] == ["note"] * 3
    assert all("not known" in reason for _, reason in told)


def test_a_pattern_of_another_dialect_is_told_and_control_characters_are_not_printed() -> None:
    assert reasons(["/(", "/a"])[0][1].startswith("the routes cannot be compared: route 0:")
    told = reasons(["/\x1b[0-9]", "/\x1b[1-2]$"])
    assert told[0][0] == "warning"
    assert all(reason.isprintable() for _, reason in told)


def test_many_findings_are_counted() -> None:
    told = reasons(["/.*$", *(f"/{number}$" for number in range(routes.MAX_SHOWN + 5))])
    warnings = [reason for level, reason in told if level == "warning"]
    assert len(warnings) == routes.MAX_SHOWN + 1
    assert warnings[-1] == "5 more routes that can never win"
