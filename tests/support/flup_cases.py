"""A WSGI application of many small cases, served by flup itself and by fastcore.flup, and the program that serves it.

    python flup_cases.py LIBRARY KIND OPTIONS

LIBRARY is `flup` or `fastcore.flup`, KIND `fcgi`, `fcgi_fork` or `fcgi_single`, OPTIONS a Python dictionary. What run()
returned is the last line of standard output.
"""

from __future__ import annotations

import ast
import os
import sys
import time
from importlib import import_module

TEXT = [("Content-Type", "text/plain")]
TOLD = ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL")


def application(environ, start_response):
    case = environ.get("HTTP_CASE", "hello")
    return CASES[case](environ, start_response)


def hello(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"hello"]


def chunks(environ, start_response):
    start_response("200 Fine", TEXT)
    return (b"%d" % number for number in range(3))


def several(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"one", b"", b"two"]


def empty(environ, start_response):
    start_response("204 No Content", [("X-Empty", "yes")])
    return []


def redirect(environ, start_response):
    start_response("302 Found", [("Location", "/elsewhere"), ("Content-Length", "0")])
    return [b""]


def write(environ, start_response):
    give = start_response("200 OK", TEXT)
    give(b"written ")
    give("as text ")
    return [b"returned"]


def text(environ, start_response):
    start_response("200 OK", TEXT)
    return ["t\xe9xt"]


def texts(environ, start_response):
    start_response("200 OK", TEXT)
    yield "t\xe9xt "
    yield b"and bytes"


def bytes_head(environ, start_response):
    start_response(b"404 Not here", [(b"Content-Type", b"text/plain"), ("X-Mixed", b"yes")])
    return [b"gone"]


def cookies(environ, start_response):
    start_response("200 OK", [*TEXT, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Latin", "\xe9")])
    return [b"two cookies"]


def echo(environ, start_response):
    start_response("200 OK", TEXT)
    return [environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))]


def lines(environ, start_response):
    start_response("200 OK", TEXT)
    stream = environ["wsgi.input"]
    return [repr((stream.readline(), stream.read(2), stream.readlines())).encode()]


def told(environ, start_response):
    start_response("200 OK", TEXT)
    return [repr([(name, environ.get(name)) for name in TOLD]).encode("latin-1")]


def extra(environ, start_response):
    start_response("200 OK", TEXT)
    return [repr([environ.get(name) for name in ("EXTRA", "wsgi.url_scheme", "wsgi.run_once")]).encode()]


def late(environ, start_response):
    start_response("201 Created", TEXT)
    yield b""
    yield b"late"


def boom(environ, start_response):
    raise RuntimeError("inner <text>")


def boom_later(environ, start_response):
    start_response("200 OK", TEXT)
    raise RuntimeError("inner <text>")
    yield b""


def boom_midway(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"so far "
    raise RuntimeError("inner <text>")


def replaced(environ, start_response):
    try:
        start_response("200 OK", TEXT)
        raise RuntimeError("inner <text>")
    except RuntimeError:
        start_response("503 Replaced", TEXT, sys.exc_info())
    return [b"replaced"]


def big(environ, start_response):
    start_response("200 OK", TEXT)
    return (b"x" * 100_000 for _ in range(20))


def complain(environ, start_response):
    environ["wsgi.errors"].write("a complaint\n")
    start_response("200 OK", TEXT)
    return [b"complained"]


def pid(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"%d %d" % (os.getpid(), os.getppid())]


def slow(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun "
    time.sleep(float(environ["HTTP_SECONDS"]))
    yield b"ended"


def busy(environ, start_response):
    start_response("200 OK", TEXT)
    end = time.monotonic() + float(environ["HTTP_SECONDS"])
    while time.monotonic() < end:
        pass
    return [b"ended"]


def printing(environ, start_response):
    print("printed by the application")
    start_response("200 OK", TEXT)
    return [b"printed"]


def injecting(environ, start_response):
    start_response("200 OK", [("X-Header", "value\r\nX-Injected: yes")])
    return [b"injected"]


def proxy(environ, start_response):
    start_response("200 OK", TEXT)
    return [repr(environ.get("HTTP_PROXY")).encode()]


def validated(environ, start_response):
    from wsgiref.validate import validator

    return validator(hello)(environ, start_response)


CASES = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and name not in ("application", "import_module") and not name.startswith("_")
}


if __name__ == "__main__":
    library, kind, options = sys.argv[1:4]
    server_class = import_module(f"{library}.server.{kind}").WSGIServer
    print(server_class(application, **ast.literal_eval(options)).run(), flush=True)
