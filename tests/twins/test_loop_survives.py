"""What an application, its log or the system may do to a worker loop: the next request is answered all the same."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time

import pytest
import wire
from fcgi_server import is_closed, read_answer, read_to_end
from loop_thread import LoopThread

from fastcore.limits import Limits

TEXT = [("Content-Type", "text/plain")]


@pytest.fixture
def serve(twin, tmp_path):
    """A function that serves an application; the path "/" is answered by the test itself."""
    running = []

    def started(application, **options):
        def answer(request):
            return b"fine" if request.get("PATH_INFO", "/") == "/" else application(request)

        loop = LoopThread(twin, answer, tmp_path, **options)
        running.append(loop)
        return loop.__enter__()

    yield started
    for loop in running:
        loop.__exit__()


class Body:
    """An iterable that counts how often it was closed."""

    def __init__(self, pieces, at_close=None):
        self.pieces, self.at_close, self.closed = pieces, at_close, 0

    def __iter__(self):
        return iter(self.pieces)

    def close(self):
        self.closed += 1
        if self.at_close is not None:
            self.at_close()


def raiser(error):
    def raises(*_):
        raise error

    return raises


def raising_pieces(error):
    yield b"first"
    raise error


# Objects that an application returns or keeps


@pytest.mark.parametrize("reason", [None, "", "Fine"])
def test_answer_with_a_reason_or_none(serve, reason):
    class Answer:
        status, headers, body = 200, TEXT, b"body"

    Answer.reason = reason
    loop = serve(lambda request: Answer())
    answer = loop.ask(PATH_INFO="/a")
    assert (answer.status, answer.body) == (200, b"body")
    assert answer.head.startswith(b"Status: 200 " + (b"Fine" if reason else b"OK"))


def test_body_whose_buffer_is_kept_cannot_be_closed_and_hurts_nobody(serve):
    kept = []

    def keep(request):
        kept.append(request.body.getbuffer())
        return b"kept"

    loop = serve(keep)
    assert loop.ask(b"0123", PATH_INFO="/keep").body == b"kept"
    assert loop.ask().body == b"fine"
    assert bytes(kept[0]) == b"0123"


def test_detached_temporary_file_hurts_nobody(serve):
    loop = serve(lambda request: b"%d" % request.body.detach().fileno(), limits=Limits(body_memory=10))
    assert loop.ask(bytes(100), PATH_INFO="/detach").status == 200
    assert loop.ask().body == b"fine"


# Exceptions that are no Exception


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), SystemExit(3), BaseException("odd")])
def test_any_exception_of_an_application_is_a_500(serve, error):
    loop = serve(raiser(error))
    assert loop.ask(PATH_INFO="/a").status == 500
    assert loop.ask().body == b"fine"


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), BaseException("odd")])
def test_any_exception_of_a_body_breaks_that_answer_only(serve, error):
    bodies = iter([Body(raising_pieces(error)), Body([b"one", b"two"], raiser(error))])
    loop = serve(lambda request: (200, TEXT, next(bodies)))
    answer = loop.ask(PATH_INFO="/a")
    assert (answer.body, answer.broken) == (b"first", True)
    assert loop.ask(PATH_INFO="/b").body == b"onetwo"
    assert loop.ask().body == b"fine"


def test_broken_answer_leaves_a_connection_open_on_which_an_answered_upload_has_not_ended(serve):
    """Whoever still sends the upload, or holds it, goes on to use the connection: HAProxy would answer 502 on it."""
    loop = serve(lambda _: (200, TEXT, Body(raising_pieces(ValueError()))))
    upload = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(1 << 40)}
    failing = {"REQUEST_METHOD": "GET", "PATH_INFO": "/a"}
    with loop.connect() as sock:
        sock.sendall(wire.begin(1) + wire.params(1, upload) + wire.record(wire.STDIN, 1, b"begin"))
        assert read_answer(sock).status == 413
        sock.sendall(wire.begin(3) + wire.params(3, failing) + wire.record(wire.STDIN, 3))
        answer = read_answer(sock, 3)
        assert (answer.body, answer.app_status) == (b"first", 1)
        sock.sendall(wire.request(5))
        assert read_answer(sock, 5).body == b"fine"

        sock.sendall(wire.record(wire.STDIN, 1))  # the upload ends: the next failure is alone
        sock.sendall(wire.begin(7) + wire.params(7, failing) + wire.record(wire.STDIN, 7))
        assert wire.answer(read_to_end(sock), 7).broken


def test_keyboard_interrupt_ends_the_loop_and_closes_what_was_begun(twin, tmp_path):
    body = Body(raising_pieces(KeyboardInterrupt()))
    inputs = []

    def application(request):
        inputs.append(request.body)
        return 200, TEXT, body

    with LoopThread(twin, application, tmp_path) as loop:
        with loop.connect() as sock:
            sock.sendall(wire.request(1, b"input"))
            read_to_end(sock)
        loop.join()
        assert isinstance(loop.error, KeyboardInterrupt)
        assert body.closed == 1
        assert inputs[0].closed
        assert loop.loop.connections == 0


# The log


@pytest.mark.parametrize("path", ["/boom", "/short", "/over"])
def test_log_that_fails_is_no_reason_to_end(serve, path):
    def application(request):
        if path == "/boom":
            raise RuntimeError("boom")
        return 200, [("Content-Length", "4")], iter([b"fo"] if path == "/short" else [b"fourteen"])

    loop = serve(application, log=raiser(ValueError("I/O operation on closed file")))
    loop.ask(PATH_INFO=path)
    with loop.connect() as sock:
        sock.sendall(b"not FastCGI")
        assert is_closed(sock)
    assert loop.ask().body == b"fine"


# Bodies without an end


def test_body_of_empty_pieces_without_end_leaves_time_for_others(serve):
    body = Body(itertools.repeat(b""))
    loop = serve(lambda request: (200, TEXT, body))
    with loop.connect() as endless:
        endless.sendall(wire.request(PATH_INFO="/endless"))
        assert loop.ask().body == b"fine"
        endless.sendall(wire.record(wire.ABORT, 1))
        assert read_answer(endless).app_status == 1
    assert body.closed == 1


@pytest.mark.parametrize("length", ["0", "2", "3"])
def test_body_without_end_is_cut_at_its_content_length_and_told_once(serve, length):
    body = Body(itertools.repeat(b"ab"))
    loop = serve(lambda request: (200, [("Content-Length", length)], body))
    answer = loop.ask(PATH_INFO="/endless")
    assert answer.body == b"abab"[: int(length)]
    assert body.closed == 1
    assert len(loop.said) <= 1
    assert loop.ask().body == b"fine"


# Input without room


def test_errors_over_the_limit_are_cut(serve):
    def complain(request):
        request.write_error("x" * 60)
        request.write_error("y" * 60)
        return b"complained"

    loop = serve(complain, limits=Limits(stderr_bytes=100))
    assert loop.ask(PATH_INFO="/a").stderr == b"x" * 60 + b"y" * 40


# More than one loop, or one more than once


def test_loop_run_by_a_closing_body_does_not_touch_the_input_of_the_other(serve, twin, tmp_path):
    """The inner loop reads while the outer one is in the midst of its own input: ABORT closes a body."""

    def run_another():
        with LoopThread(twin, lambda request: request.body.read(), tmp_path) as inner:
            assert inner.ask(b"B" * 30_000).body == b"B" * 30_000

    slow = Body(itertools.repeat(b""), run_another)
    loop = serve(lambda request: (200, TEXT, slow) if request.request_id == 1 else request.body.read())
    with loop.connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/slow"))
        sock.sendall(wire.record(wire.ABORT, 1) + wire.request(2, b"A" * 30_000, PATH_INFO="/echo"))
        assert read_answer(sock, 2).body == b"A" * 30_000


def test_running_loop_cannot_be_run_again(serve):
    def run_again(request):
        with pytest.raises(RuntimeError, match="runs already"):
            loop.loop.run()
        return b"refused"

    loop = serve(run_again)
    assert loop.ask(PATH_INFO="/a").body == b"refused"
    assert loop.ask().body == b"fine"


def test_loop_that_has_ended_returns_at_once_when_run_again(twin, tmp_path):
    with LoopThread(twin, lambda request: b"", tmp_path) as loop:
        loop.loop.drain()
        loop.wake()
        loop.join()
        loop.loop.run()


def test_loop_can_be_run_again_after_an_interrupt(twin, tmp_path):
    with LoopThread(twin, raiser(KeyboardInterrupt()), tmp_path) as loop:
        with loop.connect() as sock:
            sock.sendall(wire.request())
            read_to_end(sock)
        loop.join()
        again = threading.Thread(target=loop.loop.run)
        again.start()
        time.sleep(0.05)
        assert again.is_alive()
        loop.loop.drain()
        loop.wake()
        again.join(10)
        assert not again.is_alive()


# Draining


def test_drain_takes_no_more_connections_of_the_queue(twin, tmp_path):
    served = []

    def application(request):
        served.append(request.request_id)
        loop.loop.drain()
        return b"last"

    loop = LoopThread(twin, application, tmp_path)
    waiting = [loop.connect() for _ in range(5)]
    for sock in waiting:
        sock.sendall(wire.request(flags=0))
    with loop:
        loop.join()
    for sock in waiting:
        sock.close()
    assert len(served) == 1


def test_stop_leaves_the_events_that_came_with_it(serve):
    served = []

    def application(request):
        time.sleep(0.05)
        served.append(request.get("PATH_INFO"))
        if len(served) == 2:
            loop.loop.stop()
        return b""

    loop = serve(application)
    kept = [loop.connect() for _ in range(6)]
    for sock in kept:
        sock.sendall(wire.request(PATH_INFO="/"))
        read_answer(sock)
    for sock in kept:
        sock.sendall(wire.request(PATH_INFO="/slow"))
    loop.join()
    for sock in kept:
        sock.close()
    assert len(served) == 2


# The system


def epoll_descriptor():
    for name in os.listdir("/proc/self/fd"):
        try:
            if "eventpoll" in os.readlink(f"/proc/self/fd/{name}"):
                yield int(name)
        except OSError:
            pass


@pytest.mark.parametrize("late", [False, True])
def test_epoll_that_was_replaced_by_the_application_ends_the_loop(twin, tmp_path, late):
    """A careless daemon's os.closerange() and open(): an error, not a loop that spins for ever."""
    before = set(epoll_descriptor())

    def application(request):
        for fd in set(epoll_descriptor()) - before:
            with open(os.devnull) as null:
                os.dup2(null.fileno(), fd, inheritable=False)
        return b""

    with LoopThread(twin, application, tmp_path) as loop:
        with loop.connect() as sock:
            while late and not loop.loop.connections:  # it is in the epoll, and has to be taken out
                time.sleep(0.01)
            sock.sendall(wire.request(flags=0))
            read_to_end(sock)  # a client that leaves at once may not be answered at all
        loop.join()
        assert isinstance(loop.error, (OSError, ValueError))


def test_listener_that_was_shut_down_does_not_keep_the_worker_busy(serve):
    loop = serve(raiser(RuntimeError()))
    with loop.connect() as sock:
        sock.sendall(wire.request())
        assert read_answer(sock).body == b"fine"
        before = time.process_time_ns()
        loop.listener.shutdown(2)
        time.sleep(0.3)
        assert time.process_time_ns() - before < 200_000_000
        sock.sendall(wire.request())
        assert read_answer(sock).body == b"fine"
    assert len(loop.said) < 5


def test_time_outs_of_years_are_waited_for(serve):
    years = 10**9
    loop = serve(
        raiser(RuntimeError()),
        limits=Limits(
            header_timeout=years, body_timeout=years, idle_timeout=years, write_timeout=years, linger_timeout=years
        ),
    )
    with loop.connect() as sock:
        sock.sendall(wire.request())
        assert read_answer(sock).body == b"fine"
        sock.sendall(wire.request())
        assert read_answer(sock).body == b"fine"
    assert loop.alive


def test_limits_end_where_numbers_stop_making_sense():
    assert Limits(body=2**53).body == 2**53
    with pytest.raises(ValueError, match=r"Limits\.body must be a positive int"):
        Limits(body=2**53 + 1)
