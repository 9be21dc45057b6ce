"""Remote functions from Python: over a unix socket and over HTTP, blocking and awaited."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import wsgiref_server
from hypothesis import given
from hypothesis import strategies as st
from loop_thread import LoopThread

from fastcore import implementation
from framework import App, Request
from framework.rpc import AsyncClient, Client, Progress, Proxy, RemoteError, RPCError
from framework.rpc.calls import make_call, read_answers

DEADLINE = 20.0


class Busy(RPCError):
    pass


def add(a: int, b: int = 10) -> int:
    return a + b


def echo(value: Any) -> Any:
    return value


def fail(kind: str) -> None:
    if kind == "busy":
        raise Busy("later", code=7, data={"until": dt.date(2026, 1, 1)})
    raise ZeroDivisionError("division by zero")


def who(request: Request) -> list[str | None]:
    return [request.remote_user, request.headers.get("X-Note"), request.full_path]


def count(to: int) -> Iterator[int]:
    yield from range(to)
    return "counted"  # type: ignore[return-value]


ended: list[str] = []


async def silent(name: str) -> AsyncIterator[str]:
    try:
        yield name
        await asyncio.Event().wait()
    except GeneratorExit:
        ended.append(name)
        raise


async def breaks() -> AsyncIterator[Progress]:
    yield Progress(1, 2, "half")
    raise Busy("enough", code=8)


class Processes:
    def kill(self, pid: int) -> str:
        return f"killed {pid}"


FUNCTIONS: dict[str, Any] = {
    name: globals()[name] for name in ("add", "echo", "fail", "who", "count", "silent", "breaks")
}
APP = App([("/rpc$", Proxy({**FUNCTIONS, "processes": Processes()}))])
Connect = Callable[..., Client]


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[str, ...]]]:
    """The same application behind FastCGI and behind HTTP."""
    twin = implementation.twin("compiled" if implementation.accelerated else "pure")
    with wsgiref_server.served(APP) as url, LoopThread(twin, APP, tmp_path_factory.mktemp("s")) as loop:
        yield {"http": (f"{url}/rpc",), "socket": (f"unix:{loop.path}", "/rpc")}


@pytest.fixture(params=["http", "socket"])
def address(request: pytest.FixtureRequest, addresses: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    return addresses[request.param]


def failure(function: Callable[[], Any]) -> tuple[str, str, int]:
    with pytest.raises(RemoteError) as caught:
        function()
    return caught.value.type, str(caught.value), caught.value.code


def test_functions_are_called_as_if_they_were_local(address: tuple[str, ...]) -> None:
    with Client(*address) as client:
        assert client.add(1) == 11
        assert client.add(1, 2) == client.call("add", a=1, b=2) == client.add(b=2, a=1) == 3
        assert client.processes.kill(7) == "killed 7"
        for _ in range(5):
            assert client.echo("again") == "again"
        with pytest.raises(TypeError, match="or by name"):
            client.add(1, b=2)
        with pytest.raises(TypeError, match=r"of echo cannot be sent"):
            client.echo(object())


VALUES = [
    *(None, True, 2**70, 1.5, float("inf"), "ä", [1, [2]], {"a": {"$set": 1}}, (1, "a"), {1, 2}, {1: "a", None: 2}),
    *(b"\0\xff", Decimal("1.10"), uuid.UUID(int=7), dt.date(2026, 2, 28), dt.timedelta(seconds=90, microseconds=5)),
    *(dt.datetime(2026, 2, 28, 10, tzinfo=dt.UTC), dt.time(10, 30), Progress(1, None, "x")),
]


def test_values_keep_their_kind(address: tuple[str, ...]) -> None:
    with Client(*address) as client:
        for value, back in zip(VALUES, client.echo(VALUES), strict=True):
            assert back == value
            assert type(back) is type(value)


def test_errors_are_those_of_javascript(address: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
    with Client(*address) as client:
        with pytest.raises(RemoteError, match="later") as caught:
            client.fail("busy")
        error = caught.value
        assert (error.type, error.code, error.data, error.id) == ("Busy", 7, {"until": dt.date(2026, 1, 1)}, None)
        with pytest.raises(RemoteError, match="division by zero") as caught:
            client.fail("other")
        error = caught.value
        assert (error.type, error.code, error.traceback) == ("ZeroDivisionError", -32000, "")
        assert error.id
        assert error.id in caplog.text
        assert failure(client.nothing.there) == ("MethodNotFound", "the server has no function nothing.there", -32601)
        kind, text, code = failure(lambda: client.add("x"))
        assert (kind, code) == ("InvalidParams", -32602)
        assert "the argument 'a'" in text


def test_a_batch_is_one_post_and_each_result_its_own(address: tuple[str, ...]) -> None:
    with Client(*address) as client:
        with client.batch() as batch:
            numbers = [batch.add(number, 0) for number in range(120)]
            bad, killed = batch.add("x"), batch.processes.kill(7)
            with pytest.raises(RuntimeError, match="not sent yet"):
                killed.result()
        assert [one.result() for one in numbers] == list(range(120))
        assert killed.result() == "killed 7"
        assert failure(bad.result)[0] == "InvalidParams"
        with client.batch():
            pass


def test_a_generator_is_an_iterator(address: tuple[str, ...]) -> None:
    with Client(*address) as client:
        stream = client.count(3)
        assert list(stream) == [0, 1, 2]
        assert stream.result == "counted"
        broken = client.breaks()
        assert next(broken) == Progress(1, 2, "half")
        with pytest.raises(RemoteError, match="enough"):
            next(broken)


def test_leaving_a_stream_ends_its_generator(addresses: dict[str, tuple[str, ...]]) -> None:
    ended.clear()
    with Client(*addresses["socket"]) as client:
        with client.silent("with") as stream:
            assert next(stream) == "with"
        stream = client.silent("closed")
        assert next(stream) == "closed"
        stream.close()
        assert list(stream) == []
        assert client.add(1) == 11
    deadline = time.monotonic() + DEADLINE
    while sorted(ended) != ["closed", "with"]:
        assert time.monotonic() < deadline, ended
        time.sleep(0.02)


def test_what_is_no_answer_is_told_as_javascript_tells_it(
    addresses: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    url, (sock, _) = addresses["http"][0], addresses["socket"]
    assert failure(lambda: Client(url.replace("/rpc", "/other")).add(1))[::2] == ("HTTPError", 404)
    assert failure(lambda: Client(sock, "/other").add(1))[::2] == ("HTTPError", 404)
    assert failure(lambda: Client(url, headers={"Origin": "http://evil.example"}).add(1))[::2] == ("HTTPError", 403)
    assert failure(lambda: Client(f"unix:{tmp_path}/none", "/rpc").add(1))[0] == "ConnectionError"
    with socket.create_server(("127.0.0.1", 0)) as mute:
        where = f"127.0.0.1:{mute.getsockname()[1]}"
        assert failure(lambda: Client(where, "/rpc", timeout=0.2).add(1))[0] == "TimeoutError"
        assert failure(lambda: Client(f"http://{where}/rpc", timeout=0.2).add(1))[0] == "TimeoutError"
    assert failure(lambda: Client(f"http://{where}/rpc").add(1))[0] == "ConnectionError"


@pytest.mark.parametrize(
    "arguments", [("unix:/x",), ("unix:/x", "rpc"), ("http://a/rpc", "/rpc"), ("http://u:p@a/rpc",), ("http:///rpc",)]
)
def test_what_is_no_address(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        Client(*arguments)


def test_headers_and_parameters_go_along(addresses: dict[str, tuple[str, ...]]) -> None:
    assert Client(*addresses["http"], headers={"X-Note": "n"}).who() == [None, "n", "/rpc"]
    own = Client(*addresses["socket"], headers={"X-Note": "n"}, params={"REMOTE_USER": "operator"})
    assert own.who() == ["operator", "n", "/rpc"]


class Script:
    """Answers every POST with the same bytes, as a hostile or broken server would."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/rpc"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            try:
                sock = self._listener.accept()[0]
            except OSError:
                return
            with sock:
                received = b""
                while b'"method"' not in received and (data := sock.recv(65536)):
                    received += data
                sock.sendall(self._answer)

    def __enter__(self) -> Script:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(DEADLINE)


