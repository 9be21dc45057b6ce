"""JSON-RPC 2.0 over POST: the specification's examples, limits, origins, and what callers learn of errors."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import app_caller
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import App, HTTPError, Request
from framework.rpc import CallLimits, Proxy, RPCError, remote

Call = Callable[..., Any]


class Busy(RPCError):
    """An error of an application's own."""


class Point(NamedTuple):
    x: int
    y: int


calls: list[Any] = []


def subtract(minuend: int, subtrahend: int) -> int:
    return minuend - subtrahend


def update(*values: int) -> None:
    calls.append(values)


def total(*values: int) -> int:
    return sum(values)


def get_data() -> list[Any]:
    return ["hello", 5]


def fail(text: str = "the disk is gone") -> None:
    raise OSError(text)


def busy() -> None:
    raise Busy("busy", code=7, data={"until": 3})


def missing() -> None:
    raise HTTPError(404, "There is no such disk.")


def echo(value: Any) -> Any:
    return value


def odd(kind: str) -> Any:
    kinds = {
        "set": {1},
        "decimal": Decimal("1.10"),
        "path": Path("/a"),
        "point": Point(1, 2),
        "surrogate": {"a\udcff": ["\udcff"]},
        "keys": {1: "a"},
        "object": object(),
        "huge": 2**70,
        "bytes": b"x",
    }
    if kind == "loop":
        loop: list[Any] = []
        loop.append(loop)
        return loop
    return kinds[kind]


def where(request: Request, suffix: str = "") -> str:
    return f"{request.path}{suffix}"


PROXY = Proxy(
    {
        "subtract": subtract,
        "update": update,
        "notify_hello": update,
        "sum": total,
        "get_data": get_data,
        "fail": fail,
        "busy": busy,
        "missing": missing,
        "echo": echo,
        "odd": odd,
        "where": where,
    },
    limits=CallLimits(body_bytes=4096, batch=5, depth=10),
)
APP = App([("/rpc$", PROXY, "rpc")])


@pytest.fixture(params=app_caller.INTERFACES)
def post(request: pytest.FixtureRequest) -> Call:
    return functools.partial(send, interface=request.param)


def send(body: bytes | str | Any, app: App = APP, **options: Any) -> app_caller.Answer:
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    options.setdefault("content_type", "application/json")
    return app_caller.call(app, "/rpc", "POST", body=body, **options)


def invoke(method: str, params: Any = None, **options: Any) -> Any:
    call = {"jsonrpc": "2.0", "method": method, "id": 1, **({} if params is None else {"params": params})}
    return send(call, **options).json


