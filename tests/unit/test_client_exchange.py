"""Requests over real sockets, by both clients, to servers that behave well, badly or not at all."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from scripted_fcgi import HEAD, Peer, end, records, serving, stderr, stdout

from fastcore import constants as c
from fastcore.client import (
    AsyncClient,
    CannotConnect,
    Client,
    ClientLimits,
    ConnectionLost,
    ProtocolError,
    Response,
    TimeoutError,
)


def blocking(address: str, *requests: tuple[dict[str, str], Any], **options: Any) -> list[Response]:
    with Client(address, options.pop("timeout", 10.0), **options) as client:
        return [client.request(params, body) for params, body in requests]


def asynchronous(address: str, *requests: tuple[dict[str, str], Any], **options: Any) -> list[Response]:
    async def run() -> list[Response]:
        async with AsyncClient(address, options.pop("timeout", 10.0), **options) as client:
            return [await client.request(params, body) for params, body in requests]

    return asyncio.run(run())


@pytest.fixture(params=[blocking, asynchronous])
def ask(request: pytest.FixtureRequest) -> Callable[..., list[Response]]:
    """Send requests, one after the other, with one client of either kind."""
    return request.param  # type: ignore[no-any-return]


GET = ({"REQUEST_METHOD": "GET"}, b"")
POST = ({"REQUEST_METHOD": "POST"}, b"x")


def echo(peer: Peer) -> None:
    while (request := peer.request()) is not None:
        params, body = request
        peer.sock.sendall(stdout(HEAD + params.get(b"NAME", b"") + body) + end())


@pytest.mark.parametrize("tcp", [False, True])
def test_an_answer_comes_whole_and_the_connection_is_kept(ask: Callable[..., list[Response]], tcp: bool) -> None:
    with serving(echo, tcp=tcp) as (address, server):
        answers = ask(address, ({"NAME": "one "}, b"body"), ({"NAME": "two"}, b""))
        assert answers[0] == Response(200, [("Content-Type", "text/plain")], b"one body")
        assert answers[0].header("content-TYPE") == "text/plain"
        assert answers[1].body == b"two"
        assert server.connections == 1


def test_without_keep_alive_each_request_has_its_connection(ask: Callable[..., list[Response]]) -> None:
    flags = []

    def handle(peer: Peer) -> None:
        record = peer.record()
        assert record is not None
        flags.append(record[1][2])
        peer.request()
        peer.sock.sendall(stdout(HEAD) + end())

    with serving(handle) as (address, server):
        ask(address, GET, GET, keep_alive=False)
        assert (server.connections, flags) == (2, [0, 0])


def test_stderr_and_statuses_are_told(ask: Callable[..., list[Response]]) -> None:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(stderr(b"watch ") + stdout(HEAD + b"ok") + stderr(b"out\n") + end(app_status=7))

    with serving(handle) as (address, _):
        answer = ask(address, GET)[0]
    assert (answer.errors, answer.body, answer.app_status) == (b"watch out\n", b"ok", 7)


@pytest.mark.parametrize(
    ("protocol_status", "status"), [(c.CANT_MPX_CONN, 503), (c.OVERLOADED, 503), (c.UNKNOWN_ROLE, 501)]
)
def test_a_refusal_has_a_status_of_its_own(
    ask: Callable[..., list[Response]], protocol_status: int, status: int
) -> None:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(records.build_end_request(1, 0, protocol_status))

    with serving(handle) as (address, _):
        answer = ask(address, GET)[0]
    assert (answer.status, answer.protocol_status, answer.body) == (status, protocol_status, b"")


SIZE = 5_000_000


def pieces(data: bytes, size: int = 100_000) -> Iterator[bytes]:
    yield b""
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("form", ["bytes", "file", "iterable", "memoryview"])
def test_big_bodies_go_both_ways_at_once(ask: Callable[..., list[Response]], form: str) -> None:
    def handle(peer: Peer) -> None:
        peer.sock.sendall(stdout(HEAD))
        while (record := peer.record()) is not None:
            kind, content = record
            if kind == c.STDIN:
                peer.sock.sendall(stdout(content) if content else end())

    content = os.urandom(SIZE)
    body = {
        "bytes": content,
        "file": io.BytesIO(content),
        "iterable": pieces(content),
        "memoryview": memoryview(content),
    }
    with serving(handle) as (address, _):
        assert ask(address, ({}, body[form]))[0].body == content


def test_an_asynchronous_iterable_is_a_body() -> None:
    async def source() -> AsyncIterator[bytes]:
        for number in range(5):
            await asyncio.sleep(0)
            yield b"%d" % number

    with serving(echo) as (address, _):
        assert asynchronous(address, ({}, source()))[0].body == b"01234"


def test_a_server_that_answers_without_reading_the_body_is_heard(ask: Callable[..., list[Response]]) -> None:
    def handle(peer: Peer) -> None:
        peer.record()
        peer.sock.sendall(stdout(b"Status: 413 Content Too Large\n\nno") + end())
        while peer.sock.recv(65536):
            pass

    with serving(handle) as (address, server):
        # Kept, a connection that took the whole body before its answer was seen would rightly be used again.
        answers = ask(address, ({}, b"x" * SIZE), ({}, b"x" * SIZE), keep_alive=False)
        assert [(answer.status, answer.body) for answer in answers] == [(413, b"no")] * 2
        assert server.connections == 2


def test_a_server_that_answers_and_closes_before_the_body_is_sent_is_heard(ask: Callable[..., list[Response]]) -> None:
    def handle(peer: Peer) -> None:
        peer.record()
        peer.sock.sendall(stdout(HEAD + b"enough") + end())
        peer.sock.shutdown(socket.SHUT_RD)

    with serving(handle) as (address, _):
        assert ask(address, ({}, b"x" * SIZE))[0].body == b"enough"


# --- connections that die


def one_request_a_connection(peer: Peer) -> None:
    peer.request()
    peer.sock.sendall(stdout(HEAD + b"ok") + end())


def test_a_server_that_closes_kept_connections_costs_nothing_but_a_new_one(ask: Callable[..., list[Response]]) -> None:
    with serving(one_request_a_connection) as (address, server):
        assert [answer.body for answer in ask(address, GET, GET, GET)] == [b"ok"] * 3
        assert server.connections == 3


def dies_at_second_request(peer: Peer) -> None:
    peer.request()
    peer.sock.sendall(stdout(HEAD + b"ok") + end())
    peer.request()


def test_a_dead_kept_connection_is_replaced_once_for_a_get(ask: Callable[..., list[Response]]) -> None:
    with serving(dies_at_second_request) as (address, server):
        assert [answer.body for answer in ask(address, GET, GET)] == [b"ok"] * 2
        assert server.connections == 2


def test_a_post_is_never_sent_twice(ask: Callable[..., list[Response]]) -> None:
    with serving(dies_at_second_request) as (address, server):
        with pytest.raises(ConnectionLost, match="before the end of the answer"):
            ask(address, POST, POST)
        assert server.connections == 1


def test_a_get_whose_answer_had_begun_is_not_sent_again(ask: Callable[..., list[Response]]) -> None:
    def handle(peer: Peer) -> None:
        dies_at_second_request(peer)
        peer.sock.sendall(stderr(b"half"))

    with serving(handle) as (address, server):
        with pytest.raises(ConnectionLost) as caught:
            ask(address, GET, GET)
        assert caught.value.errors == b"half"
        assert server.connections == 1


@pytest.mark.parametrize("answer", [b"", stdout(HEAD), stdout(HEAD + b"x")[:-1], stderr(b"Traceback: boom")])
def test_a_close_before_the_end_is_told_with_the_address(ask: Callable[..., list[Response]], answer: bytes) -> None:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(answer)

    with serving(handle) as (address, _):
        with pytest.raises(ConnectionLost) as caught:
            ask(address, GET)
    assert str(caught.value).startswith(f"{address}: the server closed the connection")
    assert caught.value.errors == (b"Traceback: boom" if b"boom" in answer else b"")


def test_nobody_there_is_told_with_a_hint(ask: Callable[..., list[Response]], tmp_path: Path) -> None:
    with pytest.raises(CannotConnect, match="is the server running"):
        ask("unix:/no/such.sock", GET)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(CannotConnect, match=f"127.0.0.1:{port}: cannot connect: .*is the server running"):
        ask(f"127.0.0.1:{port}", GET)


@pytest.mark.parametrize("address", ["fd:0", "nonsense"])
def test_what_is_no_server_is_refused_before_anything_is_sent(ask: Callable[..., list[Response]], address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        ask(address, GET)


# --- servers that do nothing, or too much


@pytest.mark.parametrize(
    ("answer", "step"),
    [
        (b"", "the head of the answer"),
        (stderr(b"busy"), "the head of the answer"),
        (stdout(HEAD), "more of the answer"),
    ],
)
def test_silence_ends_with_what_was_waited_for(ask: Callable[..., list[Response]], answer: bytes, step: str) -> None:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(answer)
        peer.record()

    with serving(handle) as (address, _):
        for seconds in (0.2, 2, 20):  # the server's own thread may be late
            with pytest.raises(TimeoutError) as caught:
                ask(address, GET, timeout=seconds)
            if str(caught.value).startswith(f"{address}: waited {seconds:g} s for {step}"):
                return
        raise caught.value


def test_a_server_that_does_not_read_is_told_so(ask: Callable[..., list[Response]]) -> None:
    release = threading.Event()

    with serving(lambda peer: release.wait(20) and None) as (address, _):
        try:
            with pytest.raises(TimeoutError, match=r"waited 0\.2 s for the server to read the request"):
                ask(address, ({}, b"x" * SIZE), timeout=0.2)
        finally:
            release.set()


def test_total_timeout_ends_a_server_that_drips() -> None:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(stdout(HEAD))
        with suppress(OSError):
            while True:
                peer.sock.sendall(stdout(b"."))
                threading.Event().wait(0.02)

    with serving(handle) as (address, _):
        with pytest.raises(TimeoutError, match=r"longer than 0\.3 s"):
            blocking(address, GET, total_timeout=0.3)


HOSTILE = [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10, {}, "FastCGI version 72"),
    (stdout(HEAD) + stdout(b"x" * 101) + end(), {"body": 100}, "over 100 bytes"),
    (stdout(b"A: " + b"x" * 101), {"head": 100}, "longer than 100 bytes"),
    (stderr(b"x" * 50_000) * 30, {"overhead": 100_000}, "more than 100000 bytes"),
    (stdout(b"garbage\n\n"), {}, "not a header line"),
]


@pytest.mark.parametrize(("answer", "limits", "reason"), HOSTILE)
def test_hostile_answers_are_cut_off(
    ask: Callable[..., list[Response]], answer: bytes, limits: dict[str, int], reason: str
) -> None:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(answer)
        peer.record()

    with serving(handle) as (address, _):
        with pytest.raises(ProtocolError, match=reason) as caught:
            ask(address, GET, limits=ClientLimits(**limits))
    assert str(caught.value).startswith(address)


def test_long_stderr_is_cut_at_its_limit(ask: Callable[..., list[Response]]) -> None:
    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(stderr(b"e" * 99) + stderr(b"f" * 99) + stdout(HEAD) + end())

    with serving(handle) as (address, _):
        assert ask(address, GET, limits=ClientLimits(errors=100))[0].errors == b"e" * 99 + b"f"


def test_the_source_of_a_body_may_fail_and_the_server_sees_no_end_of_it(ask: Callable[..., list[Response]]) -> None:
    seen: list[object] = []
    connected = threading.Event()

    def handle(peer: Peer) -> None:
        connected.set()
        seen.append(peer.request())

    def source() -> Iterator[bytes]:
        yield b"half"
        assert connected.wait(20)
        raise LookupError("the disk is gone")

    with serving(handle) as (address, _):
        with pytest.raises(LookupError, match="the disk is gone"):
            ask(address, ({}, source()))
    assert seen == [None]


@pytest.mark.parametrize("body", ["text", ["text"]])
def test_text_is_no_body(ask: Callable[..., list[Response]], body: Any) -> None:
    with serving(echo) as (address, _):
        with pytest.raises(TypeError):
            ask(address, ({}, body))


# --- streaming


def streamer(go_on: threading.Event) -> Callable[[Peer], None]:
    def handle(peer: Peer) -> None:
        while peer.request() is not None:
            peer.sock.sendall(stdout(HEAD + b"first"))
            go_on.wait(20)
            peer.sock.sendall(stdout(b"second") + end())

    return handle


def test_pieces_of_a_streamed_answer_come_when_they_are_sent() -> None:
    go_on = threading.Event()
    with serving(streamer(go_on)) as (address, server), Client(address) as client:
        for _ in range(2):
            go_on.clear()
            with client.stream({}) as response:
                chunks = iter(response)
                assert (response.status, next(chunks)) == (200, b"first")
                go_on.set()
                assert list(chunks) == [b"second"]
        assert server.connections == 1


def test_pieces_of_a_streamed_answer_come_when_they_are_sent_asynchronously() -> None:
    go_on = threading.Event()

    async def run(address: str) -> None:
        async with AsyncClient(address) as client:
            for _ in range(2):
                go_on.clear()
                chunks = []
                async with client.stream({}) as response:
                    async for chunk in response:
                        chunks.append(chunk)
                        go_on.set()
                assert (response.status, chunks) == (200, [b"first", b"second"])

    with serving(streamer(go_on)) as (address, server):
        asyncio.run(run(address))
        assert server.connections == 1


def test_leaving_a_stream_early_closes_its_connection() -> None:
    gone = threading.Event()

    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(stdout(HEAD + b"first"))
        assert peer.record() is None
        gone.set()

    async def run(address: str) -> None:
        async with AsyncClient(address) as client, client.stream({}):
            pass

    with serving(handle) as (address, _):
        with Client(address).stream({}) as response:
            assert response.status == 200
        assert gone.wait(20)
        gone.clear()
        asyncio.run(run(address))
        assert gone.wait(20)


def test_cancelling_a_request_closes_its_connection_and_frees_its_place() -> None:
    reached, gone = threading.Event(), threading.Event()
    stalls = [True, False]

    def handle(peer: Peer) -> None:
        peer.request()
        reached.set()
        if stalls.pop(0):
            assert peer.record() is None
            gone.set()
        else:
            peer.sock.sendall(stdout(HEAD) + end())

    async def run(address: str) -> None:
        async with AsyncClient(address, max_connections=1) as client:
            task = asyncio.create_task(client.request({}, b"x" * 100_000))
            while not reached.is_set():
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await client.request({})).status == 200

    with serving(handle) as (address, _):
        asyncio.run(run(address))
        assert gone.wait(20)


def test_requests_over_max_connections_wait_for_a_place() -> None:
    async def run(address: str) -> list[Response]:
        async with AsyncClient(address, max_connections=2) as client:
            return await asyncio.gather(*(client.request({"NAME": str(number)}) for number in range(20)))

    with serving(echo) as (address, server):
        answers = asyncio.run(run(address))
        assert [answer.body for answer in answers] == [b"%d" % number for number in range(20)]
        assert server.connections <= 2  # one will do where the server is always faster


def test_no_free_place_in_time_is_told() -> None:
    async def run(address: str) -> None:
        async with AsyncClient(address, timeout=2, max_connections=1) as client:
            async with client.stream({}):
                with pytest.raises(TimeoutError, match="for one of the connections in use"):
                    await client.request({})

    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.sendall(stdout(HEAD))
        peer.record()

    with serving(handle) as (address, _):
        asyncio.run(run(address))


def test_a_slow_source_of_a_body_is_not_the_servers_fault() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(2.5)
        yield b"b"

    with serving(echo) as (address, _):
        assert asynchronous(address, ({}, source()), timeout=2)[0].body == b"ab"


def test_several_threads_may_share_a_client() -> None:
    wrong: list[bytes] = []

    def run(client: Client, name: str) -> None:
        for _ in range(30):
            body = client.request({"NAME": name}).body
            if body != name.encode():
                wrong.append(body)

    with serving(echo) as (address, _), Client(address) as client:
        threads = [threading.Thread(target=run, args=(client, f"thread {number}")) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert wrong == []


def test_after_a_fork_the_child_has_connections_of_its_own() -> None:
    with serving(echo) as (address, server), Client(address) as client:
        client.request({"NAME": "parent"})
        child = os.fork()
        if child == 0:
            os._exit(0 if client.request({"NAME": "child"}).body == b"child" else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert client.request({"NAME": "parent"}).body == b"parent"
        assert server.connections == 2
