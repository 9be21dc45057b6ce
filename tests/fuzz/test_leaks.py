"""Requests of every kind, over and over: memory, descriptors and Python's objects of the server stay as they were.

FASTCORE_LEAK_REQUESTS=1000000 (`make soak-fastcore`) is the long form; the pure twin gets a tenth.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import wire
from fcgi_server import Server, read_answer, read_records, read_to_end

REQUESTS = int(os.environ.get("FASTCORE_LEAK_REQUESTS", "6000"))
LIMITS = ("body_memory=2000", "requests_per_connection=8", "params_bytes=5000", "body=100000", "output_buffer=65536")
LARGEST_GROWTH = 2 << 20  # bytes of resident memory after the first quarter, however many requests follow
SANITIZED = "asan" in os.environ.get("LD_PRELOAD", "")  # make sanitize: what is freed is held back for a while
POST = {"REQUEST_METHOD": "POST", "PATH_INFO": "/echo"}

Kind = Callable[[Server], int]


def read_ends(sock: socket.socket, count: int) -> None:
    """Read until so many requests have ended."""
    data = b""
    while count:
        part = sock.recv(1 << 20)
        assert part, "closed before the end of an answer"
        data += part
        start = 0
        while len(data) >= start + 8:
            end = start + 8 + int.from_bytes(data[start + 4 : start + 6], "big") + data[start + 6]
            if len(data) < end:
                break
            count -= data[start + 1] == wire.END
            start = end
        data = data[start:]


def several(server: Server, *requests: bytes) -> int:
    """Requests sent at once on one connection; all are answered."""
    with server.connect() as sock:
        sock.sendall(b"".join(requests))
        read_ends(sock, len(requests))
    return len(requests)


def asks(*paths: str, **parameters: str) -> Kind:
    def ask(server: Server) -> int:
        numbered = ((number, *path.partition("?")[::2]) for number, path in enumerate(paths, 1))
        requests = [wire.request(n, PATH_INFO=path, QUERY_STRING=query, **parameters) for n, path, query in numbered]
        return several(server, *requests)

    return ask


def breaks(*paths: str) -> Kind:
    """Answers that are not whole: each ends its connection, or shows in END_REQUEST where another request is active."""

    def ask(server: Server) -> int:
        for path in paths:
            request = wire.request(PATH_INFO=path)
            with server.connect() as sock:
                sock.sendall(request)
                read_to_end(sock)
            with server.connect() as sock:
                sock.sendall(wire.begin(2) + wire.params(2, {**POST, "CONTENT_LENGTH": "1"}) + request)
                read_ends(sock, 1)
                sock.sendall(wire.stdin(2, b"x"))
                read_ends(sock, 1)
        return 3 * len(paths)

    return ask


def kept(server: Server) -> int:
    """One after another on one connection, then closed by the server."""
    with server.connect() as sock:
        for number in range(20):
            sock.sendall(wire.request(1, b"x" * number, PATH_INFO="/echo"))
            assert read_answer(sock).status == 200
        sock.sendall(wire.request(flags=0, PATH_INFO="/hello"))
        assert wire.answer(read_to_end(sock)).status == 200
    return 21


def bodies(server: Server) -> int:
    """In memory, in a temporary file, of undeclared length, too short, too long; not read at all."""
    large = b"y" * 90_000
    undeclared = wire.begin(3) + wire.params(3, POST) + wire.stdin(3, b"chunked" * 500)
    short = wire.begin(4) + wire.params(4, {**POST, "CONTENT_LENGTH": "9"}) + wire.stdin(4, b"short")
    long = wire.begin(5) + wire.params(5, {**POST, "CONTENT_LENGTH": "4"}) + wire.stdin(5, b"too long")
    unread = wire.request(6, large, PATH_INFO="/hello")
    requests = wire.request(1, b"x" * 1500, PATH_INFO="/echo"), wire.request(2, large, PATH_INFO="/echo")
    return several(server, *requests, undeclared, short, long, unread)


def refused(server: Server) -> int:
    """400, 413, 431, and another role."""

    def post(number: int, length: str, body: bytes) -> bytes:
        return wire.begin(number) + wire.params(number, {**POST, "CONTENT_LENGTH": length}) + wire.stdin(number, body)

    many = {f"NAME_{number}": "" for number in range(1001)}
    return several(
        server,
        post(1, "-1", b"x"),
        post(2, "100001", b"x" * 2000),
        wire.request(3, X="x" * 6000),
        wire.begin(4) + wire.params(4, many) + wire.stdin(4),
        wire.begin(5) + wire.params(5, POST) + wire.stdin(5, bytes(100_001)),
        wire.begin(6, role=9) + wire.params(6) + wire.stdin(6),
    )


def overloaded(server: Server) -> int:
    begun = [wire.begin(number) + wire.params(number, {**POST, "CONTENT_LENGTH": "1"}) for number in range(1, 9)]
    with server.connect() as sock:
        sock.sendall(b"".join(begun) + wire.request(9))
        assert read_records(sock, 1)[0][:2] == (wire.END, 9)
        sock.sendall(b"".join(wire.stdin(number, b"x") for number in range(1, 9)))
        read_ends(sock, 8)
    return 9


def management(server: Server) -> int:
    with server.connect() as sock:
        values = wire.record(wire.GET_VALUES, 0, wire.pairs([("FCGI_MAX_CONNS", ""), ("X", "")]))
        sock.sendall(
            values + wire.record(99, 0, b"x" * 9) + wire.record(wire.ABORT, 7) + wire.request(PATH_INFO="/hello")
        )
        read_ends(sock, 1)
    return 1


def roles(server: Server) -> int:
    """An authorizer and a filter, both served, and a filter that is refused while its file comes."""
    asked = {"PATH_INFO": "/authorize", "REMOTE_USER": "alice"}
    file = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/filter", "FCGI_DATA_LENGTH": "3000"}
    data = wire.record(wire.DATA, 2, bytes(3000)) + wire.record(wire.DATA, 2)
    bad = wire.begin(3, role=3) + wire.params(3, {**file, "FCGI_DATA_LENGTH": "x"}) + wire.stdin(3, b"body")
    return several(
        server,
        wire.begin(1, role=2) + wire.params(1, asked),
        wire.begin(2, role=3) + wire.params(2, file) + wire.stdin(2, b"body") + data,
        bad + data.replace(b"\0\2", b"\0\3"),
    )


def aborted(server: Server) -> int:
    """While the parameters come, while the body comes, while the answer is made."""
    abort = wire.record(wire.ABORT, 1)
    count = 0
    for begun in (
        wire.begin() + wire.record(wire.PARAMS, 1, b"\1\1Ab"),
        wire.begin() + wire.params(1, {**POST, "CONTENT_LENGTH": "9000"}) + wire.record(wire.STDIN, 1, b"x" * 3000),
        wire.request(PATH_INFO="/many", QUERY_STRING="100,20000"),
    ):
        with server.connect() as sock:
            sock.sendall(begun + abort + wire.request(2, PATH_INFO="/hello"))
            read_answer(sock, 2)
        count += 2
    return count


def left(server: Server) -> int:
    """The client goes, or says that nothing follows, at every stage."""
    request = wire.request(1, b"x" * 3000, PATH_INFO="/echo")
    streams = wire.request(PATH_INFO="/many", QUERY_STRING="100,20000")
    for data in (b"", request[:4], request[:12], request[:60], request[:-3000], request[:-5], streams):
        with server.connect() as sock:
            sock.sendall(data)
        with server.connect() as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            read_to_end(sock)
    return 14


def malformed(server: Server) -> int:
    for data in (
        wire.record(wire.BEGIN, 1, bytes(8), version=9),
        b"GET / HTTP/1.1\r\n\r\n",
        wire.begin() + wire.record(wire.PARAMS, 1, b"\x7f") + wire.record(wire.PARAMS, 1),
        wire.begin() + wire.stdin(1, b"x"),
        wire.begin() + wire.begin(),
        wire.request(PATH_INFO="/many", QUERY_STRING="100,20000") + wire.record(wire.STDIN, 0, b"x"),
    ):
        with server.connect() as sock, suppress(ConnectionResetError):
            sock.sendall(data)
            read_to_end(sock)
    return 6


def wsgi_input(server: Server) -> int:
    return several(server, *(wire.request(n, b"one\ntwo\n" * 10**n, PATH_INFO="/input") for n in range(1, 5)))


def cancelled(server: Server) -> int:
    """Coroutines that wait: aborted, and left by their client."""
    for path, query in (("/async", "wait"), ("/async-stream", "3,10,1"), ("/async-stream", "100,20000")):
        request = wire.request(PATH_INFO=path, QUERY_STRING=query)
        with server.connect() as sock:
            sock.sendall(request + wire.record(wire.ABORT, 1) + wire.request(2, PATH_INFO="/hello"))
            read_ends(sock, 2)
        with server.connect() as sock:
            sock.sendall(request + wire.request(2, PATH_INFO="/hello"))
            sock.recv(100)
    return 9


COMMON = (kept, overloaded, management, roles, aborted, left, malformed, refused)
KINDS: dict[str, tuple[Kind, ...]] = {
    "native": (
        *COMMON,
        bodies,
        asks("/hello", "/bytes", "/environ?a=b", "/cookies", "/status?204", "/status?304", "/empty", "/big?70000"),
        asks("/hello", "/many?3,10", "/status?204", "/boom", "/x", REQUEST_METHOD="HEAD"),
        asks("/boom", "/exit", "/early", "/bad-header", "/bad-status", "/bad-body", "/nothing", "/mismatch"),
        asks("/over", "/errors", "/many?20,5000", "/many?3,100000"),
        breaks("/late", "/bad-chunk", "/short"),
    ),
    "async": (
        *COMMON,
        cancelled,
        asks("/async", "/async?fail", "/async-stream?3,10", "/async-stream?20,5000", "/hello", "/async-stream?0,0"),
        asks("/async", "/async-stream?3,10", "/hello", REQUEST_METHOD="HEAD"),
    ),
    "wsgi": (
        *COMMON,
        wsgi_input,
        asks("/", "/write", "/replace", "/lazy", "/errors", "/keys", "/chunks", f"/file?{Path(__file__)}"),
        asks("/twice", "/never", "/", "/file?/dev/null", "/file?/no/such/file"),
        breaks("/replace-while-iterating"),
        asks("/", "/write", "/lazy", "/errors", "/chunks", REQUEST_METHOD="HEAD"),
    ),
}


def resident(server: Server) -> int:
    with open(f"/proc/{server.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def objects(server: Server) -> list[int]:
    """Objects that Python's collector knows, and memory blocks that are in use."""
    return [int(word) for word in server.ask(PATH_INFO="/objects").body.split()]