# The examples of the JSON-RPC 2.0 specification, section 7.
EXAMPLES = [
    (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
        {"jsonrpc": "2.0", "result": 19, "id": 1},
    ),
    (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
        {"jsonrpc": "2.0", "result": -19, "id": 2},
    ),
    (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
        {"jsonrpc": "2.0", "result": 19, "id": 3},
    ),
    (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
        {"jsonrpc": "2.0", "result": 19, "id": 4},
    ),
    ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
    ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    (
        '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
        {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "1"},
    ),
    (
        '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
        {"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": None},
    ),
    (
        '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
        {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": None},
    ),
    (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
        {"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": None},
    ),
    ("[]", {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": None}),
    ("[1]", [{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": None}]),
    ("[1,2,3]", [{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": None}] * 3),
    (
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},'
        '{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},'
        '{"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},'
        '{"foo": "boo"},'
        '{"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},'
        '{"jsonrpc": "2.0", "method": "get_data", "id": "9"}]',
        [
            {"jsonrpc": "2.0", "result": 7, "id": "1"},
            {"jsonrpc": "2.0", "result": 19, "id": "2"},
            {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": None},
            {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "5"},
            {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"},
        ],
    ),
    (
        '[{"jsonrpc": "2.0", "method": "notify_hello", "params": [1,2,4]},'
        '{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]',
        None,
    ),
]


@pytest.mark.parametrize(("sent", "expected"), EXAMPLES)
def test_the_examples_of_the_specification(post: Call, sent: str, expected: Any) -> None:
    roomy = App([("/rpc$", Proxy({name: f.function for name, f in PROXY.functions.items()}))])
    answer = post(sent, app=roomy)
    if expected is None:
        assert (answer.status, answer.body) == (204, b"")
    else:
        assert answer.json == expected
        assert answer.get("Content-Type") == "application/json"


def test_a_notification_is_carried_out() -> None:
    calls.clear()
    assert send({"jsonrpc": "2.0", "method": "update", "params": [1, 2]}).status == 204
    assert send({"jsonrpc": "2.0", "method": "fail"}).status == 204
    assert calls == [(1, 2)]


@pytest.mark.parametrize(
    ("call", "call_id"),
    [
        ({"jsonrpc": "1.0", "method": "get_data", "id": 1}, 1),
        ({"method": "get_data", "id": 1}, 1),
        ({"jsonrpc": 2.0, "method": "get_data", "id": 1}, 1),
        ({"jsonrpc": "2.0", "method": "get_data", "id": [1]}, None),
        ({"jsonrpc": "2.0", "method": "get_data", "id": True}, None),
        ({"jsonrpc": "2.0", "method": "get_data", "params": None, "id": "x"}, "x"),
        ({"jsonrpc": "2.0", "method": "get_data", "params": 1, "id": 1}, 1),
        ({"jsonrpc": "2.0", "id": 1}, 1),
        ('"text"', None),
        (None, None),
    ],
)
def test_what_is_no_request_is_invalid(post: Call, call: Any, call_id: Any) -> None:
    answer = post(call)
    assert answer.status == 400
    assert answer.json == {
        "jsonrpc": "2.0",
        "error": {"code": -32600, "message": "Invalid Request"},
        "id": call_id,
    }


@pytest.mark.parametrize("call_id", [0, "", "x", 1.5, -1, None])
def test_an_id_comes_back_as_it_was(call_id: Any) -> None:
    answer = send({"jsonrpc": "2.0", "method": "get_data", "id": call_id}).json
    assert answer["id"] == call_id
    assert type(answer["id"]) is type(call_id)


@pytest.mark.parametrize("development", [False, True])
def test_a_failure_tells_type_message_and_id_and_in_development_the_traceback(
    post: Call, caplog: pytest.LogCaptureFixture, development: bool
) -> None:
    app = App([("/rpc$", PROXY)])
    app.mount(development=development)
    error = post({"jsonrpc": "2.0", "method": "fail", "id": 1}, app=app).json["error"]
    assert (error["code"], error["message"], error["data"]["type"]) == (-32000, "the disk is gone", "OSError")
    assert f"error {error['data']['id']} in POST /rpc (remote call of fail): OSError" in caplog.text
    assert "in fail" in caplog.text
    assert ("Traceback" in error["data"].get("traceback", "")) is development


def test_in_development_refusals_say_more() -> None:
    app = App([("/rpc$", PROXY)])
    app.mount(development=True)
    assert invoke("nope", app=app)["error"]["data"] == {"detail": "there is no function 'nope'"}
    assert "line 1 column" in send(b"{", app=app).json["error"]["data"]["detail"]


def test_an_error_meant_for_the_caller_is_not_logged(post: Call, caplog: pytest.LogCaptureFixture) -> None:
    assert invoke("busy")["error"] == {
        "code": 7,
        "message": "busy",
        "data": {"type": "Busy", "data": {"until": 3}},
    }
    assert invoke("missing")["error"] == {
        "code": 404,
        "message": "There is no such disk.",
        "data": {"type": "HTTPError", "status": 404},
    }
    assert not caplog.records


def test_codes_of_json_rpc_itself_are_not_for_applications() -> None:
    with pytest.raises(ValueError, match="-32768 to -32100"):
        RPCError("x", code=-32601)


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("set", [1]),
        ("decimal", "1.10"),
        ("path", "/a"),
        ("point", [1, 2]),
        ("surrogate", {"a?": ["?"]}),
        ("keys", {"1": "a"}),
    ],
)
def test_common_results_are_sent(kind: str, result: Any) -> None:
    assert invoke("odd", [kind])["result"] == result


@pytest.mark.parametrize("kind", ["object", "huge", "loop", "bytes"])
def test_a_result_that_json_does_not_have_is_an_internal_error(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    error = invoke("odd", [kind])["error"]
    assert error["code"] == -32603
    assert "cannot be sent" in error["message"]
    assert error["data"]["id"] in caplog.text


def test_one_bad_result_leaves_the_rest_of_a_batch() -> None:
    answers = send(
        [
            {"jsonrpc": "2.0", "method": "odd", "params": ["object"], "id": 1},
            {"jsonrpc": "2.0", "method": "get_data", "id": 2},
        ]
    ).json
    assert [("error" in answer, answer["id"]) for answer in answers] == [(True, 1), (False, 2)]


def test_a_message_that_is_no_unicode_arrives_anyway() -> None:
    app = App([("/rpc$", Proxy({"f": lambda: fail("a\udcff")}))])
    assert invoke("f", app=app)["error"]["message"] == "a?"


def test_limits_hold_at_the_limit_and_one_over(post: Call) -> None:
    one = {"jsonrpc": "2.0", "method": "get_data", "id": 1}
    assert len(post([one] * 5).json) == 5
    over = post([one] * 6)
    assert over.status == 400
    assert over.json["error"] == {"code": -32600, "message": "Invalid Request: a batch of more than 5 calls"}

    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value]
        return {"jsonrpc": "2.0", "method": "echo", "params": [value], "id": 1}

    assert "result" in post(nested(8)).json  # the object and its params are two levels
    assert post(nested(9)).json["error"]["message"] == "Invalid Request: nested deeper than 10"

    call = b'{"jsonrpc":"2.0","method":"get_data","id":1}'
    assert post(call + b" " * (4096 - len(call))).status == 200
    assert post(call + b" " * (4097 - len(call))).status == 413


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None, "application/jsonx"])
def test_only_json_is_taken(post: Call, content_type: str | None) -> None:
    answer = post({"jsonrpc": "2.0", "method": "get_data", "id": 1}, content_type=content_type)
    assert answer.status == 415


@pytest.mark.parametrize(
    ("headers", "options", "status"),
    [
        ({}, {}, 200),
        ({"Origin": "http://console.localhost", "Sec-Fetch-Site": "same-origin"}, {}, 200),
        ({"Origin": "HTTP://Console.localhost:8080"}, {"host": "console.localhost:8080"}, 200),
        ({"Origin": "https://console.localhost"}, {}, 200),  # a proxy in front ended the TLS
        ({"Origin": "http://console.localhost"}, {"REQUEST_SCHEME": "https"}, 403),
        ({"Origin": "http://console.localhost:8080"}, {}, 403),
        (
            {"Origin": "http://console.localhost:8080"},
            {"SERVER_PORT": "8080"},
            200,
        ),  # the front end left it out of Host
        ({"Origin": "http://console.localhost:8081"}, {"SERVER_PORT": "8080"}, 403),
        ({"Origin": "http://console.localhost:8080"}, {"host": "console.localhost:81", "SERVER_PORT": "8080"}, 403),
        ({"Origin": "http://evil.example:8080"}, {"SERVER_PORT": "8080"}, 403),
        ({"Origin": "http://[::1]:8080"}, {"host": "[::1]", "SERVER_PORT": "8080"}, 200),
        ({"Origin": "http://evil.example"}, {}, 403),
        ({"Origin": "http://console.localhost.evil.example"}, {}, 403),
        ({"Origin": "null"}, {}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, {}, 403),
        ({"Sec-Fetch-Site": "same-site"}, {}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://console.localhost"}, {}, 403),
    ],
)
def test_calls_come_from_pages_of_this_address_only(
    post: Call, headers: dict[str, str], options: dict[str, str], status: int
) -> None:
    calls.clear()
    answer = post({"jsonrpc": "2.0", "method": "update", "params": [1], "id": 1}, headers=headers, **options)
    assert answer.status == status
    assert calls == ([(1,)] if status == 200 else [])


def test_a_body_that_breaks_off_is_refused(post: Call) -> None:
    assert post(b'{"jsonrpc"', length=500).status == 400


def test_other_methods_are_refused() -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        answer = app_caller.call(APP, "/rpc", method)
        assert (answer.status, answer.get("Allow")) == (405, "GET, HEAD, POST, OPTIONS")


def test_answers_are_not_kept_by_caches(post: Call) -> None:
    answer = post({"jsonrpc": "2.0", "method": "get_data", "id": 1})
    assert answer.get("Cache-Control") == "no-store"
    assert answer.get("X-Content-Type-Options") == "nosniff"


def test_the_request_is_given_by_the_server_alone(post: Call) -> None:
    assert invoke("where")["result"] == "/rpc"
    assert invoke("where", ["!"])["result"] == "/rpc!"
    assert invoke("where", {"suffix": "?"})["result"] == "/rpc?"
    error = invoke("where", {"request": "x"})["error"]
    assert (error["code"], error["message"]) == (-32602, "Invalid params: where(suffix): it has no argument 'request'")


def only_admins(request: Request, arguments: dict[str, Any]) -> bool:
    calls.append(arguments)
    return request.remote_user == "admin"


@remote(allow=only_admins)
def rename(disk: str, label: str = "data", *more: int) -> str:
    return f"{disk} is {label}"


def test_a_hook_sees_request_and_arguments_and_refuses(post: Call) -> None:
    app = App([("/rpc$", Proxy([rename]))])
    calls.clear()
    call = {"jsonrpc": "2.0", "method": "rename", "params": ["sda", "x", 7], "id": 1}
    error = post(call, app=app, REMOTE_USER="eve").json["error"]
    assert (error["code"], error["message"]) == (403, "You may not call rename.")
    assert error["data"] == {"type": "HTTPError", "status": 403}
    assert post(call, app=app, REMOTE_USER="admin").json["result"] == "sda is x"
    assert calls == [{"disk": "sda", "label": "x", "*": [7]}] * 2
    assert post({**call, "params": {"disk": 1}}, app=app, REMOTE_USER="admin").json["error"]["code"] == -32602
    assert len(calls) == 2  # what does not fit is not asked about


def test_a_hook_for_all_functions_comes_first(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(request: Request, arguments: dict[str, Any]) -> bool:
        raise Busy("not now", code=9)

    async def never(request: Request, arguments: dict[str, Any]) -> bool:
        return True

    calls.clear()
    app = App([("/rpc$", Proxy([rename, get_data], allow=refuse))])
    for method, params in (("rename", ["sda"]), ("get_data", [])):
        assert invoke(method, params, app=app)["error"]["code"] == 9
    assert calls == []
    asynchronous = App([("/rpc$", Proxy([get_data], allow=never))])  # type: ignore[arg-type]
    assert "asynchronous" in invoke("get_data", app=asynchronous)["error"]["message"]


def test_calls_are_logged_with_their_duration_and_without_arguments(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "framework.rpc"):
        invoke("echo", ["secret"])
        invoke("fail", ["secret"])
        invoke("nope", ["secret"])
    lines = [record.getMessage() for record in caplog.records if record.name == "framework.rpc"]
    assert [re.sub(r"[\d.]+ ms", "… ms", line) for line in lines] == ["call of echo: … ms", "call of fail: … ms"]
    caplog.clear()
    invoke("echo", ["secret"])
    assert not caplog.records


def test_nothing_is_reached_by_attribute() -> None:
    for name in ("__class__", "subtract.__globals__", "sum.__call__", "functions", "rpc.other", ""):
        assert invoke(name)["error"]["code"] == -32601


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
call_like = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | json_values,
        "method": st.sampled_from(list(PROXY.functions)) | json_values,
        "params": st.lists(json_values, max_size=3) | json_values,
        "id": json_values,
    },
)


@given(
    st.binary(max_size=80)
    | (call_like | st.lists(call_like, max_size=4) | json_values).map(lambda v: json.dumps(v).encode())
)
def test_whatever_comes_the_answer_is_json_rpc(body: bytes) -> None:
    answer = send(body)
    assert answer.status in (200, 204, 400)
    if answer.status == 204:
        assert answer.body == b""
        return
    answers = answer.json if isinstance(answer.json, list) else [answer.json]
    for one in answers:
        assert one["jsonrpc"] == "2.0"
        assert ("result" in one) != ("error" in one)
        assert "id" in one
