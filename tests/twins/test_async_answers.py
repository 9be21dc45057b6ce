"""Coroutines and asynchronous bodies in a worker loop: what their clients get, on both twins and both event loops."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import socket
import threading
import time

import pytest
import wire
from fcgi_server import is_closed, read_answer, read_to_end
from loop_thread import LoopThread

from fastcore import asynchronous, implementation
from fastcore.limits import Limits

TEXT = [("Content-Type", "text/plain")]
VARIABLE = contextvars.ContextVar("variable", default="unset")


@pytest.fixture(params=("asyncio", "uvloop"))
def serve(twin, tmp_path, request):
    """A function that serves an application; the path "/" is answered by the test itself, synchronously."""
    running = []

    def started(application, **options):
        def answer(request):
            return b"fine" if request.get("PATH_INFO", "/") == "/" else application(request)

        loop = LoopThread(twin, answer, tmp_path, event_loop=request.param, **options)
        running.append(loop)
        return loop.__enter__()

    yield started
    for loop in running:
        loop.__exit__()
        assert loop.error is None


def until(condition, what="it"):
    """Look again and again until it is so."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, f"waited 20 s for {what}"
        time.sleep(0.005)


class Gate:
    """What coroutines of the worker wait for, and the test opens; `entered` and `left` say who came and went."""

    def __init__(self):
        self.event, self.entered, self.left, self.cancelled = asyncio.Event(), 0, 0, 0
        self.loop = None

    async def wait(self):
        self.loop = asyncio.get_running_loop()
        self.entered += 1
        try:
            await self.event.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.left += 1

    def open(self):
        self.loop.call_soon_threadsafe(self.event.set)

    async def stream(self, first=b"first"):
        yield first
        await self.wait()
        yield b"last"

    async def __call__(self, request):
        await self.wait()
        return b"waited"


def read_until(sock, piece):
    data = b""
    while piece not in data:
        part = sock.recv(65536)
        assert part, f"closed before {piece!r}: {data!r}"
        data += part
    return data


# Several at a time


def test_100_waiting_handlers_answer_together_and_others_meanwhile(serve):
    gate = Gate()
    loop = serve(gate)
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


def test_synchronous_and_asynchronous_requests_on_one_connection(serve):
    gate = Gate()
    loop = serve(lambda request: b"sync" if request.get("PATH_INFO") == "/sync" else gate(request))
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


def test_bodies_interleave_on_one_connection(serve):
    async def pieces():
        for number in range(50):
            yield b"%d;" % number
            await asyncio.sleep(0)

    loop = serve(lambda request: (200, TEXT, pieces()))
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


async def returning(result):
    await asyncio.sleep(0)
    return result


async def pieces_of(*pieces):
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


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
def test_what_may_be_returned(serve, make, status, body):
    loop = serve(lambda request: make())
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


def test_each_piece_is_sent_when_it_is_yielded(serve):
    gate = Gate()
    loop = serve(lambda request: (200, TEXT, gate.stream()))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, flags=0, PATH_INFO="/a"))
        data = read_until(sock, b"first")
        assert gate.left == 0
        until(lambda: gate.entered)
        gate.open()
        assert wire.answer(data + read_to_end(sock)).body == b"firstlast"


def test_an_empty_first_piece_sends_the_head(serve):
    gate = Gate()
    loop = serve(lambda request: (200, TEXT, gate.stream(b"")))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, flags=0, PATH_INFO="/a"))
        data = read_until(sock, b"\r\n\r\n")
        until(lambda: gate.entered)
        gate.open()
        assert wire.answer(data + read_to_end(sock)).body == b"last"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_body_that_is_not_sent_is_closed_and_not_begun(serve, method, status):
    seen = []

    class Body:
        def __aiter__(self):
            seen.append("begun")
            return self

        async def aclose(self):
            await asyncio.sleep(0)
            seen.append("closed")

    loop = serve(lambda request: (status, TEXT, Body()))
    answer = loop.ask(PATH_INFO="/a", REQUEST_METHOD=method)
    assert (answer.status, answer.body, seen) == (status, b"", ["closed"])


