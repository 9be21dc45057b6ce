"""Coroutines and asynchronous bodies in a worker loop: what their clients get, on both twins and both event loops."""

from __future__ import annotations

import asyncio
import contextvars

import pytest
import wire
from async_waiting import TEXT, Gate, pieces_of, read_until, returning, until
from fcgi_server import read_to_end
from loop_thread import LoopThread

from fastcore import implementation
from fastcore.limits import Limits

VARIABLE = contextvars.ContextVar("variable", default="unset")


# Several at a time


def test_100_waiting_handlers_answer_together_and_others_meanwhile(serve_async):
    gate = Gate()
    loop = serve_async(gate)
    socks = []
    for number in range(1, 101):  # the listener's queue is shorter
        socks.append(loop.connect())
        socks[-1].sendall(wire.request(1, flags=0, PATH_INFO="/wait"))
        until(lambda: loop.loop.connections == number)  # noqa: B023
    until(lambda: gate.entered == 100, "all handlers")
    assert loop.ask().body == b"fine"
    assert gate.left == 0
    gate.open()
    for sock in socks:
        assert wire.answer(read_to_end(sock)).body == b"waited"
        sock.close()


def test_synchronous_and_asynchronous_requests_on_one_connection(serve_async):
    gate = Gate()
    loop = serve_async(lambda request: b"sync" if request.get("PATH_INFO") == "/sync" else gate(request))
    with loop.connect() as sock:
        for number in range(1, 21):
            sock.sendall(wire.request(number, PATH_INFO="/sync" if number % 2 else "/async"))
        data = b""
        while data.count(b"sync") < 10:
            data += sock.recv(65536)
        assert b"waited" not in data
        until(lambda: gate.entered == 10)
        gate.open()
        while any(wire.record(wire.END, number, bytes(8)) not in data for number in range(1, 21)):
            data += sock.recv(65536)
    for number in range(1, 21):
        assert wire.answer(data, number).body == (b"sync" if number % 2 else b"waited")


def test_bodies_interleave_on_one_connection(serve_async):
    async def pieces():
        for number in range(50):
            yield b"%d;" % number
            await asyncio.sleep(0)

    loop = serve_async(lambda request: (200, TEXT, pieces()))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a") + wire.request(2, PATH_INFO="/b"))
        data = b""
        while data.count(wire.record(wire.END, 1, bytes(8))) + data.count(wire.record(wire.END, 2, bytes(8))) < 2:
            data += sock.recv(65536)
    expected = b"".join(b"%d;" % number for number in range(50))
    assert wire.answer(data, 1).body == wire.answer(data, 2).body == expected
    order = [record.id for record in wire.records(data) if record.type == wire.STDOUT]
    assert order.index(2) < 10


# Forms of an answer


class Awaitable:
    def __await__(self):
        yield from asyncio.sleep(0.001).__await__()
        return b"awaited"


class Answer:
    status, headers = 201, TEXT

    def __init__(self, body):
        self.body = body


@pytest.mark.parametrize(
    ("make", "status", "body"),
    [
        (lambda: returning(b"bytes"), 200, b"bytes"),
        (lambda: returning((404, TEXT, b"tuple")), 404, b"tuple"),
        (lambda: returning((200, TEXT, [b"a", b"", b"b"])), 200, b"ab"),
        (lambda: returning((200, TEXT, (b"%d" % n for n in range(3)))), 200, b"012"),
        (lambda: returning((200, TEXT, pieces_of(b"a", b"", b"b"))), 200, b"ab"),
        (lambda: (200, TEXT, pieces_of(b"a", b"b")), 200, b"ab"),
        (lambda: (200, TEXT, pieces_of()), 200, b""),
        (lambda: returning(Answer(b"object")), 201, b"object"),
        (lambda: returning(Answer(pieces_of(b"", b"pieces"))), 201, b"pieces"),
        (lambda: returning(returning(b"twice")), 200, b"twice"),
        (Awaitable, 200, b"awaited"),
        (lambda: returning((200, TEXT, pieces_of(bytes(200_000), b"end"))), 200, bytes(200_000) + b"end"),
    ],
)
def test_what_may_be_returned(serve_async, make, status, body):
    loop = serve_async(lambda request: make())
    for _ in range(2):
        answer = loop.ask(PATH_INFO="/a")
        assert (answer.status, answer.body, answer.app_status) == (status, body, 0)
    assert loop.said == []


