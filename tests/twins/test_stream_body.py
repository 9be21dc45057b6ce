"""The streaming mode of bodies: the file by itself, and read by applications while it arrives, on both twins."""

from __future__ import annotations

import asyncio
import io
import os
import threading

import pytest
import wire
from fcgi_server import is_closed, read_answer
from hypothesis import given
from hypothesis import strategies as st
from loop_thread import LoopThread

from fastcore.constants import FILTER, RESPONDER
from fastcore.errors import BodyError, BodyTimeout, BodyTooLong, ClientGone, RequestTimeout
from fastcore.limits import Limits
from framework import App
from framework import Limits as AppLimits
from framework.rpc import Proxy


class Feed:
    """A source that delivers prepared pieces, one for each wait; then the end, or an error."""

    def __init__(self, pieces, error=None):
        self.pieces, self.error, self.resumed = list(pieces), error, 0
        self.body = None

    def receive_more(self):
        if self.pieces:
            self.body.put(self.pieces.pop(0))
        elif self.error is not None:
            self.body.fail(self.error)
        else:
            self.body.end()

    def resume(self):
        self.resumed += 1


def streamed(twin, pieces, *, declared=None, memory=1000, error=None):
    source = Feed(pieces, error)
    length = sum(map(len, pieces)) if declared is None else declared
    source.body = twin.stream.StreamBody(length, memory, None, source)
    return source.body


contents = st.lists(st.binary(min_size=1, max_size=40) | st.just(b"line\nline\n") | st.just(bytes(3000)), max_size=12)
calls = st.lists(
    st.tuples(st.sampled_from(["read", "read1", "readline", "readlines", "next", "readinto"]), st.integers(-1, 50)),
    max_size=25,
)


@given(contents, calls, st.booleans(), st.sampled_from([1, 30, 1000]))
def test_reads_as_a_file_of_the_same_bytes_would(twin, pieces, calls, known, memory):
    body = streamed(twin, pieces, declared=None if known else -1, memory=memory)
    whole = io.BytesIO(b"".join(pieces))
    for name, size in calls:
        if name == "next":
            assert next(body, None) == next(whole, None)
        elif name == "readinto":
            target, expected = bytearray(max(size, 0)), bytearray(max(size, 0))
            assert (body.readinto(target), target) == (whole.readinto(expected), expected)
        elif name == "read1":
            piece = body.read1(size)
            assert piece == whole.read(len(piece))
            assert piece or size == 0 or whole.read(1) == b""
        else:
            assert getattr(body, name)(size) == getattr(whole, name)(size)
    assert body.read() == whole.read()
    assert (body.read(), body.read(5), body.read1(), body.readline(), list(body)) == (b"", b"", b"", b"", [])


@given(pieces=contents, sizes=st.lists(st.integers(1, 4000), max_size=10))
def test_what_waits_is_in_memory_up_to_the_limit_and_then_in_a_file(twin, pieces, sizes):
    body = twin.stream.StreamBody(-1, 1000)
    whole = io.BytesIO(b"".join(pieces))
    for piece in pieces:
        body.put(piece)
    assert body.held == body.received == len(whole.getvalue())
    body.end()
    for size in sizes:
        assert body.read(size) == whole.read(size)
    assert body.read() == whole.read()
    body.close()


def test_file_is_used_again_after_it_was_emptied(twin):
    body = twin.stream.StreamBody(-1, 10)
    for number in range(5):
        body.put(b"%d" % number * 25)
        body.put(b"after")
        assert body.read(30) == b"%d" % number * 25 + b"after"
    assert body.held == 0


@pytest.mark.parametrize("error", [BodyTimeout("a"), BodyTooLong("b"), ClientGone("c"), BodyError("d")])
def test_error_comes_after_what_has_come(twin, error):
    body = streamed(twin, [b"some", b"thing"], declared=100, error=error)
    assert body.read(6) == b"someth"
    assert body.read1() == b"ing"
    for read in (body.read, body.read1, body.readline, lambda: body.read(1), lambda: next(body)):
        with pytest.raises(type(error), match=str(error)):
            read()
    assert isinstance(error, OSError)


def test_read_of_a_closed_body_is_an_error(twin):
    body = streamed(twin, [b"some"])
    body.close()
    with pytest.raises(ValueError, match="closed"):
        body.read1()
    body.put(b"thrown away")
    assert (body.closed, body.held) == (True, 0)


def test_text_can_be_read_through_it(twin):
    body = streamed(twin, ["één\nzwei\n".encode()])
    assert io.TextIOWrapper(body, "utf-8").read() == "één\nzwei\n"


def test_on_more_is_called_once(twin):
    body = twin.stream.StreamBody(-1, 10)
    told = []
    for act in (lambda: body.put(b"x"), body.end, lambda: body.fail(ClientGone()), body.close):
        body.on_more = lambda: told.append(1)
        act()
    assert len(told) >= 3
    assert body.ready