@pytest.mark.parametrize("asynchronously", [False, True])
def test_an_iterator_without_aclose_is_closed_by_close(serve, asynchronously):
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

    loop = serve(lambda request: (200, TEXT, Body()))
    assert loop.ask(PATH_INFO="/a").body == b"piece"
    assert seen == ["piece", "closed"]


@pytest.mark.parametrize(
    ("pieces", "body", "app_status"),
    [((b"fo", b"ur", b"never"), b"four", 0), ((b"fo", b"urteen"), b"four", 1), ((b"four",), b"four", 0)],
)
def test_content_length_of_an_asynchronous_body(serve, pieces, body, app_status):
    loop = serve(lambda request: (200, [*TEXT, ("Content-Length", "4")], pieces_of(*pieces)))
    answer = loop.ask(PATH_INFO="/a")
    assert (answer.body, answer.app_status) == (body, app_status)


def test_the_body_of_a_request_is_read_in_a_coroutine(serve):
    async def echo(request):
        await asyncio.sleep(0)
        return request.body.read()

    loop = serve(echo, limits=Limits(body_memory=1000))
    assert loop.ask(b"short", PATH_INFO="/a").body == b"short"
    assert loop.ask(bytes(300_000), PATH_INFO="/a").body == bytes(300_000)


# What goes wrong


async def failing(*pieces):
    for piece in pieces:
        yield piece
    raise RuntimeError("secret inner text")


async def raising(error):
    await asyncio.sleep(0)
    raise error


@pytest.mark.parametrize(
    "make",
    [
        lambda: raising(RuntimeError("secret inner text")),
        lambda: raising(asyncio.CancelledError()),
        lambda: raising(SystemExit(3)),
        lambda: raising(GeneratorExit()),
        lambda: returning(None),
        lambda: returning((200, TEXT)),
        lambda: returning((200, [("X", "a\r\nb")], b"")),
        lambda: returning((200, TEXT, pieces_of("text"))),
        lambda: returning((200, TEXT, failing())),
        lambda: (200, TEXT, failing()),
        lambda: (200, TEXT, object()),
    ],
)
def test_what_fails_before_the_head_is_a_500(serve, make):
    loop = serve(lambda request: make())
    answer = loop.ask(PATH_INFO="/a")
    assert answer.status == 500
    assert b"secret" not in answer.stdout
    assert len(loop.said) == 1
    assert "GET '/a'" in loop.said[0]
    assert loop.ask().body == b"fine"


@pytest.mark.parametrize("make", [lambda: failing(b"first"), lambda: pieces_of(b"first", "text")])
def test_what_fails_after_the_head_breaks_that_answer(serve, make):
    loop = serve(lambda request: (200, TEXT, make()))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        data = read_to_end(sock)
    assert b"first" in data
    assert wire.record(wire.STDOUT, 1) not in data, "it looks whole"
    assert loop.ask().body == b"fine"


def test_keyboard_interrupt_in_a_coroutine_ends_the_loop_and_cancels_the_others(twin, tmp_path):
    gate = Gate()

    def application(request):
        return gate(request) if request.get("PATH_INFO") == "/wait" else raising(KeyboardInterrupt())

    with LoopThread(twin, application, tmp_path) as loop:
        with loop.connect() as waiting, loop.connect() as sock:
            waiting.sendall(wire.request(1, PATH_INFO="/wait"))
            until(lambda: gate.entered)
            sock.sendall(wire.request(1, PATH_INFO="/a"))
            loop.join()
            assert is_closed(waiting)
        assert isinstance(loop.error, KeyboardInterrupt)
        assert gate.cancelled == 1


