"""Every limit of docs/limits.md through real sockets: at it all is well, one over it is what the table says.

A limit has two tests, test_at_NAME and test_over_NAME; the last test here compares them with the table and the class.
Where seconds are the unit, "at" is a client that keeps within them while another, no older, is found to be over them;
no time is measured.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import re
import select
import struct
import termios
import threading
import time
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
import wire
from fcgi_server import Server, is_closed, read_answer, read_records, read_to_end
from loop_thread import LoopThread

from fastcore.constants import FILTER, RESPONDER
from fastcore.limits import Limits

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "limits.md"
LONG = 3600  # seconds that no test lasts
PATIENT = {name: LONG for name in Limits.__annotations__ if name.endswith("_timeout") and name != "request_timeout"}
TEXT = [("Content-Type", "text/plain")]
POST = {"REQUEST_METHOD": "POST"}
GUARD = 30.0  # seconds after which a test gives up


@cache
def table() -> dict[str, str]:
    """The limits of the document, and what it says of those over them."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]+\|[^|]+\| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(dict(rows)) == len(rows), "a limit has two rows"
    return dict(rows)


def documented(name, *words):
    """The status that the table promises for this limit; `words` are in its row, too."""
    for word in words:
        assert word in table()[name], table()[name]
    statuses = re.findall(r"\b[45]\d\d\b", table()[name])
    return int(statuses[0]) if statuses else None


class Application:
    """Counts its calls; what it does is chosen by the path."""

    def __init__(self):
        self.calls = 0
        self.pulled = 0
        self.ended = threading.Event()  # the endless body may end
        self.closed = threading.Event()  # it was closed

    def __call__(self, request):
        self.calls += 1
        path, _, argument = request.get("PATH_INFO", "/").partition("=")
        match path:
            case "/kind":
                kind = "memory" if isinstance(request.body, io.BytesIO) else "file"
                return 200, TEXT, f"{kind} {len(request.body.read())}".encode()
            case "/file":
                return 200, TEXT, b"%d" % len(request.data.read())
            case "/errors":
                request.write_error("e" * int(argument))
            case "/pieces":
                return 200, TEXT, Pieces(self, int(argument))
        return 200, TEXT, b"served"


class Pieces:
    SIZE = 1000

    def __init__(self, application, count):
        self.application, self.count = application, count

    def __iter__(self):
        for _ in range(self.count):
            if self.application.ended.is_set():
                return
            self.application.pulled += 1
            yield b"p" * self.SIZE

    def close(self):
        self.application.closed.set()


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def serve(twin, tmp_path, application):
    """A function that serves the application with these limits; its other time-outs never come."""
    running = []

    def started(*, options=None, **limits):
        loop = LoopThread(twin, application, tmp_path, limits=Limits(**{**PATIENT, **limits}), **(options or {}))
        running.append(loop)
        return loop.__enter__()

    yield started
    application.ended.set()
    for loop in running:
        loop.__exit__()


def wait_for(condition, what):
    end = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.005)


def is_readable(sock, seconds=0.0):
    return bool(select.select([sock], [], [], seconds)[0])


def is_hung_up(sock):
    """Whether the server has closed, found out without reading."""
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))


def served_on(sock, request_id=1, **parameters):
    sock.sendall(wire.request(request_id, **parameters))
    return read_answer(sock, request_id).body == b"served"


# Parameters


def padded(size):
    """A PARAMS stream of exactly so many bytes, its end included."""
    start = wire.pairs({"REQUEST_METHOD": "GET"})
    name = b"X" * (size - len(start) - 2)
    content = start + wire.pair(name, b"")
    assert len(content) == size
    return wire.record(wire.PARAMS, 1, content) + wire.record(wire.PARAMS, 1)


def ask_with_params(loop, params):
    """The answer, on a connection that serves the next request as well."""
    with loop.connect() as sock:
        sock.sendall(wire.begin() + params + wire.stdin(1))
        answer = read_answer(sock)
        assert served_on(sock, 2)
        return answer


