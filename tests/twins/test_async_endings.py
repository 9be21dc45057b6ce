"""Awaited answers that nobody wants any more, and what many of them cost: on both twins and both event loops."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading

import pytest
import wire
from async_waiting import TEXT, Gate, read_until, returning, until
from fcgi_server import is_closed, read_answer, read_to_end

from fastcore import asynchronous
from fastcore.limits import Limits

# Nobody wants it any more


def test_abort_cancels_and_ends_the_request_when_its_task_has_ended(serve_async):
    gate, cleanup = Gate(), Gate()

    async def answer(request):
        try:
            await gate.wait()
        finally:
            await cleanup.wait()

    loop = serve_async(lambda request: b"sync" if request.get("PATH_INFO") == "/sync" else answer(request))
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


def test_abort_of_a_stream_closes_its_body_and_leaves_the_others(serve_async):
    gate = Gate()
    loop = serve_async(lambda request: (200, TEXT, gate.stream()))
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
def test_client_gone_while_nothing_is_sent(serve_async, kind):
    gate = Gate()
    applications = {
        "coroutine": gate,
        "stream": lambda request: (200, TEXT, gate.stream()),
        "stream of a coroutine": lambda request: returning((200, TEXT, gate.stream())),
    }
    loop = serve_async(applications[kind])
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        until(lambda: gate.entered)
    until(lambda: gate.left, "the end of the handler")
    assert gate.cancelled == 1
    until(lambda: loop.loop.connections == 0)
    assert loop.ask().body == b"fine"
    assert loop.said == []


def test_half_closed_unix_socket_still_gets_its_answer(serve_async):
    gate = Gate()
    loop = serve_async(gate)
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        sock.shutdown(socket.SHUT_WR)
        until(lambda: gate.entered)
        assert loop.ask().body == b"fine"
        gate.open()
        assert wire.answer(read_to_end(sock)).body == b"waited"


def test_client_gone_while_its_stream_waits_for_room(serve_async):
    closed = threading.Event()

    async def endless():
        try:
            while True:
                yield bytes(50_000)
        finally:
            await asyncio.sleep(0)
            closed.set()

    loop = serve_async(lambda request: (200, TEXT, endless()))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        read_until(sock, b"\r\n\r\n")
    assert closed.wait(20)
    assert loop.ask().body == b"fine"


def test_stop_cancels_and_waits_for_the_end(serve_async):
    gate, seen = Gate(), []

    async def answer(request):
        try:
            await gate.wait()
        finally:
            await asyncio.sleep(0.01)
            seen.append("cleaned up")

    loop = serve_async(answer)
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        until(lambda: gate.entered)
        loop.loop.stop()  # wakes the loop itself
        loop.join()
        assert is_closed(sock)
    assert (gate.cancelled, seen) == (1, ["cleaned up"])


def test_drain_lets_the_running_ones_finish(serve_async):
    gate = Gate()
    loop = serve_async(gate)
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


def test_a_task_that_the_application_has_left_ends_with_the_loop(serve_async):
    gate = Gate()

    async def answer(request):
        tasks.append(asyncio.create_task(gate.wait()))
        return b"started"

    tasks = []
    loop = serve_async(answer)
    assert loop.ask(PATH_INFO="/a").body == b"started"
    until(lambda: gate.entered)
    loop.loop.drain()
    loop.join()
    assert gate.cancelled == 1


def test_a_handler_that_ignores_its_cancellation_is_named_and_keeps_its_place(serve_async, monkeypatch):
    monkeypatch.setattr(asynchronous, "CANCEL_SECONDS", 0.05)
    gate, stubborn = Gate(), Gate()

    async def answer(request):
        try:
            await gate.wait()
        except asyncio.CancelledError:
            await stubborn.wait()
        return b"too late"

    loop = serve_async(answer, limits=Limits(connections=1))
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


def test_a_body_that_ignores_its_cancellation_is_not_asked_again(serve_async):
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

    loop = serve_async(lambda request: (200, TEXT, pieces()))
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/a"))
        until(lambda: gate.entered)
    until(lambda: seen)
    assert seen == ["closed"]


# What it may cost


def test_a_slow_reader_costs_one_buffer_and_others_go_on(serve_async):
    count = 0

    async def pieces():
        nonlocal count
        for _ in range(400):
            count += 1
            yield bytes(50_000)

    loop = serve_async(lambda request: (200, TEXT, pieces()), limits=Limits(output_buffer=100_000))
    with loop.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(wire.request(1, flags=0, PATH_INFO="/a"))
        until(lambda: count > 2)
        for _ in range(50):
            assert loop.ask().body == b"fine"
        assert count < 50, "the body is advanced though nobody reads"
        assert len(wire.answer(read_to_end(sock)).body) == 400 * 50_000
    assert count == 400


def test_a_body_that_never_waits_lets_others_have_their_turn(serve_async):
    stop = threading.Event()

    async def pieces():
        while not stop.is_set():
            yield b"x" * 1000

    loop = serve_async(lambda request: (200, TEXT, pieces()))
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


def test_thousands_of_requests_leave_nothing_behind(serve_async):
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

    loop = serve_async(answer, log=lambda text: None)

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