@pytest.mark.parametrize("event_loop", ["asyncio", "uvloop"])
def test_the_loop_runs_again_after_a_keyboard_interrupt(twin, tmp_path, event_loop):
    errors = [KeyboardInterrupt(), KeyboardInterrupt()]

    async def application(request):
        await asyncio.sleep(0)
        if request.get("PATH_INFO") == "/interrupt":
            raise errors.pop()
        return b"fine"

    loop = LoopThread(twin, application, tmp_path, event_loop=event_loop)
    for _ in range(2):
        thread = threading.Thread(target=loop._run)
        thread.start()
        assert loop.ask(PATH_INFO="/a").body == b"fine"
        with loop.connect() as sock:
            sock.sendall(wire.request(1, PATH_INFO="/interrupt"))
            thread.join(20)
            assert not thread.is_alive()
            assert is_closed(sock)
        assert isinstance(loop.error, KeyboardInterrupt)
    loop.listener.close()


# Context and task


def test_each_request_has_a_context_and_a_task_of_its_own(serve):
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

    loop = serve(application)
    for _ in range(2):
        tasks.clear()
        got = loop.ask(PATH_INFO="/a")
        assert b"X-Seen: set by the call" in got.head
        assert got.body == b"set by the coroutine;set in the body"
        assert len(set(tasks)) == 1
        assert loop.ask().body == b"fine"


# Nobody wants it any more


def test_abort_cancels_and_ends_the_request_when_its_task_has_ended(serve):
    gate, cleanup = Gate(), Gate()

    async def answer(request):
        try:
            await gate.wait()
        finally:
            await cleanup.wait()

    loop = serve(lambda request: b"sync" if request.get("PATH_INFO") == "/sync" else answer(request))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        until(lambda: gate.entered)
        sock.sendall(wire.record(wire.ABORT, 1) * 2)
        until(lambda: cleanup.entered)
        sock.sendall(wire.request(2, PATH_INFO="/sync"))
        data = read_until(sock, wire.record(wire.END, 2, bytes(8)))
        assert all(record.id == 2 for record in wire.records(data)), "ended before its task"
        cleanup.open()
        aborted = read_answer(sock)
        assert (aborted.stdout, aborted.app_status) == (b"", 1)
        sock.sendall(wire.request(1, PATH_INFO="/sync"))  # the id is free again
        assert read_answer(sock).body == b"sync"
    assert (gate.cancelled, cleanup.cancelled) == (1, 0)
    assert loop.said == []


def test_abort_of_a_stream_closes_its_body_and_leaves_the_others(serve):
    gate = Gate()
    loop = serve(lambda request: (200, TEXT, gate.stream()))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a") + wire.request(2, PATH_INFO="/b"))
        until(lambda: gate.entered == 2)
        sock.sendall(wire.record(wire.ABORT, 1))
        assert read_answer(sock, 1).app_status == 1
        assert gate.cancelled == 1
        gate.open()
        data = read_until(sock, wire.record(wire.END, 2, bytes(8)))
        assert b"last" in data