def test_at_params_bytes(serve):
    assert ask_with_params(serve(params_bytes=100), padded(100)).status == 200


def test_over_params_bytes(serve, application):
    status = documented("params_bytes", "the application is not called")
    assert ask_with_params(serve(params_bytes=100), padded(101)).status == status
    assert application.calls == 1, "the next request's"


def many(count):
    return wire.params(1, {f"NAME_{number}": "" for number in range(count)})


def test_at_params_count(serve):
    assert ask_with_params(serve(params_count=10), many(10)).status == 200


def test_over_params_count(serve, application):
    status = documented("params_count", "the application is not called")
    assert ask_with_params(serve(params_count=10), many(11)).status == status
    assert application.calls == 1, "the next request's"


# Bodies


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
def test_at_body(serve, declared, streamed):
    loop = serve(body=1000, options={"stream_body": streamed})
    length = {"CONTENT_LENGTH": "1000" if declared else ""}
    assert loop.ask(bytes(1000), PATH_INFO="/kind", **length).body.endswith(b" 1000")


def test_over_body_by_its_declared_length(serve, application):
    """Before a byte of it has come."""
    status = documented("body", "by CONTENT_LENGTH before a byte of it is read", "the application is not called")
    for streamed in (False, True):
        loop = serve(body=1000, options={"stream_body": streamed})
        with loop.connect() as sock:
            sock.sendall(wire.begin() + wire.params(1, {**POST, "CONTENT_LENGTH": "1001"}))
            assert read_answer(sock).status == status
    assert application.calls == 0


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_over_body_of_undeclared_length(serve, application, streamed):
    """In its read where it is streamed, and that is 413 unless caught."""
    loop = serve(body=1000, options={"stream_body": streamed})
    with loop.connect() as sock:
        sock.sendall(wire.begin() + wire.params(1, {**POST, "PATH_INFO": "/kind"}))
        if streamed:
            wait_for(lambda: application.calls, "the call")
        sock.sendall(wire.record(wire.STDIN, 1, bytes(1000)) + wire.record(wire.STDIN, 1, b"x"))
        assert read_answer(sock).status == documented("body", "BodyTooLong")
    assert application.calls == int(streamed)


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
def test_over_body_as_the_file_of_a_filter(serve, application, declared):
    loop = serve(body=1000, options={"roles": (RESPONDER, FILTER)})
    for size, status, calls in ((1000, 200, 1), (1001, documented("body"), 1)):
        with loop.connect() as sock:
            length = {"FCGI_DATA_LENGTH": str(size)} if declared else {}
            sock.sendall(wire.begin(role=FILTER) + wire.params(1, {"PATH_INFO": "/file", **length}))
            data = wire.record(wire.DATA, 1, bytes(size))
            sock.sendall(wire.record(wire.STDIN, 1) + data + wire.record(wire.DATA, 1))
            answer = read_answer(sock)
            assert (answer.status, application.calls) == (status, calls)


def test_at_body_memory(serve, tmp_path):
    """No file is made: there would be no place for it."""
    loop = serve(body_memory=1000, options={"spool_directory": str(tmp_path / "missing")})
    assert loop.ask(bytes(1000), PATH_INFO="/kind").body == b"memory 1000"


def test_over_body_memory(serve, tmp_path):
    loop = serve(body_memory=1000, options={"spool_directory": str(tmp_path)})
    assert loop.ask(bytes(1001), PATH_INFO="/kind").body == b"file 1001"
    status = documented("body_memory", "unnamed temporary file", "no room")
    loop = serve(body_memory=1000, options={"spool_directory": str(tmp_path / "missing")})
    assert loop.ask(bytes(1001), PATH_INFO="/kind").status == status


# Connections and requests


def test_at_connections(serve):
    loop = serve(connections=3)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(loop.connect()) for _ in range(3)]
        for sock in socks * 2:
            assert served_on(sock)