# Through a worker loop


def total(request):
    """How much comes, and whether it is what was sent."""
    count = 0
    while chunk := request.body.read(65536):
        assert chunk == b"x" * len(chunk)
        count += len(chunk)
    return b"%d of %d" % (count, request.content_length)


def echo_lines(request):
    """Each line is answered when it has come."""
    yield from request.body


@pytest.fixture
def serve(twin, tmp_path):
    running = []

    def started(application, **options):
        loop = LoopThread(twin, application, tmp_path, stream_body=True, **options)
        running.append(loop)
        return loop.__enter__()

    yield started
    for loop in running:
        loop.__exit__()


def post(request_id=1, length=None, *, flags=wire.KEEP, **parameters):
    head = {"REQUEST_METHOD": "POST", **parameters} | ({} if length is None else {"CONTENT_LENGTH": str(length)})
    return wire.begin(request_id, flags=flags) + wire.params(request_id, head)


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 3_000_000])
@pytest.mark.parametrize("known", [True, False])
def test_body_arrives_whole(serve, size, known):
    loop = serve(total)
    with loop.connect() as sock:
        sock.sendall(post(1, size if known else None) + wire.stdin(1, b"x" * size))
        expected = b"%d of %d" % (size, size if known else -1)
        answer = read_answer(sock)
        assert answer.body == expected or (not known and answer.body == b"%d of %d" % (size, size))
        sock.sendall(wire.request(2))
        assert read_answer(sock, 2).body == b"0 of 0"


def test_application_answers_while_its_body_arrives(serve):
    loop = serve(lambda request: (200, [], echo_lines(request)))
    with loop.connect() as sock:
        sock.sendall(post())
        for number in range(3):
            line = b"line %d\n" % number
            sock.sendall(wire.record(wire.STDIN, 1, line))
            data = b""
            while line not in data:
                part = sock.recv(65536)
                assert part, data
                data += part
        sock.sendall(wire.record(wire.STDIN, 1))
    assert loop.alive


def test_length_over_the_limit_is_refused_before_the_application_runs(serve):
    called = []
    loop = serve(lambda request: called.append(1) or b"", limits=Limits(body=1000))
    with loop.connect() as sock:
        sock.sendall(post(1, 1001, flags=0))
        assert read_answer(sock).status == 413
        sock.sendall(wire.stdin(1, bytes(1001)))
    assert called == []


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413)])
def test_undeclared_length_at_the_limit_and_one_over(serve, size, status):
    loop = serve(total, limits=Limits(body=1000))
    with loop.connect() as sock:
        sock.sendall(post() + wire.stdin(1, b"x" * size, chunk=400))
        assert read_answer(sock).status == status


def test_early_answer_drains_the_rest(serve):
    loop = serve(lambda request: request.body.read(10), limits=Limits(body_memory=100_000))
    with loop.connect() as sock:
        sock.sendall(post(1, 5_000_000) + wire.stdin(1, b"x" * 5_000_000) + wire.request(2, b"y" * 10))
        assert read_answer(sock, 2).body == b"y" * 10
    with loop.connect() as sock:
        sock.sendall(post(1, 5_000_000, flags=0) + wire.stdin(1, b"x" * 5_000_000))
        assert read_answer(sock).body == b"x" * 10


def test_37_short_body_is_a_clean_end_and_a_client_that_has_gone_is_not(serve):
    seen = []
    begun, done = threading.Event(), threading.Event()

    def application(request):
        begun.set()
        try:
            seen.append(request.body.read())
        except BodyError as error:
            seen.append(type(error))
        done.set()
        return b"answered"

    loop = serve(application)
    with loop.connect() as sock:
        sock.sendall(post(1, 100) + wire.stdin(1, b"short"))
        assert read_answer(sock).body == b"answered"
    begun.clear()
    done.clear()
    with loop.connect() as sock:
        sock.sendall(post(1, 100) + wire.record(wire.STDIN, 1, b"gone"))
        assert begun.wait(20)  # who goes before that is never heard
    assert done.wait(20)
    assert seen == [b"short", ClientGone]
    assert loop.ask().body == b"answered"


@pytest.mark.parametrize("read", [lambda body: body.read(), lambda body: body.read1(), lambda body: next(body)])
def test_body_that_arrives_is_not_read_by_another_thread(serve, read):
    async def application(request):
        if request.content_length == 5:
            with pytest.raises(RuntimeError, match="in its worker's own thread"):
                await asyncio.to_thread(read, request.body)
        return await asyncio.to_thread(bytes.upper, b"".join([piece async for piece in request.stream()]))

    loop = serve(application)
    with loop.connect() as sock:
        sock.sendall(post(1, 5) + wire.record(wire.STDIN, 1, b"ab"))
        assert loop.ask(b"another").body == b"ANOTHER"
        sock.sendall(wire.stdin(1, b"cde"))
        assert read_answer(sock).body == b"ABCDE"


