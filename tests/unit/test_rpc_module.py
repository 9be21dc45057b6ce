"""The ES module in Node against a real HTTP server: calls, errors, time limits, other URLs."""

from __future__ import annotations

import datetime as dt
import gzip
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import app_caller
import pytest
import rpc_node
import wsgiref_server

from framework import App, HTTPError, Request, Response
from framework.handlers import methods
from framework.rpc import Proxy, RPCError, remote


class Busy(RPCError):
    pass


def add(a: int, b: int = 10) -> int:
    return a + b


def fail() -> None:
    raise ZeroDivisionError("division by zero")


def busy() -> None:
    raise Busy("try later", code=7, data={"seconds": 3})


def words(*parts: str) -> list[str]:
    return list(parts)


def facts(request: Request) -> dict[str, Any]:
    return {"path": request.path, "prefix": request.prefix, "ä": [None, True, 1.5]}


def echo(value: Any, more: Any = None) -> Any:
    return value


def at(when: dt.datetime) -> dt.datetime:
    return when + dt.timedelta(days=1)


def detailed() -> None:
    raise Busy("later", data={"until": dt.date(2026, 1, 1)})


attempts: list[str] = []


@remote(safe=True)
def unsteady() -> int:
    return len(attempts)


def careful() -> int:
    return len(attempts)


class Processes:
    def kill(self, pid: int) -> str:
        return f"killed {pid}"


UNSTEADY = Proxy({"unsteady": unsteady, "careful": careful, "processes": Processes()})


def through_a_bad_front_end(request: Request) -> Any:
    """The first two POSTs in a row do not get through."""
    if request.method == "POST":
        attempts.append(request.path)
        if len(attempts) < 3:
            raise HTTPError(502, "no back end")
    return UNSTEADY(request)


released = threading.Event()


def wait() -> None:
    released.wait(10)


def not_json(request: Request) -> str:
    return "<p>a page of the front end</p>"


def refused(request: Request) -> Response:
    raise HTTPError(503, "The back end is starting.")