def test_over_connections(serve):
    documented("connections", "wait in the listener's queue")
    loop = serve(connections=3)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(loop.connect()) for _ in range(3)]
        assert all(served_on(sock) for sock in socks)
        waiting = stack.enter_context(loop.connect())
        waiting.sendall(wire.request())
        for sock in socks * 5:
            assert served_on(sock), "those that are open are not disturbed"
        assert not is_readable(waiting)
        socks[0].close()
        assert read_answer(waiting).body == b"served"


def begun(*numbers):
    """Requests whose parameters are not complete."""
    return b"".join(wire.begin(number) for number in numbers)


def finished(number):
    return wire.params(number, {"REQUEST_METHOD": "GET"}) + wire.stdin(number)


def test_at_requests_per_connection(serve):
    with serve(requests_per_connection=2).connect() as sock:
        sock.sendall(begun(1, 2) + finished(1))
        assert read_answer(sock, 1).status == 200
        sock.sendall(finished(2))
        assert read_answer(sock, 2).status == 200


OVERLOADED, CANT_MPX_CONN = 2, 1


@pytest.mark.parametrize(("limit", "status", "word"), [(2, OVERLOADED, "FCGI_OVERLOADED"), (1, CANT_MPX_CONN, "MPX")])
def test_over_requests_per_connection(serve, application, limit, status, word):
    documented("requests_per_connection", word)
    with serve(requests_per_connection=limit).connect() as sock:
        numbers = range(1, limit + 1)
        sock.sendall(begun(*numbers, 9) + finished(9))
        (end,) = read_records(sock, 1)
        assert (end.type, end.id, end.content[4]) == (wire.END, 9, status)
        for number in numbers:
            sock.sendall(finished(number))
            assert read_answer(sock, number).status == 200
    assert application.calls == limit


def test_over_requests_per_connection_as_a_page(serve, application):
    status = documented("requests_per_connection", "Retry-After", "`--overload page`")
    with serve(requests_per_connection=2, options={"overload": "page"}).connect() as sock:
        sock.sendall(begun(1, 2, 9) + finished(9))
        answer = read_answer(sock, 9)
        assert (answer.status, b"Retry-After: 1" in answer.head) == (status, True)
    assert application.calls == 0


# Output


def framed(count):
    """Bytes of so many pieces as records."""
    return count * len(wire.record(wire.STDOUT, 1, b"p" * Pieces.SIZE))


def test_at_output_buffer(serve, application):
    """The whole answer is made while its client reads nothing."""
    count = 100
    loop = serve(output_buffer=framed(count))
    with loop.connect() as sock:
        sock.sendall(wire.request(PATH_INFO=f"/pieces={count}"))
        assert application.closed.wait(GUARD)
        assert len(read_answer(sock).body) == count * Pieces.SIZE


def test_over_output_buffer(serve, application):
    documented("output_buffer", "iterator rests until the reader has caught up")
    limit = 100_000
    loop = serve(output_buffer=limit)
    with loop.connect() as sock, loop.connect() as other:
        sock.sendall(wire.request(PATH_INFO="/pieces=5000"))

        def rests():  # the worker has gone round several times and pulled nothing
            before = application.pulled
            return all(served_on(other) for _ in range(5)) and 0 < before == application.pulled

        wait_for(rests, "the iterator to rest")
        (in_kernel,) = struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))
        waiting = framed(application.pulled) - in_kernel  # the head's few bytes aside
        assert limit - 1000 <= waiting <= limit + framed(1)
        assert len(read_answer(sock).body) == 5000 * Pieces.SIZE


def test_at_stderr_bytes(serve):
    assert serve(stderr_bytes=100).ask(PATH_INFO="/errors=100").stderr == b"e" * 100


def test_over_stderr_bytes(serve):
    documented("stderr_bytes", "what is longer is cut")
    answer = serve(stderr_bytes=100).ask(PATH_INFO="/errors=101")
    assert (answer.stderr, answer.body) == (b"e" * 100, b"served")


# Seconds


def test_at_header_timeout(serve):
    """Its time begins anew with each request, and nothing of it counts while a client is idle."""
    loop = serve(header_timeout=1)
    with loop.connect() as good, loop.connect() as slow:
        assert served_on(good)
        slow.sendall(wire.begin())
        assert is_closed(slow)
        assert served_on(good)
        good.sendall(wire.request(3)[:-30])
        good.sendall(wire.request(3)[-30:])
        assert read_answer(good, 3).status == 200