def http(body: bytes, content_type: str = "application/json") -> bytes:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "ConnectionError"),
        (b"nonsense\r\n\r\n", "ConnectionError"),
        (http(b""), "HTTPError"),
        (http(b"[]"), "HTTPError"),
        (http(b"<p>a page</p>"), "HTTPError"),
        (http(b'{"jsonrpc":"2.0","id":1,"error":7}'), "HTTPError"),
        (http(b'{"jsonrpc":"2.0","id":[1],"result":7}'), "HTTPError"),
        (http(b'{"jsonrpc":"2.0","id":2,"result":7}'), "HTTPError"),
        (http(b'{"jsonrpc":"2.0","id":1,"error":{}}'), "RemoteError"),
        (http(b'{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":[],"data":[]}}'), "RemoteError"),
        (http(b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"data":{"type":7,"id":[],"traceback":1}}}'), "RemoteError"),
        (http(b'{"jsonrpc":"2.0","id":1,"result":{"$nothing":7}}'), "InvalidAnswer"),
        (http(b'{"jsonrpc":"2.0","id":1,"result":{"$int":[]}}'), "InvalidAnswer"),
        (http(b"[]" * 100_000), "HTTPError"),
        (http(b"x\n", "application/x-ndjson"), "InvalidAnswer"),
        (http(b"{}\n", "application/x-ndjson"), "InvalidAnswer"),
        (http(b"[1]\n", "application/x-ndjson"), "InvalidAnswer"),
        (http(b'{"params":[{"$int":"x"}]}\n', "application/x-ndjson"), "InvalidAnswer"),
        (http(b'{"params":[1]}\n', "application/x-ndjson"), "ConnectionError"),
    ],
)
def test_whatever_a_server_sends_is_a_remote_error(answer: bytes, kind: str) -> None:
    with Script(answer) as script, Client(script.url, timeout=DEADLINE) as client:

        def ask() -> None:
            found = client.echo(1)
            if not isinstance(found, int):
                list(found)

        assert failure(ask)[0] == kind