def cycle(kinds: tuple[Kind, ...], server: Server, count: int) -> Iterator[int]:
    done = 0
    for kind in itertools.cycle(kinds):
        done += kind(server)
        if done >= count:
            return
        yield done


@pytest.mark.timeout(max(300, REQUESTS // 50))
@pytest.mark.parametrize("application", KINDS)
def test_requests_of_every_kind_leave_nothing(tmp_path, twin, twin_environment, application):
    count = (REQUESTS if twin.name == "compiled" else REQUESTS // 10) // len(KINDS)
    options = [word for limit in LIMITS for word in ("--limit", limit)]
    options += ["--role", "responder,authorizer,filter"]
    server = Server(tmp_path, twin_environment, "wsgi" if application == "wsgi" else "native", *options)
    server.log_path = Path(os.devnull)
    kinds = KINDS[application]
    with server:
        server.settle()
        if application == "async":
            server.ask(PATH_INFO="/async")  # starts the event loop, which has descriptors
        descriptors = server.descriptors()
        for kind in kinds * 3:
            kind(server)
        server.wait_for(lambda: server.descriptors() == descriptors, f"{descriptors} open descriptors")
        started = objects(server)
        memory = 0
        for done in cycle(kinds, server, count):
            if not memory and done >= count // 4:
                memory = resident(server)
        server.wait_for(lambda: server.descriptors() == descriptors, f"{descriptors} open descriptors")
        grown = resident(server) - memory
        more = [now - before for before, now in zip(started, objects(server), strict=True)]
        print(
            f"{twin.name} {application}: {count} requests, {grown >> 10} KiB, {more[0]} objects, {more[1]} blocks more"
        )
        assert grown < LARGEST_GROWTH or SANITIZED
        assert more[0] < 100, "objects"
        assert more[1] < 2000, "blocks of memory"