def test_over_header_timeout(serve):
    documented("header_timeout", "the connection is closed")
    loop = serve(header_timeout=1)
    with contextlib.ExitStack() as stack:
        starts = (b"", wire.begin()[:5], wire.begin(), wire.begin() + wire.params()[:20])
        socks = [stack.enter_context(loop.connect()) for _ in starts]
        for sock, start in zip(socks, starts, strict=True):
            sock.sendall(start)
        assert [is_closed(sock) for sock in socks] == [True] * len(socks)


def test_over_header_timeout_however_slowly_it_drips(serve):
    with serve(header_timeout=1).connect() as sock:
        sock.sendall(wire.begin())
        drip(sock, wire.record(wire.PARAMS, 1, wire.pair(b"X", b"y") * 1000), until=lambda: is_hung_up(sock))


def drip(sock, data, until):
    """Send byte by byte, so that the gaps are far below a second, until something is so."""
    end = time.monotonic() + GUARD
    for index in range(len(data)):
        if until():
            return index
        assert time.monotonic() < end, "it never came"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data[index : index + 1])
        time.sleep(0.02)
    raise AssertionError("there was not enough to send")


def test_at_body_timeout(serve):
    """Each byte gives it new time: the one that has gone silent is refused, the slow one served."""
    loop = serve(body_timeout=2)
    size = 5000
    upload = wire.begin() + wire.params(1, {**POST, "PATH_INFO": "/kind", "CONTENT_LENGTH": str(size)})
    with loop.connect() as slow, loop.connect() as silent:
        slow.sendall(upload + struct.pack("!BBHHBB", 1, wire.STDIN, 1, size, 0, 0))
        silent.sendall(upload)
        sent = drip(slow, bytes(size), until=lambda: is_readable(silent))
        assert read_answer(silent).status == documented("body_timeout")
        slow.sendall(bytes(size - sent) + wire.record(wire.STDIN, 1))
        assert read_answer(slow).body == b"memory 5000"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_over_body_timeout(serve, application, streamed):
    """What came is not enough; one that reads as it comes gets the error in its read, and it is 408 unless caught."""
    status = documented("body_timeout", "BodyTimeout")
    loop = serve(body_timeout=1, options={"stream_body": streamed})
    with loop.connect() as sock:
        sock.sendall(wire.begin() + wire.params(1, {**POST, "PATH_INFO": "/kind", "CONTENT_LENGTH": "9"}))
        sock.sendall(wire.record(wire.STDIN, 1, b"8 bytes."))
        assert read_answer(sock).status == status
    assert application.calls == int(streamed)


def test_at_idle_timeout(serve):
    """The one that goes on asking stays while the other is closed."""
    loop = serve(idle_timeout=2)
    with loop.connect() as busy, loop.connect() as idle:
        assert served_on(idle)
        wait_for(lambda: served_on(busy) and is_readable(idle), "the end of the idle one")
        assert is_closed(idle)
        assert served_on(busy)


def test_over_idle_timeout(serve):
    documented("idle_timeout", "the connection is closed")
    with serve(idle_timeout=1).connect() as sock:
        assert served_on(sock)
        assert is_closed(sock)


def test_at_write_timeout(serve, application):
    """A slow reader goes on while one that reads nothing is closed."""
    loop = serve(write_timeout=2, output_buffer=10_000)
    with loop.connect() as slow, loop.connect() as stuck:
        for sock in (slow, stuck):
            sock.sendall(wire.request(PATH_INFO="/pieces=1000000"))
        read = bytearray()

        def stuck_is_closed():
            read.extend(slow.recv(100_000))
            time.sleep(0.01)
            return is_hung_up(stuck)

        wait_for(stuck_is_closed, "the end of the stuck one")
        application.ended.set()
        while not read.endswith(wire.record(wire.END, 1, bytes(8))):
            part = slow.recv(1 << 20)
            assert part, "the slow one was closed"
            read += part
        assert wire.answer(bytes(read)).status == 200


