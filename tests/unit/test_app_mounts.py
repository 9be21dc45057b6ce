"""Where an application stands in its site: however a front end splits the path, and addresses across back ends."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import app_caller
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import App, Request, UnknownHandler
from framework.site.tree import SiteTree

Call = Callable[..., app_caller.Answer]


@pytest.fixture(params=app_caller.INTERFACES)
def call(request: pytest.FixtureRequest) -> Call:
    return functools.partial(app_caller.call, interface=request.param)


def where(request: Request) -> str:
    return f"{request.prefix}|{request.path}|{request.full_path}|{request.get_url(where)}"


def make_app() -> App:
    return App([("/$", where), ("/deep/.*$", lambda request: f"{request.prefix}|{request.path}")])


SPLITS = {
    "lighttpd": ("/status", "/deep/x"),
    "nginx": ("/status/deep/x", ""),
    "caddy": ("", "/status/deep/x"),
    "odd": ("/status/deep", "/x"),
}


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_a_mounted_application_takes_its_own_prefix_off(call: Call, split: tuple[str, str]) -> None:
    app = make_app()
    app.mount(mounts=[["console.localhost", "/status"]])
    assert call(app, split[1], script=split[0]).text == "/status|/deep/x"


def test_without_a_mount_the_prefix_is_script_name(call: Call) -> None:
    assert call(make_app(), "/deep/x", script="/status").text == "/status|/deep/x"
    assert call(make_app(), "/", script="/status").text == "/status|/|/status/|/status/"
    assert call(make_app(), "/").text == "|/|/|/"


def test_without_a_mount_a_script_name_with_everything_is_no_endless_redirect(call: Call) -> None:
    assert call(make_app(), "", script="/status/").text == "/status|/|/status/|/status/"
    assert app_caller.call(make_app(), "", script="/").text == "|/|/|/"
    assert call(make_app(), "").text == "|/|/|/"


@pytest.mark.parametrize("split", [("/status", ""), ("", "/status")])
def test_the_prefix_alone_leads_on_to_its_slash(call: Call, split: tuple[str, str]) -> None:
    app = make_app()
    app.mount(mounts=[["*", "/status"]])
    answer = call(app, split[1], script=split[0], query="a=1&b=%20")
    assert (answer.status, answer.get("Location")) == (308, "/status/?a=1&b=%20")


def test_the_prefix_alone_is_not_found_where_nothing_is_at_its_slash(call: Call) -> None:
    app = App([("/x$", where)])
    app.mount(mounts=[["*", "/status"]])
    assert call(app, "/status").status == 404


def test_a_redirect_to_the_slash_cannot_leave_the_host(call: Call) -> None:
    answer = call(make_app(), "", script="//evil.example/x", query="a\\b\r\nSet-Cookie: c=d")
    assert answer.get("Location") == "/evil.example/x/?a%5Cb%0D%0ASet-Cookie:%20c=d"


@pytest.mark.parametrize("path", ["/statusx", "/Status/", "/", "/other/deep/x"])
def test_a_path_beside_the_prefix_is_not_found(call: Call, path: str) -> None:
    app = make_app()
    app.mount(mounts=[["*", "/status"]])
    assert call(app, path).status == 404


class Tree:
    """A stand-in for the site's tree with one alias, to see what is asked of it."""

    def find(self, host: str, path: str) -> tuple[Any, str] | None:
        if host.partition(":")[0] == "alias.localhost":
            return SimpleNamespace(prefix="/s", backend="status"), path.removeprefix("/s")
        return None

    def url(self, reference: Any, params: Mapping[str, Any], *, host: str, scheme: str, backend: str) -> str:
        if reference == "notes:gone":
            raise UnknownHandler("notes has no handler 'gone'")
        return f"{scheme}://{host}/{backend}-asks-{reference}?{dict(params)}"


HOSTS = [["console.localhost", "/status"], ["console.localhost", "/status/old"], ["wall.localhost", ""]]


@pytest.mark.parametrize(
    ("host", "path", "text"),
    [
        ("console.localhost", "/status/deep/x", "/status|/deep/x"),
        ("CONSOLE.localhost:8080", "/status/deep/x", "/status|/deep/x"),
        ("console.localhost", "/status/old/deep/x", "/status/old|/deep/x"),
        ("wall.localhost", "/deep/x", "|/deep/x"),
        ("alias.localhost:8080", "/s/deep/x", "/s|/deep/x"),
        ("[::1]:8080", "/status/deep/x", "/status|/deep/x"),
    ],
)
def test_each_host_has_its_own_prefix(call: Call, host: str, path: str, text: str) -> None:
    app = make_app()
    app.mount(Tree(), "status", HOSTS)
    assert call(app, path, host=host).text == text


