"""The URL tree: which back end has a host and path, and which URL has a handler of another back end."""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.site import Mount, SiteTree, load
from framework.site.tree import MAX_TABLE_BYTES, MAX_TABLE_ROUTES, TreeHost, read_table, split_authority
from framework.urls import UnknownHandler

SITE = """
[site]
name = "tree"
listen = "127.0.0.1:8080"

[[host]]
name = "console.localhost"
aliases = ["localhost", "127.0.0.1", "::1"]
default = true
backends = { status = "/status", notes = "/notes", deep = "/notes/deep" }

[[host]]
name = "wall.localhost"
backends = { wall = "/" }

[[host]]
name = "both.localhost"
backends = { wall = "/wall", notes = "/" }

[backend.status]
application = "a:b"
[backend.notes]
application = "a:b"
[backend.deep]
application = "a:b"
[backend.wall]
application = "a:b"
[backend.lonely]
application = "a:b"
"""

NOTES = [
    {"pattern": "^/$", "handler": "notes.index", "name": "index"},
    {"pattern": "^/(?P<id>[0-9]+)/edit$", "handler": "notes.edit", "name": "edit"},
    {"pattern": "^/by/(?P<who>[^/]+)/$", "handler": "notes.Author", "name": None},
]


@pytest.fixture
def tree(tmp_path: Path) -> SiteTree:
    (tmp_path / "site.toml").write_text(SITE)
    site = load(tmp_path, overrides={"run_directory": str(tmp_path / "run")})
    site.urls_directory.mkdir(parents=True)
    publish(site.urls_path("notes"), NOTES)
    publish(site.urls_path("wall"), [{"pattern": "^/$", "handler": "wall.show", "name": "show"}])
    publish(site.urls_path("lonely"), [{"pattern": "^/$", "handler": "lonely.index", "name": "index"}])
    return SiteTree.from_spec(json.loads(json.dumps(SiteTree.of(site).to_spec())))


def publish(path: Path, table: Any) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(table))
    temporary.replace(path)


def url(
    tree: SiteTree, reference: Any, *, host: str = "console.localhost:8080", backend: str = "status", **params: Any
) -> str:
    return tree.url(reference, params, host=host, scheme="http", backend=backend)


@pytest.mark.parametrize(
    ("host", "path", "backend", "rest"),
    [
        ("console.localhost", "/status", "status", ""),
        ("console.localhost:8080", "/status/", "status", "/"),
        ("Console.LOCALHOST.", "/status/x/y", "status", "/x/y"),
        ("127.0.0.1:80", "/notes/deep/x", "deep", "/x"),
        ("[::1]:80", "/notes/deeper", "notes", "/deeper"),
        ("unknown.example", "/notes", "notes", ""),
        ("", "/notes", "notes", ""),
        ("evil@host:x", "/notes", "notes", ""),
        ("wall.localhost", "/", "wall", "/"),
        ("wall.localhost", "/status/x", "wall", "/status/x"),
        ("both.localhost", "/wall/x", "wall", "/x"),
        ("both.localhost", "/wallx", "notes", "/wallx"),
        ("wall.localhost", "", "wall", ""),
    ],
)
def test_the_longest_prefix_of_the_host_wins(tree: SiteTree, host: str, path: str, backend: str, rest: str) -> None:
    found = tree.find(host, path)
    assert found is not None
    assert (found[0].backend, found[1]) == (backend, rest)


@pytest.mark.parametrize("path", ["/statusx", "/", "", "status", "/Status", "/status%2Fx", "*"])
def test_a_prefix_ends_at_a_segment(tree: SiteTree, path: str) -> None:
    assert tree.find("console.localhost", path) is None


@given(host=st.text(), path=st.text().map("/{}".format))
def test_any_host_and_path_are_answered(host: str, path: str) -> None:
    tree = SiteTree.from_spec(
        {"port": 80, "tables": {}, "hosts": [{"names": ["a.b"], "default": True, "mounts": [["/x", "x"], ["", "y"]]}]}
    )
    found = tree.find(host, path)
    assert found is not None
    assert found[0].prefix + found[1] == path