def test_over_write_timeout(serve, application):
    documented("write_timeout", "the connection is closed")
    loop = serve(write_timeout=1, output_buffer=10_000)
    with loop.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/pieces=1000000"))
        wait_for(lambda: is_hung_up(sock), "the end of the connection")
        assert application.closed.wait(GUARD)
        assert wire.END not in [record.type for record in whole(read_to_end(sock))]


def whole(data):
    """The whole records of an answer that was cut anywhere."""
    end = 0
    while len(data) >= end + 8 and len(data) >= end + 8 + int.from_bytes(data[end + 4 : end + 6], "big"):
        end += 8 + int.from_bytes(data[end + 4 : end + 6], "big")
    return wire.records(data[:end])


def answered_early(loop):
    """A connection on which an upload was refused, and nothing more of it has come."""
    sock = loop.connect()
    sock.sendall(wire.begin(flags=0) + wire.params(1, {**POST, "CONTENT_LENGTH": "11"}))
    assert read_answer(sock).status == documented("body")
    assert is_closed(sock), "the answer is whole, no more will come"
    return sock


def test_at_linger_timeout(serve):
    """What still comes of the body is taken."""
    loop = serve(body=10)
    with answered_early(loop) as sock:
        for _ in range(20):
            sock.sendall(wire.record(wire.STDIN, 1, bytes(10_000)))
        assert served_on(loop.connect())
        sock.sendall(wire.record(wire.STDIN, 1))
        assert loop.loop.connections


def test_over_linger_timeout(serve):
    documented("linger_timeout", "the connection is closed")
    loop = serve(body=10, linger_timeout=1)
    with answered_early(loop) as sock:
        drip(sock, wire.record(wire.STDIN, 1, bytes(5000)), until=lambda: is_hung_up(sock))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            sock.sendall(b"more")


@pytest.fixture
def server(tmp_path, twin_environment):
    """A process, since only the main thread hears the alarm."""
    with Server(tmp_path, twin_environment, "slow_applications:native", "--limit", "request_timeout=2") as server:
        yield server


def test_at_request_timeout(server):
    """Each call has its own time: the pieces of an answer may take longer together."""
    assert server.ask(PATH_INFO="/three-pieces").body == b"123"


def test_over_request_timeout(server):
    status = documented("request_timeout", "or a broken answer past the head", "the stack goes to the log")
    assert server.ask(PATH_INFO="/forever").status == status
    assert server.ask(PATH_INFO="/pieces").broken
    assert server.log.count("in forever") == 2
    assert server.ask(PATH_INFO="/").body == b"quick"


@pytest.fixture
def watched(tmp_path, twin_environment):
    with Server(tmp_path, twin_environment, "slow_applications:native", "--limit", "slow_request_ms=500") as server:
        yield server


def test_at_slow_request_ms(watched):
    """What takes no time at all is not told; a call that is, is the one that took longer."""
    for _ in range(3):
        assert watched.ask(PATH_INFO="/").body == b"quick"
    assert "in three_pieces" not in watched.log


def test_over_slow_request_ms(watched):
    documented("slow_request_ms", "its stack goes to the log, once, while it goes on")
    assert watched.ask(PATH_INFO="/three-pieces").body == b"123"
    watched.wait_for(lambda: watched.log.count("in three_pieces") == 3, "the stack of each of the three calls")


# The table


def test_every_limit_is_in_the_table_and_has_a_test_at_it_and_one_over():
    names = [field.name for field in fields(Limits)]
    assert sorted(table()) == sorted(names)
    tests = [name for name in globals() if name.startswith("test_")]
    for name in names:
        assert f"test_at_{name}" in tests
        assert any(test == f"test_over_{name}" or test.startswith(f"test_over_{name}_") for test in tests), name
    about = re.compile(rf"test_(at|over)_({'|'.join(names)})(_|$)")
    assert not [test for test in tests if not about.match(test) and not test.startswith("test_every_limit")]
