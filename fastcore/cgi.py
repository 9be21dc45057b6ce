"""One request as plain CGI (RFC 3875): the environment and standard input are the request, standard output the answer.

The same request, WSGI adapter and checks of the answer as over FastCGI, so an application cannot tell more than
`wsgi.run_once`. No FastCGI records here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from fastcore import implementation
from fastcore.constants import RESPONDER
from fastcore.errors import ResponseError
from fastcore.limits import DEFAULT_LIMITS, Limits
from fastcore.log import stderr_log

if TYPE_CHECKING:
    from fastcore.log import Log

_READ_SIZE = 65536  # bytes


def run_cgi(application: Any, *, limits: Limits = DEFAULT_LIMITS, log: Log = stderr_log) -> int:
    """Answer the request that this process was started for; returns 0, or 1 where the answer is not whole.

    Args:
        application: a WSGI application. What it prints goes to standard error: standard output is the answer's.
        limits: `body` and `body_memory` apply.
        log: takes one text without a newline.

    Example: ``sys.exit(run_cgi(application))``
    """
    request = _read_head()
    try:
        refusal = _read_body(request, limits)
        if refusal:
            head, text = implementation.response.error_page(refusal)
            _write(head + text)
            return 0
        with redirect_stdout(sys.stderr):
            return _answer(request, _once(application), log)
    except BrokenPipeError:  # the client has gone
        return 1
    finally:
        request.close()


def _once(application: Any) -> Any:
    """The application as a native one that knows it is called once."""

    def run_once(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["wsgi.run_once"] = True
        body: Iterable[bytes] = application(environ, start_response)
        return body

    return implementation.wsgi.WSGIAdapter(run_once, multiprocess=True)


def _read_head() -> Any:
    pairs = implementation.records.build_pairs(os.environb.items())
    return implementation.request.Request(1, RESPONDER, False, pairs)


def _read_body(request: Any, limits: Limits) -> int:
    """Take the body from standard input; returns the status with which to refuse it, or 0.

    RFC 3875 §4.2: there is one only where CONTENT_LENGTH says so. A front end that hands on a body of unknown length
    says HTTP_TRANSFER_ENCODING or CONTENT_LENGTH=-1, and ends it by the end of the file.
    """
    left: int = request.content_length
    if left == -2:
        return 400
    if left > limits.body:
        return 413
    if left < 0:
        if not (request.get("HTTP_TRANSFER_ENCODING") or request.get("CONTENT_LENGTH")):
            request.finish_body()
            return 0
        left = limits.body + 1
    while left and (data := os.read(0, min(left, _READ_SIZE))):
        left -= len(data)
        request.store_body(data, limits)
    if request.content_length < 0 and not left:
        return 413
    request.finish_body()
    return 0


def _answer(request: Any, application: Any, log: Log) -> int:
    exchange = implementation.exchange.Exchange(request, application, log)
    try:
        exchange.start()
        while not exchange.finished:
            if exchange.waiting:
                _refuse_to_await(exchange)
            chunk = exchange.next_chunk()
            _write(request.take_errors(), fd=2)
            _write(chunk or b"")
    finally:
        if not exchange.finished:
            exchange.close()
    return int(exchange.app_status)


def _refuse_to_await(exchange: Any) -> None:
    try:
        raise ResponseError("an answer that has to be awaited needs a native application, served by fastcore.serve")
    except ResponseError:
        exchange.fail()


def _write(data: bytes, fd: int = 1) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