APP = App(
    [
        ("/rpc$", Proxy([add, fail, busy, words, facts])),
        ("/values$", Proxy([echo, at, detailed])),
        ("/unsteady$", methods("GET", "POST")(through_a_bad_front_end)),
        ("/nested$", UNSTEADY),
        ("/other$", Proxy({"sum": add, "wait": wait})),
        ("/page$", not_json),
        ("/refused$", refused),
    ]
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with wsgiref_server.served(APP) as url:
        yield url
        released.set()


def run_node(folder: Path, script: str) -> Any:
    """What `script`, an ES module beside the served one, writes as JSON."""
    return rpc_node.run(folder, app_caller.call(APP, "/rpc").body, script)


TRY = """
async function attempt(promise) {
  try { return await promise; }
  catch (error) {
    return { is: error instanceof RemoteError && error instanceof Error, name: error.name, message: error.message,
             code: error.code, id: error.id, data: error.data, text: String(error) };
  }
}
"""


@rpc_node.needs_node
def test_python_functions_are_called_from_javascript(tmp_path: Path, address: str) -> None:
    result = run_node(
        tmp_path,
        f"""
        import own, {{ call, connect, RemoteError }} from "./served.mjs";
        {TRY}
        const status = connect("{address}/rpc");
        const other = connect("{address}/other");
        console.log(JSON.stringify({{
          names: Object.keys(own),
          sum: await status.add(1, 2),
          byDefault: await status.add(1, undefined),
          named: await call("{address}/rpc", "add", {{ b: 5, a: 4 }}),
          words: await status.words("a", "ü", ""),
          nothing: await status.words(),
          facts: await status.facts(),
          other: await other.sum(1, 1),
          together: await Promise.all([1, 2, 3].map((n) => status.add(n, 0))),
          awaited: typeof (await status).add,
        }}));
        """,
    )
    assert result == {
        "names": ["add", "fail", "busy", "words", "facts"],
        "sum": 3,
        "byDefault": 11,
        "named": 9,
        "words": ["a", "ü", ""],
        "nothing": [],
        "facts": {"path": "/rpc", "prefix": "", "ä": [None, True, 1.5]},
        "other": 2,
        "together": [1, 2, 3],
        "awaited": "function",
    }


@rpc_node.needs_node
def test_python_exceptions_arrive_as_javascript_errors(
    tmp_path: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = run_node(
        tmp_path,
        f"""
        import {{ call, connect, RemoteError }} from "./served.mjs";
        {TRY}
        const status = connect("{address}/rpc");
        console.log(JSON.stringify({{
          fail: await attempt(status.fail()),
          busy: await attempt(status.busy()),
          kind: await attempt(status.add("x")),
          unknown: await attempt(status.nope()),
          page: await attempt(call("{address}/page", "add")),
          refused: await attempt(call("{address}/refused", "add")),
          nowhere: await attempt(call("{address}/nowhere", "add")),
          unreachable: await attempt(call("http://127.0.0.1:9/", "add")),
        }}));
        """,
    )
    assert all(error["is"] for error in result.values())
    fail = result["fail"]
    assert (fail["name"], fail["message"], fail["code"]) == ("ZeroDivisionError", "division by zero", -32000)
    assert fail["text"] == "ZeroDivisionError: division by zero"
    assert f"error {fail['id']} in POST /rpc (remote call of fail): ZeroDivisionError" in caplog.text
    busy = result["busy"]
    assert (busy["name"], busy["message"], busy["code"], busy["data"]) == ("Busy", "try later", 7, {"seconds": 3})
    assert busy["id"] is None
    assert (result["kind"]["name"], result["kind"]["code"]) == ("InvalidParams", -32602)
    assert "'a'" in result["kind"]["message"]
    assert (result["unknown"]["name"], result["unknown"]["code"]) == ("MethodNotFound", -32601)
    assert "nope" in result["unknown"]["message"]
    assert (result["page"]["name"], result["page"]["code"]) == ("HTTPError", 200)
    assert (result["refused"]["code"], result["refused"]["message"]) == (503, "The back end is starting.")
    assert (result["nowhere"]["name"], result["nowhere"]["code"]) == ("HTTPError", 404)
    assert result["unreachable"]["name"] == "ConnectionError"


@rpc_node.needs_node
def test_a_call_can_be_limited_and_given_up(tmp_path: Path, address: str) -> None:
    result = run_node(
        tmp_path,
        f"""
        import {{ connect, RemoteError }} from "./served.mjs";
        {TRY}
        const controller = new AbortController();
        setTimeout(() => controller.abort(), 50);
        const silent = "{address}/other";
        console.log(JSON.stringify({{
          late: await attempt(connect(silent, {{ timeout: 50 }}).wait()),
          aborted: await attempt(connect(silent, {{ signal: controller.signal }}).wait()),
          before: await attempt(connect(silent, {{ signal: AbortSignal.abort() }}).wait()),
        }}));
        process.exit(0);
        """,
    )
    released.set()
    assert (result["late"]["name"], result["late"]["message"]) == ("TimeoutError", "no answer within 50 ms")
    assert result["aborted"]["name"] == "AbortError"
    assert result["before"]["name"] == "AbortError"


def test_the_module_is_kept_until_it_changes() -> None:
    answer = app_caller.call(APP, "/rpc")
    assert answer.status == 200
    assert answer.get("Content-Type") == "text/javascript; charset=utf-8"
    assert answer.get("Cache-Control") == "no-cache"
    etag = answer.get("ETag") or ""
    again = app_caller.call(APP, "/rpc", headers={"If-None-Match": etag})
    assert (again.status, again.body) == (304, b"")
    assert app_caller.call(APP, "/other").get("ETag") != etag


def test_the_module_has_no_dependencies_and_is_small() -> None:
    text = app_caller.call(APP, "/rpc").text
    assert "import " not in text.replace("import.meta", "")
    assert len(gzip.compress(text.encode(), 9)) <= 4096


@rpc_node.needs_node
def test_values_keep_their_kind_through_the_server(tmp_path: Path, address: str) -> None:
    result = run_node(
        tmp_path,
        f"""
        import {{ call, connect, encode, Kind, RemoteError, Tuple }} from "./served.mjs";
        {TRY}
        const values = connect("{address}/values");
        const sent = [new Date(0), new Set([1n << 70n]), new Map([[1, NaN]]), new Uint8Array([1]), Tuple.of(1),
                      new Kind("date", "2026-02-28"), {{ $set: [1] }}, {{}}];
        const got = await values.echo(sent);
        console.log(JSON.stringify({{
          kinds: got.map((value) => value.constructor.name),
          same: encode(got).replace("+00:00", ".000Z") === encode(sent),
          later: (await values.at(new Date("2026-02-28T10:00:00Z"))).toISOString(),
          named: (await call("{address}/values", "at", {{ when: new Date(0) }})).toISOString(),
          nothing: [await values.echo(undefined, 1), await values.echo(null)],
          until: `${{(await attempt(values.detailed())).data.until}}`,
          wrong: await attempt(values.echo(1, new Kind("nope", 1))),
          wrongName: await attempt(call("{address}/values", "at", {{ when: new Kind("datetime", "soon") }})),
        }}));
        """,
    )
    assert result["kinds"] == ["Date", "Set", "Map", "Uint8Array", "Tuple", "Kind", "Object", "Object"]
    assert result["same"] is True
    assert result["later"] == "2026-03-01T10:00:00.000Z"
    assert result["named"] == "1970-01-02T00:00:00.000Z"
    assert result["nothing"] == [None, None]
    assert result["until"] == "2026-01-01"
    assert result["wrong"]["code"] == -32602
    assert "the argument 'more': there is no kind $nope" in result["wrong"]["message"]
    assert "the argument 'when': this is no $datetime" in result["wrongName"]["message"]


def test_who_does_not_ask_for_tags_gets_plain_json() -> None:
    body = b'{"jsonrpc":"2.0","method":"echo","params":[{"$set":[1]}],"id":1}'
    for content_type in ("application/json", "application/json; charset=utf-8"):
        answer = app_caller.call(APP, "/values", "POST", body=body, content_type=content_type)
        assert answer.json["result"] == {"$set": [1]}
        assert answer.get("Content-Type") == "application/json"
    answer = app_caller.call(APP, "/values", "POST", body=body, content_type="application/json; Values=Tagged")
    assert answer.json["result"] == {"$set": [1]}
    assert answer.get("Content-Type") == "application/json; values=tagged"


@rpc_node.needs_node
def test_nested_names_and_calls_of_one_tick(tmp_path: Path, address: str) -> None:
    result = run_node(
        tmp_path,
        f"""
        import {{ connect, RemoteError }} from "./served.mjs";
        {TRY}
        let posts = 0;
        const real = globalThis.fetch;
        globalThis.fetch = (...args) => (posts++, real(...args));
        const nested = await connect("{address}/nested");
        const status = connect("{address}/rpc", {{ batch: true }});
        const killed = await nested.processes.kill(7);
        posts = 0;
        const sums = await Promise.all([
          status.add(1, 2), status.add(3, 4), attempt(status.fail()), attempt(status.add("x")), attempt(status.nope()),
        ]);
        const together = posts;
        posts = 0;
        const many = await Promise.all(Array.from({{ length: 120 }}, (_, i) => status.add(i, 0)));
        const inParts = posts;
        const one = await status.add(1, 1);
        const page = await Promise.all([1, 2].map(() => attempt(connect("{address}/page", {{ batch: true }}).x())));
        console.log(JSON.stringify({{ killed, sums, together, many, inParts, one, page }}));
        """,
    )
    assert result["killed"] == "killed 7"
    assert result["sums"][:2] == [3, 7]
    assert [error["name"] for error in result["sums"][2:]] == ["ZeroDivisionError", "InvalidParams", "MethodNotFound"]
    assert result["together"] == 1
    assert result["many"] == list(range(120))
    assert result["inParts"] == 3  # the server takes 50 calls at a time
    assert result["one"] == 2
    assert [error["code"] for error in result["page"]] == [200, 200]


@rpc_node.needs_node
def test_only_what_is_safe_is_tried_again(tmp_path: Path, address: str) -> None:
    served = app_caller.call(App([("/unsteady$", UNSTEADY)]), "/unsteady").body
    served = served.replace(b"new URL(import.meta.url.split(/[?#]/)[0]).href", f'"{address}/unsteady"'.encode())
    script = f"""
    import own, {{ connect, RemoteError }} from "./served.mjs";
    {TRY}
    const refused = await attempt(own.careful());
    const tries = await own.unsteady();
    const never = await attempt(connect(own, {{ retry: 0 }}).processes.kill("x"));
    console.log(JSON.stringify([refused, tries, never]));
    """
    attempts.clear()
    refused, tries, never = rpc_node.run(tmp_path, served, script)
    assert (refused["name"], refused["code"]) == ("HTTPError", 502)
    assert tries == 3
    assert never["name"] == "InvalidParams"


@rpc_node.needs_node
def test_a_page_that_is_older_than_the_server_is_told(tmp_path: Path, address: str) -> None:
    older = App([("/nested$", Proxy({"unsteady": lambda x: x, "gone": add}))])
    served = app_caller.call(older, "/nested").body
    served = served.replace(b"new URL(import.meta.url.split(/[?#]/)[0]).href", f'"{address}/nested"'.encode())
    script = f"""
    import own, {{ connect, RemoteError }} from "./served.mjs";
    const caught = (promise) => promise.catch((error) => [error.name, error.outdated ?? false, error.message]);
    console.log(JSON.stringify([await caught(own.unsteady(1)), await caught(own.gone(1)),
                                await caught(connect("{address}/nested").gone())]));
    """
    changed, gone, unknown = rpc_node.run(tmp_path, served, script)
    assert (changed[0], changed[1]) == ("InvalidParams", True)
    assert "the server's functions have changed: reload the page" in changed[2]
    assert (gone[0], gone[1]) == ("MethodNotFound", True)
    assert unknown[:2] == ["MethodNotFound", False]


def test_a_function_named_like_a_javascript_word_is_no_code() -> None:
    text = app_caller.call(App([("/rpc$", Proxy({"delete": add, "default": add}))]), "/rpc").text
    assert text.endswith('["delete","default"]);\n')