def test_an_answer_over_the_limit_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framework.rpc.calls.MAX_ANSWER_BYTES", 100)

    def answer(length: int) -> bytes:
        start = b'{"jsonrpc":"2.0","id":1,"result":"'
        return start + b"x" * (length - len(start) - 2) + b'"}'

    with Script(http(answer(100))) as script:
        assert len(Client(script.url).echo(1)) > 50
    with Script(http(answer(101))) as script:
        assert failure(lambda: Client(script.url).echo(1))[0] == "InvalidAnswer"
    with Script(http(b"x" * 101, "application/x-ndjson")) as script:
        assert failure(lambda: list(Client(script.url).echo(1)))[0] == "InvalidAnswer"


def test_awaited(address: tuple[str, ...]) -> None:
    async def talk() -> None:
        async with AsyncClient(*address) as client:
            assert await client.add(1) == 11
            assert await client.processes.kill(7) == "killed 7"
            assert await asyncio.gather(*(client.echo(number) for number in range(8))) == list(range(8))
            assert await client.echo(VALUES) == VALUES
            async with client.batch() as batch:
                one, two = batch.add(1, 2), batch.add("x")
            assert one.result() == 3
            assert failure(two.result)[0] == "InvalidParams"
            with pytest.raises(RemoteError, match="later"):
                await client.fail("busy")
            assert [number async for number in client.count(3)] == [0, 1, 2]
            stream = await client.count(2)
            assert [number async for number in stream] == [0, 1]
            assert stream.result == "counted"
            with pytest.raises(TypeError, match="no generator"):
                async for _ in client.add(1):
                    pass

    asyncio.run(talk())


@pytest.mark.parametrize("way", ["http", "socket"])
def test_a_cancelled_stream_ends_its_generator(way: str, addresses: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    """Over HTTP the thread that reads comes back, too: else run() would not end."""

    async def talk() -> None:
        async with AsyncClient(*addresses[way]) as client:
            stream = await client.silent(way) if way == "socket" else await client.count(10**9)
            await anext(stream)

            async def read() -> None:
                async for _ in stream:
                    await asyncio.sleep(0)

            reading = asyncio.create_task(read())
            await asyncio.sleep(0.05)
            reading.cancel()
            await asyncio.wait({reading})
            assert reading.cancelled()
            await stream.aclose()

    ended.clear()
    asyncio.run(talk())
    deadline = time.monotonic() + DEADLINE
    while way == "socket" and ended != [way]:
        assert time.monotonic() < deadline, ended
        time.sleep(0.02)


def test_a_back_end_does_not_load_the_clients() -> None:
    import subprocess
    import sys

    code = (
        "import framework.rpc, sys; print([m for m in sys.modules if m in ('framework.rpc.client', 'fastcore.client')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["2.0", "x", "$int"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["jsonrpc", "id", "result", "error", "code", "message", "data", "type", "detail", "$set"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_whatever_json_comes_is_an_outcome_or_a_remote_error(value: Any) -> None:
    call = make_call("echo", [1], {})
    with suppress(RemoteError):  # and nothing else
        read_answers([call], 200, json.dumps(value).encode())[0].take()
