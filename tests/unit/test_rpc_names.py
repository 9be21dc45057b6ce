"""The names of the ES module: with a version in the file, in the query, without one; and those of older pages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import app_caller
import pytest
import rpc_node
import wsgiref_server

from framework import App, Request
from framework.rpc import Proxy

FOR_EVER = "public, max-age=31536000, immutable"
OLDER = "0123456789abcdef01234567"


def add(a: int, b: int = 10) -> int:
    return a + b


PROXIES = {name: Proxy({"add": add, "of": {name: add}}) for name in ("rpc", "root", "slash", "open", "under")}


def home(request: Request) -> dict[str, str]:
    return {name: proxy.module_url(request) for name, proxy in PROXIES.items()}


APP = App(
    [
        ("/urls$", home),
        ("/$", PROXIES["root"]),
        ("/rpc$", PROXIES["rpc"]),
        ("/deep/rpc/$", PROXIES["slash"]),
        ("/open", PROXIES["open"]),
        ("/all/rpc$", PROXIES["under"]),
        ("/all/.*", lambda request: "everything"),
        ("/plain$", lambda request: "a page"),
    ]
)
V = PROXIES["rpc"].version


def test_the_version_is_in_the_name_of_the_file() -> None:
    APP.mount()
    found = app_caller.call(APP, "/urls").json
    versions = {name: proxy.version for name, proxy in PROXIES.items()}
    assert found == {
        "rpc": f"/rpc/proxy.{versions['rpc']}.mjs",
        "root": f"/proxy.{versions['root']}.mjs",
        "slash": f"/deep/rpc/proxy.{versions['slash']}.mjs",
        "open": f"/open/proxy.{versions['open']}.mjs",
        "under": f"/all/rpc?{versions['under']}.mjs",  # /all/.* takes the files
    }
    for name, url in found.items():
        path, _, query = url.partition("?")
        answer = app_caller.call(APP, path, query=query)
        assert (answer.status, answer.get("Cache-Control")) == (200, FOR_EVER)
        assert answer.get("Content-Type") == "text/javascript; charset=utf-8"
        assert f'"of.{name}"' in answer.text


def test_the_name_has_the_prefix_of_the_mount() -> None:
    app = App([("/rpc ä$", PROXIES["rpc"]), ("/$", lambda request: PROXIES["rpc"].module_url(request))])
    app.mount(mounts=[("*", "/sta tus")])
    url = app_caller.call(app, "/sta tus/").text
    assert url == f"/sta%20tus/rpc%20%C3%A4/proxy.{V}.mjs"
    served = app_caller.call(app, f"/sta tus/rpc ä/proxy.{V}.mjs")
    assert served.get("Cache-Control") == FOR_EVER
    assert b'new URL("../rpc%20%C3%A4", import.meta.url)' in served.body


def test_names_without_a_version_are_asked_for_again() -> None:
    for path in ("/rpc", "/rpc/proxy.mjs"):
        answer = app_caller.call(APP, path)
        assert (answer.status, answer.get("Cache-Control"), answer.get("ETag")) == (200, "no-cache", f'"{V}"')
        again = app_caller.call(APP, path, headers={"If-None-Match": f'"{V}"'})
        assert (again.status, again.body) == (304, b"")
    assert app_caller.call(APP, "/rpc", query=f"{V}.mjs").get("Cache-Control") == FOR_EVER
    assert app_caller.call(APP, "/rpc", query="whatever").get("Cache-Control") == "no-cache"


@pytest.mark.parametrize(("path", "query"), [(f"/rpc/proxy.{OLDER}.mjs", ""), ("/rpc", f"{OLDER}.mjs")])
def test_an_older_name_is_answered_and_not_kept(path: str, query: str) -> None:
    answer = app_caller.call(APP, path, query=query)
    assert (answer.status, answer.get("Cache-Control")) == (200, "no-cache")
    assert answer.get("ETag") not in (None, f'"{V}"')
    assert f'"version":"{OLDER}"' in answer.text


def test_declarations_lie_beside_the_module() -> None:
    beside = app_caller.call(APP, "/rpc/proxy.d.ts")
    assert beside.text == app_caller.call(APP, "/rpc", query="proxy.d.ts").text == PROXIES["rpc"].declarations()
    assert beside.get("Content-Type") == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "/rpc/",
        "/rpc/proxy",
        "/rpc/proxy.x.mjs",
        f"/rpc/proxy.{V}.js",
        f"/rpc/proxy.{V[:-1]}.mjs",
        f"/rpc/proxy.{V.upper()}.mjs",
        f"/rpc//proxy.{V}.mjs",
        f"/plain/proxy.{V}.mjs",
        f"/rpc/proxy.{V}.mjs/proxy.{V}.mjs",
        f"/urls/proxy.{V}.mjs",
    ],
)
def test_there_are_no_other_files(path: str) -> None:
    assert app_caller.call(APP, path).status == 404


def test_files_are_not_called() -> None:
    body = b'{"jsonrpc":"2.0","method":"add","params":[1],"id":1}'
    answer = app_caller.call(APP, f"/rpc/proxy.{V}.mjs", "POST", body=body, content_type="application/json")
    assert answer.status == 404


def test_each_session_has_its_own_file() -> None:
    secret = "0123456789abcdef"
    proxy = Proxy([add], token=lambda request: secret)
    answer = app_caller.call(App([("/rpc$", proxy)]), f"/rpc/proxy.{proxy.version}.mjs")
    assert secret in answer.text
    assert answer.get("Cache-Control") == "private, no-store"
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        path = f"/rpc/proxy.{proxy.version}.mjs"
        assert app_caller.call(App([("/rpc$", proxy)]), path, headers=headers).status == 403


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with wsgiref_server.served(APP) as url:
        yield url


def run_as(folder: Path, url: str, script: str) -> Any:
    """Node imports from files; the module is told that it is from this URL, as a browser would."""
    path, _, query = url.partition("?")
    served = app_caller.call(APP, "/" + path.split("/", 3)[3], query=query).body
    assert served.count(b"import.meta.url") == 1
    return rpc_node.run(folder, served.replace(b"import.meta.url", json.dumps(url).encode()), script)


@rpc_node.needs_node
@pytest.mark.parametrize("name", ["rpc", "root", "slash", "open", "under"])
def test_the_module_of_each_name_calls_its_functions(tmp_path: Path, address: str, name: str) -> None:
    url = address + app_caller.call(APP, "/urls").json[name]
    script = f"""
        import own, {{ connect }} from "./served.mjs";
        console.log(JSON.stringify([await own.add(1, 2), await connect(own, {{ batch: true }}).of.{name}(1)]));
    """
    assert run_as(tmp_path, url, script) == [3, 11]


@rpc_node.needs_node
def test_an_older_page_works_where_it_fits_and_is_told_where_not(tmp_path: Path, address: str) -> None:
    script = """
        import own, { call, connect } from "./served.mjs";
        const caught = (promise) => promise.catch((error) => [error.type, error.outdated ?? false, error.message]);
        const more = connect(own, { batch: true });
        console.log(JSON.stringify([
          await own.add(1, 2), await own.of.rpc(1), await more.add(3, 4), await call(own, "add", { a: 1 }),
          await caught(own.gone(1)), await caught(own.of.gone.too(1)), await caught(own.add("x")),
        ]));
    """
    *fits, gone, nested, other = run_as(tmp_path, f"{address}/rpc/proxy.{OLDER}.mjs", script)
    assert fits == [3, 11, 7, 11]
    for error, kind in ((gone, "MethodNotFound"), (nested, "MethodNotFound"), (other, "InvalidParams")):
        assert error[:2] == [kind, True]
        assert re.search("the server's functions have changed: reload the page", error[2])


def test_a_path_of_its_own_may_look_like_a_file_of_a_proxy() -> None:
    app = App([(r"/api/proxy\.mjs$", PROXIES["rpc"])])
    assert "{ url: new URL(import.meta.url.split(/[?#]/)[0]).href" in app_caller.call(app, "/api/proxy.mjs").text
