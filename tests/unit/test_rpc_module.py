"""The ES module in Node against a real HTTP server: calls, errors, time limits, other URLs."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import app_caller
import pytest

from framework import App, HTTPError, Request, Response
from framework.rpc import Proxy, RPCError

NODE = shutil.which("node") or shutil.which("nodejs")
needs_node = pytest.mark.skipif(NODE is None, reason="needs nodejs")


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
        ("/other$", Proxy({"sum": add, "wait": wait})),
        ("/page$", not_json),
        ("/refused$", refused),
    ]
)


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = make_server("127.0.0.1", 0, APP, handler_class=QuietHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def run_node(folder: Path, script: str) -> Any:
    """What `script`, an ES module beside the served one, writes as JSON."""
    assert NODE is not None
    module = app_caller.call(APP, "/rpc")
    (folder / "served.mjs").write_bytes(module.body)
    (folder / "script.mjs").write_text(script)
    done = subprocess.run([NODE, str(folder / "script.mjs")], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


TRY = """
async function attempt(promise) {
  try { return await promise; }
  catch (error) {
    return { is: error instanceof RemoteError && error instanceof Error, name: error.name, message: error.message,
             code: error.code, id: error.id, data: error.data, text: String(error) };
  }
}
"""


@needs_node
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


@needs_node
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


@needs_node
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
    import zlib

    text = app_caller.call(APP, "/rpc").text
    assert "import " not in text.replace("import.meta", "")
    assert len(zlib.compress(text.encode(), 9)) < 4096


def test_a_function_named_like_a_javascript_word_is_no_code() -> None:
    text = app_caller.call(App([("/rpc$", Proxy({"delete": add, "default": add}))]), "/rpc").text
    assert text.endswith('["delete", "default"]);\n')
