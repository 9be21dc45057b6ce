"""Applications that the server tests run: what they do is chosen by the path."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from wsgiref.validate import validator

STATE = {"requests": 0}


class Chunks:
    """A body that writes down in a file that it was closed, and how often."""

    def __init__(self, count: int, size: int, path: str, pause: float = 0.0) -> None:
        self.count, self.size, self.path, self.pause = count, size, path, pause

    def __iter__(self):
        for number in range(self.count):
            if self.pause:
                time.sleep(self.pause)
            yield b"%d" % (number % 10) * self.size

    def close(self) -> None:
        if self.path:
            with open(self.path, "a") as file:
                file.write("closed\n")


def native(request):
    """The native application of the tests."""
    STATE["requests"] += 1
    path = request.get("PATH_INFO", "/")
    query = request.get("QUERY_STRING", "")
    text = [("Content-Type", "text/plain")]
    match path:
        case "/hello":
            return 200, text, b"hello"
        case "/bytes":
            return b"<b>bare bytes</b>"
        case "/echo":
            return 200, text, request.body.read()
        case "/length":
            return 200, text, b"%d %d" % (request.content_length, len(request.body.read()))
        case "/environ":
            return 200, text, repr(sorted(request.environ.items())).encode()
        case "/pid":
            return 200, text, b"%d" % os.getpid()
        case "/boom":
            raise RuntimeError("secret inner text")
        case "/exit":
            sys.exit(3)
        case "/die":
            os._exit(9)
        case "/exit-0":
            os._exit(0)
        case "/stuck":
            tell_signals(query)
            time.sleep(1000)
        case "/stuck-body":
            return 200, text, stuck_body(query)
        case "/spin":
            tell_signals(query)
            while True:
                pass
        case "/stubborn":
            tell_signals(query)
            while True:
                with suppress(BaseException):
                    time.sleep(1000)
        case "/deaf":
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            Path(query).touch()
            time.sleep(1000)
        case "/ticking":
            signal.signal(signal.SIGALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            return 200, text, b"ticking"
        case "/errors":
            request.write_error("first complaint\n")
            return 200, text, b"complained"
        case "/complain":
            for _ in range(int(query) // 1000):
                request.write_error("x" * 999 + "\n")
            return 200, text, b"complained"
        case "/many":
            count, size, *rest = query.split(",")
            return 200, text, Chunks(int(count), int(size), rest[0] if rest else "")
        case "/slow":
            count, pause, *rest = query.split(",")
            return 200, text, Chunks(int(count), 1, rest[0] if rest else "", float(pause))
        case "/held":
            return 200, text, held(query)
        case "/events":
            return 200, [("Content-Type", "text/event-stream")], events(query)
        case "/cookies":
            return 200, [*text, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], b"two"
        case "/late":
            return 200, text, late()
        case "/late-big":
            return 200, text, late(size=500_000)
        case "/late-gate":
            return 200, text, late(query)
        case "/early":
            return 200, text, early()
        case "/big":
            return 200, text, bytes(int(query))
        case "/short":
            return 200, [("Content-Length", "10")], iter([b"four"])
        case "/over":
            return 200, [("Content-Length", "4")], iter([b"fo", b"urteen"])
        case "/mismatch":
            return 200, [("Content-Length", "10")], b"four"
        case "/bad-header":
            return 200, [("X-Evil", "a\r\nSet-Cookie: b")], b""
        case "/header-name":
            return 200, [(query, "value")], b""
        case "/bad-status":
            return "200 OK", [], b""
        case "/bad-body":
            return 200, [], "text"
        case "/bad-chunk":
            return 200, [], iter([b"good", "bad"])
        case "/nothing":
            return None
        case "/empty":
            return 200, text, b""
        case "/status":
            return int(query), [], b"body"
        case "/objects":
            return 200, text, objects()
        case "/async":
            return awaited(query)
        case "/async-stream":
            return 200, text, streamed(query)
        case "/authorize":
            return authorize(request.environ)
        case "/filter":
            return filtered(request.environ, request.body, request.data)
        case _:
            return 404, text, path.encode("latin-1")


async def awaited(query):
    """An answer after a turn of the event loop; `fail` and `wait` are what they say."""
    await asyncio.sleep(3600 if query == "wait" else 0)
    if query == "fail":
        raise RuntimeError("secret inner text")
    return b"awaited"


async def streamed(query):
    """So many pieces of so many bytes, each after a turn of the event loop; with a third number, then no more."""
    count, size, *rest = map(int, query.split(","))
    for _ in range(count):
        await asyncio.sleep(0)
        yield bytes(size)
    if rest:
        await asyncio.sleep(3600)


def objects():
    """How many objects Python's collector knows, and how many blocks of memory are in use."""
    gc.collect()
    return b"%d %d" % (len(gc.get_objects()), sys.getallocatedblocks())


def authorize(environ):
    """Alice may pass; the others are told what the application saw."""
    text = [("Content-Type", "text/plain")]
    if environ.get("REMOTE_USER") == "alice" and environ.get("FCGI_ROLE"):
        return 200, [*text, ("Variable-AUTH_LEVEL", "full")], b""
    return 403, text, f"FCGI_ROLE={environ.get('FCGI_ROLE')}".encode()


def filtered(environ, body, data):
    """What has come, and whether the file is as long as was announced."""
    content = data.read()
    mismatch = "no" if len(content) == int(environ["FCGI_DATA_LENGTH"]) else "yes"
    assert content == b"d" * len(content)
    text = b"%s %s %d" % (environ["FCGI_ROLE"].encode(), body.read(), len(content))
    return 200, [("Content-Type", "text/plain"), ("X-Mismatch", mismatch)], text


