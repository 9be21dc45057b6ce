"""What WSGI applications return, through a worker loop of each twin: heads that are settled late, files, big pieces."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import socket
import sys
import threading
import time

import pytest
import wire
from fcgi_server import read_answer, read_to_end
from loop_thread import LoopThread

from fastcore.files import FileBody

TEXT = [("Content-Type", "text/plain")]


@pytest.fixture
def serve(twin, tmp_path):
    """A function that serves a WSGI application (or, by `native`, one of the native interface)."""
    running = []

    def started(application, native=False, **options):
        adapted = application if native else twin.wsgi.WSGIAdapter(application)
        loop = LoopThread(twin, adapted, tmp_path, **options)
        running.append(loop)
        return loop.__enter__()

    yield started
    for loop in running:
        loop.__exit__()


class Body:
    """An iterable that counts how often it was closed."""

    def __init__(self, pieces):
        self.pieces, self.closed = pieces, 0

    def __iter__(self):
        return iter(self.pieces)

    def close(self):
        self.closed += 1


# When the head is settled


def test_body_of_empty_pieces_before_its_first_byte_leaves_time_for_others(serve):
    body = Body(itertools.repeat(b""))

    def application(environ, start_response):
        start_response("200 OK", TEXT)
        return body if environ["PATH_INFO"] == "/endless" else [b"fine"]

    loop = serve(application)
    with loop.connect() as endless:
        endless.sendall(wire.request(PATH_INFO="/endless"))
        assert loop.ask(PATH_INFO="/").body == b"fine"
        endless.sendall(wire.record(wire.ABORT, 1))
        assert read_answer(endless).app_status == 1
    assert body.closed == 1


def test_head_may_be_replaced_after_empty_pieces_and_not_after_a_byte(serve):
    def application(environ, start_response):
        start_response("200 OK", TEXT)
        yield b""
        try:
            raise RuntimeError("early")
        except RuntimeError:
            start_response("503 Sorry", [*TEXT, ("X-New", "1")], sys.exc_info())
        yield b""
        yield b"replaced"
        try:
            raise RuntimeError("late")
        except RuntimeError:
            start_response("500 Late", TEXT, sys.exc_info())

    answer = serve(application).ask(PATH_INFO="/")
    assert answer.head == b"Status: 503 Sorry\r\nContent-Type: text/plain\r\nX-New: 1"
    assert (answer.body, answer.broken) == (b"replaced", True)


@pytest.mark.parametrize("pieces", [[], [b""], [b"", b""]])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_body_without_a_byte_has_a_head(serve, pieces, method):
    body = Body(pieces)

    def application(environ, start_response):
        start_response("200 OK", TEXT)
        return body

    answer = serve(application).ask(PATH_INFO="/", REQUEST_METHOD=method)
    assert (answer.status, answer.body, answer.app_status) == (200, b"", 0)
    assert body.closed == 1


@pytest.mark.parametrize("where", ["first", "after an empty piece", "never started", "bad header"])
def test_failure_before_the_first_byte_is_a_500(serve, where):
    closed = []

    def pieces(start_response):
        try:
            if where != "never started":
                start_response("200 OK", [("X", "a\nb")] if where == "bad header" else TEXT)
            if where == "after an empty piece":
                yield b""
            if where in ("first", "after an empty piece"):
                raise RuntimeError("secret")
            yield b"text"
        finally:
            closed.append(True)

    answer = serve(lambda environ, start_response: pieces(start_response)).ask(PATH_INFO="/")
    assert (answer.status, answer.body, answer.app_status) == (500, b"500 Internal Server Error\n", 0)
    assert closed == [True]


def test_what_write_was_given_by_a_generator_comes_first(serve):
    def application(environ, start_response):
        write = start_response("200 OK", TEXT)
        write(b"one ")
        yield b""
        write(b"two ")
        yield b"three"

    assert serve(application).ask(PATH_INFO="/").body == b"one two three"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_write_alone_is_a_whole_answer(serve, method):
    def application(environ, start_response):
        start_response("200 OK", TEXT)(b"written" * 100_000)
        return []

    answer = serve(application).ask(PATH_INFO="/", REQUEST_METHOD=method)
    assert answer.body == (b"written" * 100_000 if method == "GET" else b"")


@pytest.mark.parametrize("status", ["100 Continue", "101 Switching Protocols", "103 Early Hints", "199 No"])
def test_informational_status_is_refused_with_an_explanation(serve, status):
    def application(environ, start_response):
        start_response(status, TEXT)
        return [b"body"]

    loop = serve(application)
    assert loop.ask(PATH_INFO="/").status == 500
    assert any(status[:3] in said and "final" in said for said in loop.said)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("kind", [list, Body])
def test_bodies_that_may_not_be_are_not_sent_and_closed(serve, status, kind):
    bodies = []

    def application(environ, start_response):
        start_response(status, TEXT)
        bodies.append(kind([b"not", b"sent"]))
        return bodies[-1]

    assert serve(application).ask(PATH_INFO="/").body == b""
    assert kind is list or bodies[0].closed == 1


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("body", [[], [b"not sent"], [b"not", b"sent"]])
def test_204_has_no_content_length_whatever_the_application_says(serve, body, native):
    """RFC 9110 §8.6. The second and third answers are made of headers that have been sent before."""
    headers = [*TEXT, ("Content-Length", "8"), ("X-After", "1")]

    def application(environ, start_response):
        start_response("204 No Content", headers)
        return body

    loop = serve((lambda request: (204, headers, body)) if native else application, native)
    for _ in range(3):
        answer = loop.ask(PATH_INFO="/")
        assert answer.head == b"Status: 204 No Content\r\nContent-Type: text/plain\r\nX-After: 1"
        assert (answer.body, answer.app_status) == (b"", 0)
    assert loop.said == []


def test_other_statuses_keep_a_content_length_without_a_body(serve):
    def application(environ, start_response):
        start_response("304 Not Modified", [("Content-Length", "8")])
        return []

    assert serve(application).ask(PATH_INFO="/").head == b"Status: 304 Not Modified\r\nContent-Length: 8"


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", ["Connection", "keep-alive", "TE", "Transfer-Encoding", "UPGRADE", "Proxy-Connection"])
def test_headers_about_a_connection_are_left_out(serve, name, native):
    """PEP 3333 forbids them, and many an example of server-sent events has them."""
    headers = [*TEXT, (name, "close"), ("X-After", "1")]

    def application(environ, start_response):
        start_response("200 OK", headers)
        return [b"text"]

    loop = serve((lambda request: (200, headers, b"text")) if native else application, native)
    for _ in range(3):
        answer = loop.ask(PATH_INFO="/")
        assert answer.head == b"Status: 200 OK\r\nContent-Type: text/plain\r\nX-After: 1\r\nContent-Length: 4"
        assert answer.body == b"text"
    assert loop.said == []


@pytest.mark.parametrize("value", ["a\r\nX: y", "\0"])
def test_what_is_left_out_is_checked_all_the_same(serve, value):
    def application(environ, start_response):
        start_response("200 OK", [("Connection", value)])
        return [b"text"]

    assert serve(application).ask(PATH_INFO="/").status == 500


@pytest.mark.parametrize("end", ["whole", "error", "abort", "gone", "HEAD", "too long"])
def test_close_is_called_once_whatever_ends_the_answer(serve, end):
    def pieces():
        yield b"first"
        if end == "error":
            raise RuntimeError("boom")
        while end in ("abort", "gone"):
            yield b""
        yield b"last"

    body = Body(pieces())
    other = Body([])

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", "6")] if end == "too long" else TEXT)
        return body if environ["PATH_INFO"] == "/" else other

    loop = serve(application)
    with loop.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/", REQUEST_METHOD="HEAD" if end == "HEAD" else "GET"))
        assert sock.recv(1)
        if end == "abort":
            sock.sendall(wire.record(wire.ABORT, 1))
    end_time = time.monotonic() + 20
    while not body.closed and time.monotonic() < end_time:  # the loop sees ABORT or the hang-up in its own time
        loop.ask(PATH_INFO="/other")
    for _ in range(3):
        other.closed = 0
        loop.ask(PATH_INFO="/other")
    assert (body.closed, other.closed) == (1, 1)


# Files


@pytest.fixture
def file(tmp_path):
    """A file of three and a half megabytes, not all equal."""
    path = tmp_path / "file"
    path.write_bytes(b"".join(b"%07d\n" % number for number in range(437_500)))
    return path


def opener(path):
    return lambda: path.open("rb")


def wrapped(opened, headers=(), size=7):
    def application(environ, start_response):
        start_response("200 OK", [*TEXT, *headers])
        return environ["wsgi.file_wrapper"](opened(), size)

    return application


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("position", [0, 1, 3_000_000, 3_500_000, 4_000_000])
def test_file_wrapper_sends_a_file_from_its_position_and_closes_it(serve, file, buffering, position):
    opened = []

    def open_file():
        opened.append(open(file, "rb", buffering=buffering))  # noqa: SIM115
        opened[0].read(1)
        opened[0].seek(position)
        return opened[0]

    answer = serve(wrapped(open_file)).ask(PATH_INFO="/")
    assert answer.body == file.read_bytes()[position:]
    assert opened[0].closed


@pytest.mark.parametrize("length", [0, 10, 2_000_000, 3_500_000, 3_500_001])
def test_file_wrapper_respects_content_length(serve, file, length):
    loop = serve(wrapped(opener(file), [("Content-Length", str(length))]))
    answer = loop.ask(PATH_INFO="/")
    assert answer.body == file.read_bytes()[:length]
    assert answer.app_status == (length > 3_500_000)


def test_file_that_was_just_written_is_sent_as_it_is(serve, tmp_path):
    def open_file():
        file = open(tmp_path / "new", "w+b")  # noqa: SIM115
        file.write(b"written " * 3)
        file.seek(8)
        file.write(b"WRITTEN ")
        file.seek(0)
        return file

    assert serve(wrapped(open_file)).ask(PATH_INFO="/").body == b"written WRITTEN written "


@pytest.mark.parametrize("kind", ["gzip", "BytesIO", "pipe", "proc", "no fileno"])
def test_what_is_no_plain_file_is_read_by_its_own_methods(serve, tmp_path, kind):
    with gzip.open(tmp_path / "zip", "wb") as packed:
        packed.write(b"unpacked " * 10_000)

    def open_file():
        if kind == "gzip":
            return gzip.open(tmp_path / "zip")
        if kind == "pipe":
            reader, writer = os.pipe()
            os.write(writer, b"unpacked " * 10)
            os.close(writer)
            return open(reader, "rb")
        if kind == "proc":
            return open("/proc/self/status", "rb")
        return io.BytesIO(b"unpacked " * 10)

    body = serve(wrapped(open_file)).ask(PATH_INFO="/").body
    assert body.startswith(b"Name:" if kind == "proc" else b"unpacked ")


def test_file_that_shrinks_or_grows_meanwhile_is_safe(serve, file):
    """The part that was read is sent as whole records; what is missing is seen as missing."""
    loop = serve(wrapped(opener(file), [("Content-Length", "3500000")]))
    whole = file.read_bytes()
    with loop.connect() as sock:
        sock.sendall(wire.request(flags=0, PATH_INFO="/"))
        first = sock.recv(1000)
        os.truncate(file, 2_000_000)
        answer = wire.answer(first + read_to_end(sock))
    assert answer.app_status == 1
    assert 2_000_000 <= len(answer.body) < 3_500_000
    assert whole.startswith(answer.body.rstrip(b"\0"))


def test_file_closed_by_the_application_is_not_another_file(serve, file, tmp_path):
    kept = []

    def open_file():
        kept.append(open(file, "rb"))  # noqa: SIM115
        return kept[0]

    loop = serve(wrapped(open_file))
    with loop.connect() as sock:
        sock.sendall(wire.request(flags=0, PATH_INFO="/"))
        first = sock.recv(1000)
        kept[0].close()
        answer = wire.answer(first + read_to_end(sock))
    assert answer.broken
    assert file.read_bytes().startswith(answer.body.rstrip(b"\0"))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_part_of_a_file_as_a_native_body(serve, file, method):
    bodies = []

    def application(request):
        bodies.append(FileBody(open(file, "rb", buffering=0), 100, 1_000_000))  # noqa: SIM115
        return 200, [*TEXT, ("Content-Length", "1000000")], bodies[-1]

    answer = serve(application, native=True).ask(PATH_INFO="/", REQUEST_METHOD=method)
    assert answer.body == (file.read_bytes()[100:1_000_100] if method == "GET" else b"")
    assert answer.app_status == 0
    assert bodies[0].file.closed
    assert b"".join(FileBody(open(file, "rb"), 100, 1_000_000)) == file.read_bytes()[100:1_000_100]  # noqa: SIM115


# Big pieces


@pytest.mark.parametrize("size", [16_383, 16_384, 65_528, 65_529, 65_536, 131_056, 131_057, 300_000])
def test_pieces_of_any_size_arrive_whole_by_a_slow_reader(serve, size):
    pieces = [os.urandom(size) for _ in range(40)]

    def application(environ, start_response):
        start_response("200 OK", TEXT)
        return iter(pieces)

    with serve(application).connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(wire.request(flags=0, PATH_INFO="/"))
        data = b""
        while part := sock.recv(10_007):
            data += part
    assert wire.answer(data).body == b"".join(pieces)


def test_big_pieces_of_two_requests_on_one_connection_arrive_whole(serve):
    pieces = {path: [os.urandom(70_000) for _ in range(30)] for path in ("/one", "/two")}

    def application(environ, start_response):
        start_response("200 OK", TEXT)
        return iter(pieces[environ["PATH_INFO"]])

    with serve(application).connect() as sock:
        sock.sendall(wire.request(1, PATH_INFO="/one") + wire.request(2, flags=0, PATH_INFO="/two"))
        data = read_to_end(sock)
    for number, path in ((1, "/one"), (2, "/two")):
        assert wire.answer(data, number).body == b"".join(pieces[path])


def test_reader_that_leaves_during_a_big_piece_ends_the_answer(serve):
    closed = threading.Event()

    def pieces():
        try:
            while True:
                yield bytes(100_000)
        finally:
            closed.set()

    def application(environ, start_response):
        start_response("200 OK", TEXT)
        return pieces()

    with serve(application).connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/"))
        assert sock.recv(100_000)
    assert closed.wait(20)
