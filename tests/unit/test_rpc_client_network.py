"""Remote functions from Python where the network fails: what is tried again, what is given up, who is not trusted."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from framework.rpc import AsyncClient, Client, RemoteError
from framework.rpc.calls import Exchange, make_call
from framework.site.certificates import make_self_signed

DEADLINE = 20.0
LOST = b""
LOST_WITHIN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":"done"}'


def http(body: bytes, status: int = 200, content_type: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nConnection: close\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


class Script:
    """Answers one POST after the other with what is given, as bytes; the last one for ever. `posts` have come."""

    def __init__(self, answers: Sequence[bytes], context: ssl.SSLContext | None = None) -> None:
        self.posts = 0
        self.arrived = threading.Event()
        self.left = threading.Event()
        self._answers = list(answers)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}/rpc"
        self._pool = ThreadPoolExecutor(4)

    def _serve(self) -> None:
        while True:
            try:
                sock = self._listener.accept()[0]
            except OSError:
                return
            sock.settimeout(DEADLINE)
            self._pool.submit(self._answer, sock)

    def _answer(self, sock: socket.socket) -> None:
        with sock:
            if self._context is not None:
                try:
                    sock = self._context.wrap_socket(sock, server_side=True)
                except OSError:
                    return
            with sock:
                received = b""
                while b'"method"' not in received:
                    data = sock.recv(65536)
                    if not data:
                        return
                    if data[:1] == b"\x16" and self._context is None:  # a TLS ClientHello
                        return sock.sendall(http(b"", 400))
                    received += data
                self.posts += 1
                self.arrived.set()
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                if answer == b"wait":
                    while sock.recv(65536):
                        pass
                    self.left.set()
                else:
                    sock.sendall(answer)

    def __enter__(self) -> Script:
        self._pool.submit(self._serve)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._pool.shutdown()


def call_blocking(url: str, **options: Any) -> Any:
    with Client(url, timeout=DEADLINE, **options) as client:
        return client.labels()


def call_awaited(url: str, **options: Any) -> Any:
    async def talk() -> Any:
        async with AsyncClient(url, timeout=DEADLINE, **options) as client:
            return await client.labels()

    return asyncio.run(talk())


@pytest.fixture(params=[call_blocking, call_awaited], ids=["blocking", "awaited"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    found: Callable[..., Any] = request.param
    return found


def failure(function: Callable[..., Any], *args: Any, **named: Any) -> tuple[str, int]:
    with pytest.raises(RemoteError) as caught:
        function(*args, **named)
    return caught.value.type, caught.value.code


@pytest.mark.parametrize("first", [LOST, LOST_WITHIN, http(b"<p>none</p>", 502), http(b"", 503), http(b"", 504)])
def test_what_is_safe_is_tried_again(call: Callable[..., Any], first: bytes) -> None:
    with Script([first, http(ANSWER)]) as server:
        assert call(server.url, safe=["labels"]) == "done"
        assert server.posts == 2


def test_it_is_given_up_after_so_many_tries(call: Callable[..., Any]) -> None:
    with Script([LOST]) as server:
        assert failure(call, server.url, safe=["labels"]) == ("ConnectionError", 0)
        assert server.posts == 3
        assert failure(call, server.url, safe=["labels"], retry=1) == ("ConnectionError", 0)
        assert server.posts == 5
        assert failure(call, server.url, safe=["labels"], retry=0) == ("ConnectionError", 0)
        assert server.posts == 6


@pytest.mark.parametrize("safe", [(), ("other", "label")])
def test_nothing_else_is_tried_again(call: Callable[..., Any], safe: tuple[str, ...]) -> None:
    for answer, told in ((LOST, ("ConnectionError", 0)), (http(b"", 502), ("HTTPError", 502))):
        with Script([answer]) as server:
            assert failure(call, server.url, safe=safe) == told
            assert server.posts == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (http(b"", 500), ("HTTPError", 500)),
        (http(b"", 403), ("HTTPError", 403)),
        (http(b'{"jsonrpc":"2.0","id":1,"error":{"code":502,"message":"x"}}'), ("RemoteError", 502)),
        (http(b'{"params":[1]}\n', content_type="application/x-ndjson"), ("ConnectionError", 0)),
    ],
)
def test_an_answer_is_an_answer(answer: bytes, told: tuple[str, int]) -> None:
    """A stream that breaks off has begun: its items may have been used."""
    with Script([answer]) as server, Client(server.url, safe=["labels"], timeout=DEADLINE) as client:
        assert failure(lambda: list(client.labels())) == told
        assert server.posts == 1


def test_a_time_limit_is_no_reason_to_try_again(call: Callable[..., Any]) -> None:
    with Script([b"wait"]) as server:
        with Client(server.url, safe=["labels"], timeout=0.2) as client:
            assert failure(client.labels) == ("TimeoutError", 0)
        assert server.posts == 1


def test_a_batch_is_tried_again_where_all_of_it_is_safe() -> None:
    both = b'[{"jsonrpc":"2.0","id":1,"result":1},{"jsonrpc":"2.0","id":2,"result":2}]'

    def together(url: str, safe: Sequence[str]) -> list[Any]:
        with Client(url, safe=safe, timeout=DEADLINE) as client, client.batch() as batch:
            results = [batch.labels(), batch.disks()]
        return [one.result() for one in results]

    with Script([LOST, http(both)]) as server:
        assert together(server.url, ["labels", "disks"]) == [1, 2]
        assert server.posts == 2
    with Script([LOST, http(both)]) as server:
        assert failure(together, server.url, ["labels"]) == ("ConnectionError", 0)
        assert server.posts == 1


def test_a_text_is_no_collection_of_names() -> None:
    for client in (Client, AsyncClient):
        with pytest.raises(TypeError, match=r"such as \['labels'\]"):
            client("http://127.0.0.1/rpc", safe="labels")


def test_the_pauses_are_those_of_javascript() -> None:
    """client.js: 200 ms, then twice as long each time."""
    exchange = Exchange([make_call("labels", [], {})], 3, {"labels"})
    lost = RemoteError("lost", type="ConnectionError")
    assert [exchange.pause_after(lost) for _ in range(3)] == [0.2, 0.4, 0.8]
    with pytest.raises(RemoteError, match="lost"):
        exchange.pause_after(lost)


def test_what_was_read_of_a_lost_answer_is_forgotten() -> None:
    exchange = Exchange([make_call("labels", [], {})], 1, {"labels"})
    exchange.feed(b'{"json')
    exchange.pause_after(RemoteError("lost", type="ConnectionError"))
    exchange.feed(ANSWER)
    assert exchange.outcomes(200)[0].take() == "done"


def test_a_cancelled_call_ends_its_connection() -> None:
    async def talk(server: Script) -> None:
        async with AsyncClient(server.url, timeout=DEADLINE * 10) as client:
            calling = asyncio.ensure_future(client.labels()._take())
            await asyncio.to_thread(server.arrived.wait, DEADLINE)
            calling.cancel()
            await asyncio.wait({calling})
            assert calling.cancelled()

    with Script([b"wait"]) as server:
        asyncio.run(talk(server))  # which waits for all threads
        assert server.left.wait(DEADLINE)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    make_self_signed(folder / "a.pem", folder / "a.key", ["console.example", "localhost"])
    return folder / "a.pem", folder / "a.key"


@pytest.fixture
def secure(pair: tuple[Path, Path]) -> Iterator[Script]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    with Script([http(ANSWER)], context) as server:
        yield server


def test_https_with_its_own_authority(call: Callable[..., Any], secure: Script, pair: tuple[Path, Path]) -> None:
    own = ssl.create_default_context(cafile=str(pair[0]))
    assert call(f"https://localhost:{secure.port}/rpc", context=own) == "done"


def test_a_certificate_of_another_name_is_refused(
    call: Callable[..., Any], secure: Script, pair: tuple[Path, Path]
) -> None:
    own = ssl.create_default_context(cafile=str(pair[0]))
    with pytest.raises(RemoteError, match=r"certificate is not valid for '127\.0\.0\.1'") as caught:
        call(secure.url, context=own)
    assert caught.value.type == "ConnectionError"
    assert secure.posts == 0


def test_an_unknown_certificate_is_refused(call: Callable[..., Any], secure: Script) -> None:
    with pytest.raises(RemoteError, match="self-signed certificate") as caught:
        call(f"https://localhost:{secure.port}/rpc", safe=["labels"])
    assert caught.value.type == "ConnectionError"
    assert secure.posts == 0


def test_a_server_without_tls_is_told(call: Callable[..., Any]) -> None:
    with Script([http(ANSWER)]) as server:
        assert failure(call, server.url.replace("http:", "https:")) == ("ConnectionError", 0)