def test_53_abort_in_the_middle_of_a_body_that_is_read(serve):
    seen = []
    begun = threading.Event()

    def application(request):
        if request.content_length == 0:
            return b"next"
        begun.set()
        try:
            request.body.read()
        except ClientGone as error:
            seen.append(str(error))
            raise
        return b"never"

    loop = serve(application)
    with loop.connect() as sock:
        sock.sendall(post(1, 100) + wire.record(wire.STDIN, 1, b"some"))
        assert begun.wait(20)
        sock.sendall(wire.record(wire.ABORT, 1) + wire.request(3))
        found = read_answer(sock, 3)
        assert found.body == b"next"
    assert seen == ["the client has given the request up"]
    assert loop.said == []


def test_63_no_byte_for_too_long_is_a_408_or_what_the_application_makes_of_it(serve):
    def application(request):
        if request.get("PATH_INFO") == "/caught":
            with pytest.raises(BodyTimeout):
                request.body.read()
            return b"caught"
        return request.body.read()

    loop = serve(application, limits=Limits(body_timeout=1))
    for path, status in (("/", 408), ("/caught", 200)):
        with loop.connect(timeout=20) as sock:
            sock.sendall(post(1, 10, PATH_INFO=path) + wire.record(wire.STDIN, 1, b"some"))
            assert read_answer(sock).status == status
            sock.sendall(wire.stdin(1, b"ending") + wire.request(2, PATH_INFO="/"))
            assert read_answer(sock, 2).status == 200
    assert loop.said == []


def test_41_reading_rests_while_the_application_does_not_read(serve):
    """Its iterator waits for a slow reader of another answer; meanwhile the client can send a bounded amount only."""
    go_on = threading.Event()

    def application(request):
        def pieces():
            yield b"begun"
            while not go_on.is_set():
                yield b""
            yield b"%d" % len(request.body.read())

        return 200, [], pieces()

    loop = serve(application, limits=Limits(body_memory=200_000))
    with loop.connect() as sock:
        sock.sendall(post(1, 20_000_000))
        sock.setblocking(False)
        block = wire.record(wire.STDIN, 1, b"x" * 50_000)
        sent = stuck = 0
        data = block * 400
        while stuck < 200 and sent < len(data):
            try:
                sent += sock.send(data[sent:])
                stuck = 0
            except BlockingIOError:
                stuck += 1
                threading.Event().wait(0.005)
        assert sent < 3_000_000, "more than one buffer and what the system holds was taken"
        go_on.set()
        sock.setblocking(True)
        sock.settimeout(20)
        sender = threading.Thread(target=sock.sendall, args=(data[sent:],))
        sender.start()
        assert read_answer(sock).body == b"begun20000000"
        sender.join(20)


def test_27_body_that_is_not_read_stalls_nobody_on_its_connection(serve, tmp_path, monkeypatch):
    """Multiplexed: what the one does not read goes to a file, and the other is served."""
    go_on = threading.Event()

    def application(request):
        if request.get("PATH_INFO") != "/late":
            return total(request)

        def pieces():
            while not go_on.is_set():
                yield b""
            yield total(request)

        return 200, [], pieces()

    loop = serve(application, limits=Limits(body_memory=70_000), spool_directory=str(tmp_path))
    with loop.connect(timeout=20) as sock:
        sock.sendall(post(1, 1_000_000, PATH_INFO="/late") + post(3, 300_000, PATH_INFO="/now"))
        late = wire.record(wire.STDIN, 1, b"x" * 50_000)
        now = wire.record(wire.STDIN, 3, b"x" * 15_000)
        for _ in range(20):
            sock.sendall(late + now)
        assert read_answer(sock, 3).body == b"300000 of 300000"
        go_on.set()
        assert read_answer(sock, 1).body == b"1000000 of 1000000"
    assert os.listdir(tmp_path) == [os.path.basename(loop.path)]


def test_42_filter_reads_its_file_as_it_comes(serve):
    def application(request):
        if request.role == RESPONDER:
            return b"no filter"
        first = request.data.read1()
        return 200, [], iter([request.body.read(), first, request.data.read(), b"%d" % request.data_received])

    loop = serve(application, roles=(FILTER, RESPONDER))
    with loop.connect() as sock:
        head = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "FCGI_DATA_LENGTH": "9"}
        sock.sendall(wire.begin(role=FILTER) + wire.params(1, head) + wire.stdin(1, b"body"))
        sock.sendall(wire.record(wire.DATA, 1, b"some"))
        sock.sendall(wire.record(wire.DATA, 1, b"thing") + wire.record(wire.DATA, 1))
        assert read_answer(sock).body == b"bodysomething9"