def test_a_tree_survives_its_way_through_json(tree: SiteTree) -> None:
    again = SiteTree.from_spec(json.loads(json.dumps(tree.to_spec())))
    assert again.hosts == tree.hosts
    assert (again.port, again.tables) == (tree.port, tree.tables)
    assert again.hosts[0].mounts[0] == Mount("console.localhost", "/status", "status")


def test_a_handler_on_the_same_host_is_a_path(tree: SiteTree) -> None:
    assert url(tree, "notes:edit", id=7) == "/notes/7/edit"
    assert url(tree, "notes:edit", id=7, host="localhost") == "/notes/7/edit"
    assert url(tree, "notes:index", host="both.localhost") == "/"
    assert url(tree, "notes:notes.Author", who="a b") == "/notes/by/a%20b/"


def test_a_handler_on_another_host_is_a_whole_url_with_the_port_of_the_request(tree: SiteTree) -> None:
    assert url(tree, "wall:show") == "http://wall.localhost:8080/"
    assert url(tree, "wall:show", host="console.localhost:9000") == "http://wall.localhost:9000/"
    assert url(tree, "wall:show", host="console.localhost") == "http://wall.localhost/"
    assert url(tree, "wall:show", host="console.localhost:80") == "http://wall.localhost/"
    assert url(tree, "wall:show", host="") == "http://wall.localhost:8080/"
    https = tree.url("wall:show", {}, host="console.localhost:443", scheme="https", backend="status")
    assert https == "https://wall.localhost/"
    assert url(tree, "notes:index", host="wall.localhost:1") == "http://console.localhost:1/notes/"


@pytest.mark.parametrize("host", ["evil.example", "console.localhost:8080@evil.example", "a\r\nb:80", "x:99999999"])
def test_the_host_header_never_names_the_host_of_a_link(tree: SiteTree, host: str) -> None:
    link = url(tree, "wall:show", host=host)
    assert link.startswith("http://wall.localhost")
    assert "evil" not in link
    assert "\n" not in link


def test_the_own_back_end_needs_no_prefix_in_a_reference(tree: SiteTree) -> None:
    assert url(tree, "edit", backend="notes", id=1) == "/notes/1/edit"


def test_a_handler_object_is_found_by_its_name(tree: SiteTree) -> None:
    def index() -> None: ...

    index.__module__, index.__qualname__ = "notes", "index"
    assert url(tree, index, backend="notes") == "/notes/"


def test_parameters_are_text_as_in_the_own_table(tree: SiteTree) -> None:
    class Colour(Enum):
        RED = "red"

    assert url(tree, "notes:notes.Author", who=Colour.RED) == "/notes/by/red/"
    assert url(tree, "notes:notes.Author", who=True) == "/notes/by/true/"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nots:edit", "no back end 'nots'; it has deep, lonely, notes, status, wall"),
        ("notes:edti", "no handler 'edti'; its names: edit, index"),
        ("deep:index", "not known"),
        ("lonely:index", "no host of the site mounts the back end 'lonely'"),
    ],
)
def test_what_nobody_has_is_named(tree: SiteTree, reference: str, message: str) -> None:
    with pytest.raises(UnknownHandler, match=message):
        url(tree, reference)


@pytest.mark.parametrize("params", [{}, {"id": "x"}, {"id": 1, "more": 2}, {"id": None}])
def test_parameters_that_do_not_fit_are_a_value_error(tree: SiteTree, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="notes:edit"):
        url(tree, "notes:edit", **params)


def test_a_table_that_changes_is_read_again(tree: SiteTree) -> None:
    assert url(tree, "notes:index") == "/notes/"
    publish(Path(tree.tables["notes"]), [{"pattern": "^/start/$", "handler": "notes.index", "name": "index"}])
    assert url(tree, "notes:index") == "/notes/start/"
    Path(tree.tables["notes"]).unlink()
    with pytest.raises(UnknownHandler):
        url(tree, "notes:index")


