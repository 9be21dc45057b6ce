"""Coroutines and asynchronous bodies that fail, or cannot be awaited: what their clients get, on both twins."""

from __future__ import annotations

import asyncio
import threading

import pytest
import wire
from async_waiting import TEXT, Gate, pieces_of, returning, until
from fcgi_server import is_closed, read_to_end
from loop_thread import LoopThread

from fastcore import asynchronous

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
def test_what_fails_before_the_head_is_a_500(serve_async, make):
    loop = serve_async(lambda request: make())
    answer = loop.ask(PATH_INFO="/a")
    assert answer.status == 500
    assert b"secret" not in answer.stdout
    assert len(loop.said) == 1
    assert "GET '/a'" in loop.said[0]
    assert loop.ask().body == b"fine"


@pytest.mark.parametrize("make", [lambda: failing(b"first"), lambda: pieces_of(b"first", "text")])
def test_what_fails_after_the_head_breaks_that_answer(serve_async, make):
    loop = serve_async(lambda request: (200, TEXT, make()))
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