def test_twins_send_the_same_bytes(tmp_path):
    cases = {
        "/coroutine": lambda: returning(b"bytes"),
        "/stream": lambda: returning((200, TEXT, pieces_of(b"", b"one", b"", b"two" * 40_000))),
        "/plain-stream": lambda: (200, [*TEXT, ("Content-Length", "6")], pieces_of(b"one", b"two")),
        "/wrong": lambda: returning(7),
        "/empty": lambda: returning((204, [], None)),
        "/head": lambda: (200, TEXT, pieces_of(b"unseen")),
    }
    seen = []
    for name in ("pure", "compiled"):
        twin = implementation.twin(name)
        with LoopThread(twin, lambda request: cases[request.get("PATH_INFO")](), tmp_path) as loop:
            for path in cases:
                with loop.connect() as sock:
                    method = "HEAD" if path == "/head" else "GET"
                    sock.sendall(wire.request(1, flags=0, PATH_INFO=path, REQUEST_METHOD=method))
                    seen.append((name, path, read_to_end(sock)))
    half = len(seen) // 2
    assert [case[1:] for case in seen[:half]] == [case[1:] for case in seen[half:]]


def test_each_piece_is_sent_when_it_is_yielded(serve_async):
    gate = Gate()
    loop = serve_async(lambda request: (200, TEXT, gate.stream()))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, flags=0, PATH_INFO="/a"))
        data = read_until(sock, b"first")
        assert gate.left == 0
        until(lambda: gate.entered)
        gate.open()
        assert wire.answer(data + read_to_end(sock)).body == b"firstlast"


def test_an_empty_first_piece_sends_the_head(serve_async):
    gate = Gate()
    loop = serve_async(lambda request: (200, TEXT, gate.stream(b"")))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, flags=0, PATH_INFO="/a"))
        data = read_until(sock, b"\r\n\r\n")
        until(lambda: gate.entered)
        gate.open()
        assert wire.answer(data + read_to_end(sock)).body == b"last"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_body_that_is_not_sent_is_closed_and_not_begun(serve_async, method, status):
    seen = []

    class Body:
        def __aiter__(self):
            seen.append("begun")
            return self

        async def aclose(self):
            await asyncio.sleep(0)
            seen.append("closed")

    loop = serve_async(lambda request: (status, TEXT, Body()))
    answer = loop.ask(PATH_INFO="/a", REQUEST_METHOD=method)
    assert (answer.status, answer.body, seen) == (status, b"", ["closed"])


@pytest.mark.parametrize("asynchronously", [False, True])
def test_an_iterator_without_aclose_is_closed_by_close(serve_async, asynchronously):
    seen = []

    class Body:
        def __aiter__(self):
            return self

        async def __anext__(self):
            if "piece" in seen:
                raise StopAsyncIteration
            seen.append("piece")
            return b"piece"

        def close(self):
            seen.append("closed")
            return asyncio.sleep(0) if asynchronously else None

    loop = serve_async(lambda request: (200, TEXT, Body()))
    assert loop.ask(PATH_INFO="/a").body == b"piece"
    assert seen == ["piece", "closed"]


@pytest.mark.parametrize(
    ("pieces", "body", "app_status"),
    [((b"fo", b"ur", b"never"), b"four", 0), ((b"fo", b"urteen"), b"four", 1), ((b"four",), b"four", 0)],
)
def test_content_length_of_an_asynchronous_body(serve_async, pieces, body, app_status):
    loop = serve_async(lambda request: (200, [*TEXT, ("Content-Length", "4")], pieces_of(*pieces)))
    answer = loop.ask(PATH_INFO="/a")
    assert (answer.body, answer.app_status) == (body, app_status)


def test_the_body_of_a_request_is_read_in_a_coroutine(serve_async):
    async def echo(request):
        await asyncio.sleep(0)
        return request.body.read()

    loop = serve_async(echo, limits=Limits(body_memory=1000))
    assert loop.ask(b"short", PATH_INFO="/a").body == b"short"
    assert loop.ask(bytes(300_000), PATH_INFO="/a").body == bytes(300_000)


# Context and task


def test_each_request_has_a_context_and_a_task_of_its_own(serve_async):
    tasks = []

    async def pieces():
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(60):  # raises where it is left in another task
            yield VARIABLE.get().encode() + b";"
            VARIABLE.set("set in the body")
            await asyncio.sleep(0)
            yield VARIABLE.get().encode()
        tasks.append(asyncio.current_task())

    async def answer(request):
        tasks.append(asyncio.current_task())
        seen = VARIABLE.get()
        await asyncio.sleep(0)
        VARIABLE.set("set by the coroutine")
        return 200, [*TEXT, ("X-Seen", seen)], pieces()

    def application(request):
        assert VARIABLE.get() == "unset"
        VARIABLE.set("set by the call")
        return answer(request)

    loop = serve_async(application)
    for _ in range(2):
        tasks.clear()
        got = loop.ask(PATH_INFO="/a")
        assert b"X-Seen: set by the call" in got.head
        assert got.body == b"set by the coroutine;set in the body"
        assert len(set(tasks)) == 1
        assert loop.ask().body == b"fine"