@pytest.mark.parametrize("pattern", [r"^//evil\.example/$", r"^/\\evil\.example/$", "^evil/$", r"^/\n$", "^http:/x$"])
def test_a_hostile_table_gives_no_way_out_of_the_host(tree: SiteTree, pattern: str) -> None:
    publish(Path(tree.tables["wall"]), [{"pattern": pattern, "handler": "x", "name": "show"}])
    for host in ("wall.localhost", "console.localhost"):
        try:
            link = url(tree, "wall:show", host=host)
        except UnknownHandler:
            continue
        assert link.removeprefix("http://wall.localhost")[:2] not in ("//", "/\\")
        assert link.isprintable()
        assert not link.removeprefix("http://wall.localhost").startswith("evil")


def test_a_pattern_that_cannot_be_read_leaves_the_others(tree: SiteTree) -> None:
    publish(Path(tree.tables["notes"]), [{"pattern": "^/(", "handler": "x", "name": "x"}, *NOTES])
    assert url(tree, "notes:index") == "/notes/"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"null",
        b"[1]",
        b'[{"pattern": 1, "handler": "x", "name": null}]',
        b'[{"pattern": "x", "name": null}]',
        b"[" * 200_000,
        b"\xff",
        b"[" + b" " * MAX_TABLE_BYTES + b"]",
        json.dumps([NOTES[0]] * (MAX_TABLE_ROUTES + 1)).encode()[:MAX_TABLE_BYTES],
        json.dumps([{"pattern": "a" * 2049, "handler": "x", "name": None}]).encode(),
    ],
)
def test_a_table_that_is_none_is_refused_with_a_reason(tree: SiteTree, content: bytes) -> None:
    Path(tree.tables["notes"]).write_bytes(content)
    with pytest.raises(UnknownHandler, match=r"the URL table .*notes\.json"):
        url(tree, "notes:index")


def test_a_table_that_is_no_file_does_not_block(tree: SiteTree) -> None:
    path = Path(tree.tables["notes"])
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UnknownHandler, match="not a regular file"):
        url(tree, "notes:index")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_a_value_error(content: bytes) -> None:
    try:
        rows = read_table(content)
    except ValueError:
        return
    assert all(len(row) == 3 for row in rows)


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("A.b:80", ("a.b", "80")),
        ("a.b.", ("a.b", "")),
        ("[::1]:1", ("[::1]", "1")),
        ("[::1]", ("[::1]", "")),
        ("::1", ("", "")),
        ("a:b", ("", "")),
        ("a:1:2", ("", "")),
        ("a@b", ("", "")),
        ("a b", ("", "")),
        ("a\n", ("", "")),
        ("", ("", "")),
    ],
)
def test_host_headers(authority: str, expected: tuple[str, str]) -> None:
    assert split_authority(authority) == expected


def test_costly_patterns_of_another_back_end_cost_its_neighbours_nothing(tmp_path: Path) -> None:
    """A table at its limits took its readers minutes to compile; only what is asked for is compiled now."""
    costly = "^/" + "(" * 7 + "a{1,50}" + "){1,50}" * 7 + "$"
    rows = [{"pattern": costly, "handler": f"h{number}", "name": f"n{number}"} for number in range(1500)]
    rows.append({"pattern": "^/good$", "handler": "h.good", "name": "good"})
    table = tmp_path / "urls.json"
    table.write_text(json.dumps(rows))
    host = TreeHost(("a.example",), True, (Mount("a.example", "/x", "x"),))
    tree = SiteTree([host], port=80, tables={"x": str(table)})
    assert tree.url("x:good", {}, host="a.example", scheme="http", backend="y") == "/x/good"
    (routers,) = [table._routers for table in tree._read.values()]
    assert list(routers) == ["good"]
    assert len(routers["good"]) == 1


@pytest.mark.parametrize("name", ["index", None])
def test_patterns_that_cannot_be_read_are_no_handler(tree: SiteTree, name: str | None) -> None:
    publish(Path(tree.tables["notes"]), [{"pattern": "(", "handler": "x", "name": name}] * 100)
    with pytest.raises(UnknownHandler, match="has no handler 'index'"):
        url(tree, "notes:index")
