"""Routes that another mount or the static folder keeps every request from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.site import load
from framework.site.check import findings_of
from framework.site.shadowed import check_shadowed, plain_start

SITE = """
[site]
name = "shadowed"
[[host]]
name = "a.localhost"
static = "static"
backends = { notes = "/notes", deep = "/notes/deep", root = "/" }
[[host]]
name = "b.localhost"
backends = { root = "/", other = "/other" }
[backend.notes]
application = "one:app"
[backend.deep]
application = "one:app"
[backend.root]
application = "one:app"
[backend.other]
application = "one:app"
"""


def reasons(folder: Path, **patterns: list[str]) -> list[str]:
    (folder / "static").mkdir()
    (folder / "site.toml").write_text(SITE)
    site = load(folder)
    findings = findings_of(site)
    tables = {name: [{"pattern": pattern} for pattern in each] for name, each in patterns.items()}
    check_shadowed(site, tables, findings)
    assert {problem.level for problem in findings.problems} <= {"warning"}
    return [f"{problem.line} {problem.reason}" for problem in findings.problems]


def test_what_another_back_end_has_is_out_of_reach(tmp_path: Path) -> None:
    patterns = ["/deep/x$", "/deep$", r"/deep/(\d+)$", "/deep", "/deeper$", "/(.*)", "/dee?p/x$", "/deep/|/x"]
    assert reasons(tmp_path, notes=patterns) == [
        f"12 the route {pattern!r} is never asked for: on a.localhost /notes/deep is deep's"
        for pattern in ("/deep/x$", "/deep$", r"/deep/(\d+)$")
    ]


def test_it_has_to_be_so_on_every_host(tmp_path: Path) -> None:
    assert reasons(tmp_path, root=["/static/x$", "/other/x$", "/notes/deep$"]) == []


def test_a_back_end_that_cannot_be_imported_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "site.toml").write_text(SITE)
    site = load(tmp_path)
    findings = findings_of(site)
    check_shadowed(site, {"notes": "no module"}, findings)
    assert findings.problems == []


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        ("^/a/b$", ("/a/b", True)),
        (r"/a\.b\Z", ("/a.b", True)),
        ("/ab*", ("/a", False)),
        ("/ab{2}", ("/a", False)),
        (r"/a\d", ("/a", False)),
        ("/a.b", ("/a", False)),
        ("(?i)/a", ("", False)),
        ("/a|/b", ("", False)),
    ],
)
def test_the_plain_start_of_a_pattern(pattern: str, start: tuple[str, bool]) -> None:
    assert plain_start(pattern) == start


@given(st.from_regex(r"/[a-z./?*+()\\d$^-]{0,12}"), st.data())
def test_what_matches_begins_with_it(pattern: str, data: st.DataObject) -> None:
    start, is_whole = plain_start(pattern)
    try:
        expression = re.compile(pattern)
    except re.error:
        return
    for path in data.draw(st.lists(st.text(st.sampled_from("/abd.*+?-$"), max_size=8), max_size=20)):
        if expression.match(path):
            assert path.startswith(start)
            assert not is_whole or path.removesuffix("\n") == start