def test_bytes_that_are_no_fastcgi_in_the_middle_of_a_body(serve):
    seen = []
    begun = threading.Event()
    done = threading.Event()

    def application(request):
        begun.set()
        try:
            return request.body.read()
        except BodyError as error:
            seen.append(type(error))
            done.set()
            raise

    loop = serve(application)
    with loop.connect() as sock:
        sock.sendall(post(1, 100) + wire.record(wire.STDIN, 1, b"some"))
        assert begun.wait(20)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert is_closed(sock)
    assert done.wait(20)
    assert seen == [ClientGone]
    assert any("does not speak FastCGI" in text for text in loop.said)
    assert loop.ask().status == 200


def test_what_interrupts_the_reading_of_records_ends_their_connection(twin, serve, monkeypatch):
    """A time-out may be raised anywhere: what was left of the bytes must not be taken for the next record."""
    begun = threading.Event()

    def interrupt(_directory):
        raise RequestTimeout("now")

    def application(request):
        if request.content_length == 0:
            return b"other"
        begun.set()
        return request.body.read1()

    loop = serve(application, limits=Limits(body_memory=10))
    monkeypatch.setattr(twin.stream, "open_unnamed", interrupt)
    with loop.connect() as sock:
        sock.sendall(post(1, 100))
        assert begun.wait(20)
        sock.sendall(wire.record(wire.STDIN, 1, b"x" * 50) + wire.request(3))
        assert is_closed(sock)
    assert loop.ask().body == b"other"


def test_async_application_reads_its_body_as_it_comes(serve):
    """While it waits the worker serves others."""

    async def application(request):
        if request.content_length == 0:
            return b"other"
        return b"|".join([chunk async for chunk in request.stream()])

    loop = serve(application)
    with loop.connect(timeout=20) as slow, loop.connect(timeout=20) as other:
        slow.sendall(post(1, 9) + wire.record(wire.STDIN, 1, b"some"))
        for _ in range(3):
            other.sendall(wire.request())
            assert read_answer(other).body == b"other"
        slow.sendall(wire.stdin(1, b"thing"))
        assert read_answer(slow).body.replace(b"|", b"") == b"something"


def test_53_abort_in_the_middle_of_a_plain_read_in_a_coroutine(serve):
    """The read ends with the request: the worker is free again, and the connection."""
    seen = []
    begun = threading.Event()

    async def application(request):
        if request.content_length == 0:
            return b"other"
        begun.set()
        try:
            return request.body.read()
        except BodyError as error:
            seen.append(type(error))
            raise

    loop = serve(application)
    with loop.connect(timeout=20) as sock:
        sock.sendall(post(1, 100) + wire.record(wire.STDIN, 1, b"some"))
        assert begun.wait(20)
        sock.sendall(wire.record(wire.ABORT, 1) + wire.request(3))
        assert read_answer(sock, 3).body == b"other"
    assert seen == [ClientGone]
    assert loop.said == []


def test_stream_of_a_body_that_came_whole(twin, tmp_path):
    async def application(request):
        return b"".join([chunk async for chunk in request.stream()])

    with LoopThread(twin, application, tmp_path) as loop:
        assert loop.ask(b"whole").body == b"whole"


@pytest.mark.parametrize("interface", ["native", "wsgi"])
def test_application_of_the_framework_reads_a_body_whose_length_nobody_knows(twin, tmp_path, interface):
    """As a chunked upload comes through Apache: without CONTENT_LENGTH, in pieces."""
    app = App(
        [
            ("/length$", lambda request: f"{len(request.data)}"),
            ("/form$", lambda request: request.form["b"]),
            ("/rpc$", Proxy([len])),
        ],
        limits=AppLimits(body_bytes=100_000),
    )
    application = app if interface == "native" else twin.wsgi.WSGIAdapter(app)

    def ask(loop, path, body, kind=""):
        parameters = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_TYPE": kind, "HTTP_HOST": "localhost"}
        with loop.connect() as sock:
            sock.sendall(wire.begin(1) + wire.params(1, parameters) + wire.stdin(1, body[:5], chunk=3)[:-8])
            sock.sendall(wire.stdin(1, body[5:], chunk=10_000))
            return read_answer(sock)

    with LoopThread(twin, application, tmp_path, stream_body=True) as loop:
        assert ask(loop, "/length", bytes(100_000)).body == b"100000"
        assert ask(loop, "/length", bytes(100_001)).status == 413
        assert ask(loop, "/form", b"a=1&b=two", "application/x-www-form-urlencoded").body == b"two"
        call = b'{"jsonrpc": "2.0", "id": 1, "method": "len", "params": ["four"]}'
        assert b'"result":4' in ask(loop, "/rpc", call, "application/json").body