def test_addresses_of_other_back_ends_are_the_sites_business(call: Call) -> None:
    def ask(request: Request) -> list[str]:
        with pytest.raises(LookupError, match="'gone'"):
            request.get_url("notes:gone")
        return [request.get_url("notes:edit", id=7), request.get_url("status:ask"), request.get_url(ask)]

    app = App([("/$", ask, "ask")])
    app.mount(Tree(), "status", [["console.localhost", "/status"]])
    assert call(app, "/status/", host="console.localhost:8080").json == [
        "http://console.localhost:8080/status-asks-notes:edit?{'id': 7}",
        "/status/",
        "/status/",
    ]


def test_the_real_tree_of_a_site_resolves(call: Call) -> None:
    spec = {
        "port": 8080,
        "tables": {"status": "/nonexistent/status.json"},
        "hosts": [
            {"names": ["console.localhost", "localhost"], "default": True, "mounts": [["/status", "status"]]},
            {"names": ["wall.localhost"], "default": False, "mounts": [["", "status"]]},
        ],
    }
    app = make_app()
    app.mount(SiteTree.from_spec(spec), "status", [["console.localhost", "/status"], ["wall.localhost", ""]])
    assert call(app, "/status/deep/x", host="localhost:8080").text == "/status|/deep/x"
    assert call(app, "/status/deep/x", host="unknown.example").text == "/status|/deep/x"
    assert call(app, "/deep/x", host="wall.localhost").text == "|/deep/x"


@pytest.mark.parametrize("prefix", ["status", "status/", "x/y"])
def test_a_prefix_begins_with_a_slash(prefix: str) -> None:
    with pytest.raises(ValueError, match="begins with '/'"):
        make_app().mount(mounts=[["*", prefix]])


def test_paths_are_utf_8(call: Call) -> None:
    app = App([("/(?P<v>.*)$", lambda request, v: v)])
    assert call(app, "/straße/東").text == "straße/東"
    answer = call(app, raw={"PATH_INFO": "/\xff\xfe"})
    assert answer.status == 400
    assert "The path is not UTF-8." in answer.text
    assert call(app, "/a\0b").status == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/" + b"x" * 1_000_000, 404),
        (b"/item/" + b"7" * 1_000_000, 404),
        (b"/" * 1_000_000, 404),
        (b"/\0", 400),
        (b"/item/\0", 400),
        (b"/item/7\0", 400),
        (b"/item/\xed\xb2\x80", 400),  # a lone surrogate, as a broken encoder writes it
        (b"/item/\xff", 400),
        (b"/item/%zz", 404),  # the front end has decoded once: this was %25zz
        (b"/%", 404),
        (b"/%00", 404),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else None,
)
def test_a_path_that_leads_nowhere_is_a_miss_or_a_bad_request(call: Call, path: bytes, status: int) -> None:
    def item(request: Request, id: int) -> str:
        return str(id)

    app = App([("/$", where), (r"/item/(?P<id>\d+)$", item), (r"/name/(?P<name>[-\w]+)$", lambda request, name: name)])
    assert call(app, raw={"PATH_INFO": path.decode("latin-1")}).status == status
    assert call(app, "/item/7").text == "7"


def test_a_path_of_a_megabyte_arrives_whole(call: Call) -> None:
    app = App([("/(?P<v>.+)/edit$", lambda request, v: v)])
    assert call(app, "/" + "é/x" * 300_000 + "/edit").text == "é/x" * 300_000


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(["", "/status", "/s"]))
def test_no_path_makes_a_server_error(script: bytes, path: bytes, prefix: str) -> None:
    app = App([("/$", where), ("(?P<v>.*)$", lambda request, v: v)])
    app.mount(mounts=[["*", prefix]])
    for mounted in (app, make_app()):
        answer = app_caller.call(
            mounted, raw={"SCRIPT_NAME": script.decode("latin-1"), "PATH_INFO": path.decode("latin-1")}
        )
        assert answer.status in (200, 308, 400, 404)
        assert not (answer.get("Location") or "/").startswith("//")
