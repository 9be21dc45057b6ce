"""`async def` handlers, middleware, streams and remote calls: as the server sees them, and as a WSGI application."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from app_caller import INTERFACES, call, cgi_params, native_request

from framework import App, HTTPError, RequestHandler, Response, around, methods
from framework.rpc import Proxy, RPCError


async def hello(request):
    await asyncio.sleep(0)
    return f"hello {request.path}"


async def add(request, a: int, b: int):
    await asyncio.sleep(0)
    return {"sum": a + b}


async def missing(request):
    await asyncio.sleep(0)
    raise HTTPError(404, "There is no such thing.")


async def broken(request):
    await asyncio.sleep(0)
    raise RuntimeError("secret inner text")


async def nothing(request):
    return None


async def wrong(request):
    return 7


class Note(RequestHandler):
    async def get(self, id: int):
        await asyncio.sleep(0)
        return f"note {id} at {self.get_url(Note, id=id)}"

    def put(self, id: int):
        return f"put {id}"


class Awaited:
    def __call__(self, request):
        return hello(request)


def stream(request):
    return Response.stream(chunks(), content_type="text/event-stream")


async def stream_later(request):
    return Response.stream(chunks())


CLOSED = []


async def chunks():
    try:
        for number in range(3):
            await asyncio.sleep(0)
            yield f"é{number};" if number else b"first;"
    finally:
        CLOSED.append("closed")


APP = App(
    [
        ("/hello$", hello),
        (r"/add/(?P<a>\d+)/(?P<b>\d+)$", add),
        ("/missing$", missing),
        ("/broken$", broken),
        ("/nothing$", nothing),
        ("/wrong$", wrong),
        (r"/note/(?P<id>\d+)$", Note),
        ("/object$", Awaited()),
        ("/stream$", stream),
        ("/later$", stream_later),
        ("/only$", methods("POST")(hello)),
    ]
)


@pytest.fixture(params=INTERFACES)
def ask(request):
    """A function that asks an application by one of its interfaces: (status, headers, body)."""

    def ask(app, path, method="GET", **options):
        answer = call(app, path, method, interface=request.param, **options)
        return answer.status, dict(answer.headers), answer.body

    return ask


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/add/2/3", 200, b'{"sum":5}'),
        ("/nothing", 204, b""),
        ("/note/7", 200, b"note 7 at /note/7"),
        ("/object", 200, b"hello /object"),
        ("/stream", 200, "first;é1;é2;".encode()),
        ("/later", 200, "first;é1;é2;".encode()),
    ],
)
def test_async_handlers_answer(ask, path, status, body):
    assert ask(APP, path)[::2] == (status, body)


def test_sync_method_beside_an_async_one(ask):
    assert ask(APP, "/note/3", "PUT")[::2] == (200, b"put 3")
    status, headers, _ = ask(APP, "/note/3", "DELETE")
    assert (status, headers["Allow"]) == (405, "GET, HEAD, PUT, OPTIONS")


def test_head_has_the_length_and_no_body(ask):
    status, headers, body = ask(APP, "/object", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "13", b"")


def test_a_stream_is_closed(ask):
    CLOSED.clear()
    ask(APP, "/stream")
    assert CLOSED == ["closed"]


def test_http_error_is_a_page(ask):
    status, headers, body = ask(APP, "/missing")
    assert status == 404
    assert headers["Content-Type"].startswith("text/html")
    assert b"There is no such thing." in body


@pytest.mark.parametrize("path", ["/broken", "/wrong"])
def test_other_exceptions_are_a_500_with_an_id(ask, path, caplog):
    with caplog.at_level(logging.ERROR, "framework"):
        status, _, body = ask(APP, path)
    assert status == 500
    assert b"secret" not in body
    assert len(caplog.records) == 1


# Middleware


def before_only(request, next):
    if request.query.get("key") != "1":
        raise HTTPError(403)
    return next(request)


async def adds_header(request, next):
    response = await next(request)
    response.add_header("X-Status", str(response.status))
    return response


def looks_at_the_answer(request, next):
    response = next(request)
    response.add_header("X-Seen", "1")
    return response


def sync_handler(request):
    return "sync"


@pytest.mark.parametrize("path", ["/hello", "/missing", "/sync"])
def test_async_middleware_around_any_handler(ask, path):
    app = App([("/hello$", Awaited()), ("/missing$", missing), ("/sync$", sync_handler)], middleware=[adds_header])
    status, headers, _ = ask(app, path)
    assert headers["X-Status"] == str(status)


def test_middleware_around_one_async_handler(ask):
    @around(before_only, adds_header)
    async def handler(request):
        raise HTTPError(404)

    app = App([("/a$", handler)], middleware=[before_only])
    assert ask(app, "/a")[0] == 403
    status, headers, _ = ask(app, "/a", query="key=1")
    assert (status, headers["X-Status"]) == (404, "404")


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_sync_middleware_that_looks_at_an_answer_to_be_awaited_says_why(ask, caplog):
    app = App([("/a$", Awaited()), ("/sync$", sync_handler)], middleware=[looks_at_the_answer])
    assert ask(app, "/a")[0] == 500
    assert "a middleware that looks at it is `async def`" in caplog.text
    assert ask(app, "/sync")[1]["X-Seen"] == "1"


def test_async_middleware_sees_an_exception(ask, caplog):
    seen = []

    async def rolls_back(request, next):
        try:
            return await next(request)
        except RuntimeError:
            seen.append("rolled back")
            raise

    assert ask(App([("/a$", broken)], middleware=[rolls_back]), "/a")[0] == 500
    assert seen == ["rolled back"]


def test_cancelled_handler_is_no_500(caplog):
    async def cancelled():
        pairs = [(name.encode(), value.encode()) for name, value in cgi_params("/a").items()]
        task = asyncio.ensure_future(App([("/a$", sleeper)])(native_request(pairs)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def sleeper(request):
        await asyncio.sleep(3600)

    asyncio.run(cancelled())
    assert caplog.records == []


# Remote calls


async def slow_double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def double(number: int) -> int:
    return 2 * number


async def refuse(why: str) -> None:
    await asyncio.sleep(0)
    raise RPCError(why, code=9)


async def fail() -> None:
    raise OSError("disk on fire")


RPC = App([("/rpc$", Proxy([slow_double, double, refuse, fail]))])


def remote(ask, payload):
    body = json.dumps(payload).encode()
    status, _, answer = ask(RPC, "/rpc", "POST", body=body, content_type="application/json")
    return status, json.loads(answer) if answer else None


def rpc(method, *params, id=1):
    return {"jsonrpc": "2.0", "method": method, "params": list(params), "id": id}


def test_async_functions_are_called(ask):
    assert remote(ask, rpc("slow_double", 4)) == (200, {"jsonrpc": "2.0", "result": 8, "id": 1})
    assert remote(ask, rpc("double", 4))[1]["result"] == 8


def test_errors_of_async_functions(ask, caplog):
    assert remote(ask, rpc("refuse", "no"))[1]["error"] == {"code": 9, "message": "no", "data": {"type": "RPCError"}}
    failed = remote(ask, rpc("fail"))[1]["error"]
    assert failed["data"]["id"] in caplog.text
    assert remote(ask, rpc("slow_double", "four"))[1]["error"]["code"] == -32602


def test_batch_of_both_in_order(ask, caplog):
    calls = [rpc("slow_double", 1, id=1), rpc("double", 2, id=2), rpc("fail", id=3), rpc("slow_double", 4, id=4)]
    notification = {"jsonrpc": "2.0", "method": "slow_double", "params": [9]}
    status, answers = remote(ask, [*calls, notification])
    assert status == 200
    assert [answer["id"] for answer in answers] == [1, 2, 3, 4]
    assert [answer.get("result") for answer in answers] == [2, 4, None, 8]


def test_notification_of_an_async_function(ask):
    assert remote(ask, {"jsonrpc": "2.0", "method": "slow_double", "params": [9]}) == (204, None)