def authorizer(request):
    """Lets `user=alice` pass, and alice with the right password; tells the next stage who it is."""
    if "boom" in request.get("REQUEST_URI", ""):
        raise RuntimeError("the authorizer fails")
    if request.get("HTTP_COOKIE") == "user=alice" or request.get("REMOTE_PASSWD") == "opensesame":
        return 200, [("Variable-AUTH_NAME", "alice"), ("Variable-ROLE", str(request.role))], b"thrown away"
    page = b"who are you?"
    return 401, [("Content-Type", "text/plain"), ("WWW-Authenticate", 'Basic realm="test"'), ("X-Own", "1")], page


def events(gate):
    """Two server-sent events; the second is made when the file `gate` is there (or has not come for 15 seconds)."""
    yield b"data: first\n\n"
    for _ in range(1500):
        if os.path.exists(gate):
            break
        time.sleep(0.01)
    yield b"data: second\n\n"


def held(gate):
    """A body that goes on when the file `gate` is there, and leaves the worker to others until then."""
    yield b"held "
    while not os.path.exists(gate):
        time.sleep(0.01)
        yield b""
    yield b"released"


def tell_signals(path):
    """Make the file `path`, and write a word into it for each SIGTERM that has come."""
    handler = signal.getsignal(signal.SIGTERM)

    def on_signal(number, frame):
        with open(path, "a") as file:
            file.write("heard")
        handler(number, frame)

    signal.signal(signal.SIGTERM, on_signal)
    Path(path).touch()


def stuck_body(path):
    """A body whose second piece never comes."""
    yield b"first"
    tell_signals(path)
    time.sleep(1000)


def late(gate="", size=0):
    """A body that fails after its beginning, where a `gate` is named when that file is there."""
    yield b"so far so good" + bytes(size)
    while gate and not os.path.exists(gate):
        time.sleep(0.01)
    raise RuntimeError("secret inner text")


def early():
    """A body that fails before its beginning."""
    raise RuntimeError("secret inner text")
    yield b""


class NativeLook:
    """A WSGI environment, looked at as the native application looks at its request."""

    def __init__(self, environ) -> None:
        self.environ = {name: value for name, value in environ.items() if type(value) is str}
        self.get = self.environ.get
        self.body = environ["wsgi.input"]
        self.content_length = int(self.get("CONTENT_LENGTH") or -1)
        self.write_error = environ["wsgi.errors"].write


def table(environ, start_response):
    """The native application of the tests as a WSGI application, for the cases that are asked of both."""
    answer = native(NativeLook(environ))
    if answer is None:
        return []
    status, headers, body = answer
    start_response(f"{status} {HTTPStatus(status).phrase}", list(headers))
    return [body] if isinstance(body, bytes) else body


def wsgi(environ, start_response):
    """The WSGI application of the tests."""
    path = environ["PATH_INFO"]
    query = environ.get("QUERY_STRING", "")
    headers = [("Content-Type", "text/plain")]
    if path == "/objects":
        start_response("200 OK", headers)
        return [objects()]
    if path == "/write":
        write = start_response("200 OK", headers)
        write(b"written ")
        write(b"first ")
        return [b"returned"]
    if path == "/replace":
        try:
            start_response("200 OK", headers)
            raise RuntimeError("late change of mind")
        except RuntimeError:
            start_response("503 Sorry", headers, sys.exc_info())
        return [b"replaced"]
    if path == "/replace-while-iterating":
        return replace_while_iterating(start_response, headers)
    if path == "/twice":
        start_response("200 OK", headers)
        start_response("200 OK", headers)
        return []
    if path == "/never":
        return []
    if path == "/lazy":
        return lazy(start_response, headers)
    if path == "/file":
        start_response("200 OK", headers)
        return environ["wsgi.file_wrapper"](open(query, "rb"), 1000)
    if path == "/input":
        start_response("200 OK", headers)
        stream = environ["wsgi.input"]
        return [
            stream.read(3),
            b"|",
            stream.readline(),
            b"|",
            stream.readline(4),
            b"|",
            b"".join(stream),
            b"|",
            stream.read(),
        ]
    if path == "/errors":
        environ["wsgi.errors"].write("written\n")
        environ["wsgi.errors"].writelines(["line one\n", "line two\n"])
        environ["wsgi.errors"].flush()
        start_response("200 OK", headers)
        return [b""]
    if path == "/environ":
        start_response("200 OK", headers)
        return [repr(sorted(item for item in environ.items() if isinstance(item[1], str))).encode()]
    if path == "/keys":
        start_response("200 OK", headers)
        shown = {
            key: repr(value)
            for key, value in environ.items()
            if key.startswith("wsgi.") and isinstance(value, (bool, tuple, str))
        }
        return [repr(sorted(shown.items())).encode()]
    if path in ("/authorize", "/filter"):
        is_filter = path == "/filter"
        answer = filtered(environ, environ["wsgi.input"], environ["fastcore.data"]) if is_filter else authorize(environ)
        start_response(f"{answer[0]} Said", answer[1])
        return [answer[2]]
    if path == "/chunks":
        start_response("200 OK", headers)
        return Chunks(3, 5, query)
    start_response("200 OK", [*headers, ("Content-Length", "5")])
    return [b"hello"]


def lazy(start_response, headers):
    """A generator that calls start_response() when it is first advanced, and yields nothing at first."""
    start_response("201 Created", headers)
    yield b""
    yield b"lazily"


def replace_while_iterating(start_response, headers):
    start_response("200 OK", headers)
    try:
        raise RuntimeError("before the first byte")
    except RuntimeError:
        start_response("500 Oops", headers, sys.exc_info())
    yield b"replaced"
    try:
        raise RuntimeError("after the first byte")
    except RuntimeError:
        start_response("500 Too late", headers, sys.exc_info())
    yield b"never seen"


valid = validator(wsgi)