def connect_tcp(twin, application, event_loop):
    listener = socket.create_server(("127.0.0.1", 0))
    loop = twin.loop.WorkerLoop(listener, application, event_loop=event_loop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    return loop, thread, listener


@pytest.mark.parametrize("event_loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", ["coroutine", "stream"])
def test_tcp_client_gone_while_nothing_is_sent(twin, event_loop, kind):
    gate = Gate()
    application = gate if kind == "coroutine" else lambda request: (200, TEXT, gate.stream())
    loop, thread, listener = connect_tcp(twin, application, event_loop)
    try:
        with socket.create_connection(listener.getsockname()) as sock:
            sock.sendall(wire.request(1, PATH_INFO="/a"))
            until(lambda: gate.entered)
        until(lambda: gate.left, "the end of the handler")
        assert gate.cancelled == 1
    finally:
        loop.stop()
        thread.join(20)
        listener.close()


@pytest.mark.parametrize("kind", ["coroutine", "stream", "stream of a coroutine"])
def test_client_gone_while_nothing_is_sent(serve, kind):
    gate = Gate()
    applications = {
        "coroutine": gate,
        "stream": lambda request: (200, TEXT, gate.stream()),
        "stream of a coroutine": lambda request: returning((200, TEXT, gate.stream())),
    }
    loop = serve(applications[kind])
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        until(lambda: gate.entered)
    until(lambda: gate.left, "the end of the handler")
    assert gate.cancelled == 1
    until(lambda: loop.loop.connections == 0)
    assert loop.ask().body == b"fine"
    assert loop.said == []


def test_half_closed_unix_socket_still_gets_its_answer(serve):
    gate = Gate()
    loop = serve(gate)
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        sock.shutdown(socket.SHUT_WR)
        until(lambda: gate.entered)
        assert loop.ask().body == b"fine"
        gate.open()
        assert wire.answer(read_to_end(sock)).body == b"waited"


def test_client_gone_while_its_stream_waits_for_room(serve):
    closed = threading.Event()

    async def endless():
        try:
            while True:
                yield bytes(50_000)
        finally:
            await asyncio.sleep(0)
            closed.set()

    loop = serve(lambda request: (200, TEXT, endless()))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        read_until(sock, b"\r\n\r\n")
    assert closed.wait(20)
    assert loop.ask().body == b"fine"


def test_stop_cancels_and_waits_for_the_end(serve):
    gate, seen = Gate(), []

    async def answer(request):
        try:
            await gate.wait()
        finally:
            await asyncio.sleep(0.01)
            seen.append("cleaned up")

    loop = serve(answer)
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        until(lambda: gate.entered)
        loop.loop.stop()  # wakes the loop itself
        loop.join()
        assert is_closed(sock)
    assert (gate.cancelled, seen) == (1, ["cleaned up"])


def test_drain_lets_the_running_ones_finish(serve):
    gate = Gate()
    loop = serve(gate)
    with loop.connect() as sock, loop.connect() as idle:
        idle.sendall(wire.request(1))
        assert read_answer(idle).body == b"fine"
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        until(lambda: gate.entered)
        loop.loop.drain()
        assert is_closed(idle)
        assert loop.alive
        gate.open()
        assert read_answer(sock).body == b"waited"
        loop.join()
    assert gate.cancelled == 0


def test_a_task_that_the_application_has_left_ends_with_the_loop(serve):
    gate = Gate()

    async def answer(request):
        tasks.append(asyncio.create_task(gate.wait()))
        return b"started"

    tasks = []
    loop = serve(answer)
    assert loop.ask(PATH_INFO="/a").body == b"started"
    until(lambda: gate.entered)
    loop.loop.drain()
    loop.join()
    assert gate.cancelled == 1


def test_a_handler_that_ignores_its_cancellation_is_named_and_keeps_its_place(serve, monkeypatch):
    monkeypatch.setattr(asynchronous, "CANCEL_SECONDS", 0.05)
    gate, stubborn = Gate(), Gate()

    async def answer(request):
        try:
            await gate.wait()
        except asyncio.CancelledError:
            await stubborn.wait()
        return b"too late"

    loop = serve(answer, limits=Limits(connections=1))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/stubborn"))
        until(lambda: gate.entered)
    until(lambda: loop.said, "the complaint")
    assert "goes on 0.05 s after it was cancelled: GET '/stubborn'" in loop.said[0]
    with loop.connect(timeout=0.2) as sock:
        sock.sendall(wire.request(1))
        with pytest.raises(TimeoutError):
            sock.recv(1)
        stubborn.open()
        sock.settimeout(20)
        assert read_answer(sock).body == b"fine"


def test_a_body_that_ignores_its_cancellation_is_not_asked_again(serve):
    seen = []
    gate = Gate()

    async def pieces():
        yield b"first"
        try:
            await gate.wait()
        except asyncio.CancelledError:
            pass
        try:
            yield b"second"
            seen.append("asked again")
        finally:
            seen.append("closed")

    loop = serve(lambda request: (200, TEXT, pieces()))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        until(lambda: gate.entered)
    until(lambda: seen)
    assert seen == ["closed"]


# What it may cost


def test_a_slow_reader_costs_one_buffer_and_others_go_on(serve):
    count = 0

    async def pieces():
        nonlocal count
        for _ in range(400):
            count += 1
            yield bytes(50_000)

    loop = serve(lambda request: (200, TEXT, pieces()), limits=Limits(output_buffer=100_000))
    with loop.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(wire.request(1, flags=0, PATH_INFO="/a"))
        until(lambda: count > 2)
        for _ in range(50):
            assert loop.ask().body == b"fine"
        assert count < 50, "the body is advanced though nobody reads"
        assert len(wire.answer(read_to_end(sock)).body) == 400 * 50_000
    assert count == 400


def test_a_body_that_never_waits_lets_others_have_their_turn(serve):
    stop = threading.Event()

    async def pieces():
        while not stop.is_set():
            yield b"x" * 1000

    loop = serve(lambda request: (200, TEXT, pieces()))
    total = 0
    with loop.connect() as sock:
        sock.sendall(wire.request(1, flags=0, PATH_INFO="/a"))

        def read():
            nonlocal total
            while part := sock.recv(1 << 20):
                total += len(part)

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(20):
            assert loop.ask().body == b"fine"
        stop.set()
        reader.join(20)
    assert total


def test_thousands_of_requests_leave_nothing_behind(serve):
    async def pieces():
        yield b"a"
        await asyncio.sleep(0)
        yield b"b"

    async def answer(request):
        await asyncio.sleep(0)
        match request.get("PATH_INFO"):
            case "/stream":
                return 200, TEXT, pieces()
            case "/fail":
                raise RuntimeError
            case "/abort":
                await asyncio.sleep(3600)
        return b"whole"

    loop = serve(answer, log=lambda text: None)

    def rounds(count):
        with loop.connect() as sock:
            for _ in range(count):
                for path in ("/whole", "/stream", "/fail", "/abort"):
                    sock.sendall(wire.request(1, PATH_INFO=path) + wire.record(wire.ABORT, 1) * (path == "/abort"))
                    read_answer(sock)
        for _ in range(count // 10):
            with loop.connect() as sock:
                sock.sendall(wire.request(1, PATH_INFO="/abort"))
        until(lambda: loop.loop.connections == 0)
        assert loop.ask(PATH_INFO="/whole").body == b"whole"
        until(lambda: loop.loop.connections == 0)
        gc.collect()
        return len(gc.get_objects()), len(os.listdir("/proc/self/fd"))

    rounds(50)
    objects, descriptors = rounds(50)
    after = rounds(500)
    assert after[0] - objects < 200, "objects pile up"
    assert after[1] <= descriptors


# Where it cannot be


@pytest.mark.parametrize("asynchronous_body", [False, True])
def test_without_the_event_loop_asked_for_it_is_a_500_and_the_worker_goes_on(
    twin, tmp_path, monkeypatch, asynchronous_body
):
    def unavailable(name):
        raise ImportError("no uvloop")

    monkeypatch.setattr(asynchronous, "new_event_loop", unavailable)

    def application(request):
        if request.get("PATH_INFO") == "/":
            return b"fine"
        return (200, TEXT, pieces_of(b"a")) if asynchronous_body else returning(b"a")

    with LoopThread(twin, application, tmp_path) as loop:
        assert loop.ask(PATH_INFO="/a").status == 500
        assert loop.ask(PATH_INFO="/").body == b"fine"
        assert "no uvloop" in loop.said[0]
