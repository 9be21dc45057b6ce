"""The WSGI application that stands between fastcore and one written for flup: what flup does to requests and answers.

It adds the server's `environ`, fills in PATH_INFO and QUERY_STRING where the front end did not, takes text where WSGI
wants bytes, reports exceptions to the front end's error log, and limits the time an application runs. No sockets here.
"""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import unquote_to_bytes

_FAILURES = (Exception, SystemExit)
_OURS = frozenset(
    ("wsgi.version", "wsgi.input", "wsgi.errors", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once")
)


class TimeoutException(Exception):
    """Raised in an application that ran longer than the server's `timeout` for one request."""


class Gateway:
    """`application` as flup would call it.

    Args:
        server: has `application`, `environ` (a mapping), `error(request)` and `answers_errors`.
        timeout: seconds for one request; 0 for no limit.
        tee_errors: what is written to `wsgi.errors` goes to standard error as well.
        report_failures: write the traceback of an exception to `wsgi.errors`.
    """

    def __init__(
        self, server: Any, *, timeout: float = 0, tee_errors: bool = False, report_failures: bool = True
    ) -> None:
        self.server = server
        self._timeout = timeout
        self._tee_errors = tee_errors
        self._report_failures = report_failures

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        server = self.server
        errors = environ["wsgi.errors"]
        if self._tee_errors and sys.stderr is not None:
            environ["wsgi.errors"] = TeeErrors(sys.stderr, errors)
        if server.environ:
            _add(environ, server.environ)
        _repair(environ)
        limit = TimeLimit(self._timeout) if self._timeout else None
        return _Call(server, environ, errors if self._report_failures else None, start_response, limit).start()


def _add(environ: dict[str, Any], extra: Mapping[str, Any]) -> None:
    environ.update((name, extra[name]) for name in extra.keys() if name not in _OURS)  # noqa: SIM118 (dictionary-like)
    environ["wsgi.url_scheme"] = "https" if str(environ.get("HTTPS", "off")).lower() in ("on", "1") else "http"


def _repair(environ: dict[str, Any]) -> None:
    """PATH_INFO and QUERY_STRING from REQUEST_URI where the front end gave none (nginx gives no PATH_INFO unasked)."""
    if environ.get("PATH_INFO") and environ.get("QUERY_STRING"):
        return
    path, _, query = environ.get("REQUEST_URI", "").partition("?")
    if not environ.get("QUERY_STRING"):
        environ["QUERY_STRING"] = query
    if path and not environ.get("PATH_INFO"):
        if "://" in path and not path.startswith("/"):  # a proxy's request names the host too (RFC 9112 §3.2.2)
            path = "/" + path.partition("://")[2].partition("/")[2]
        path = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
        prefix = environ.get("SCRIPT_NAME", "")
        if path.startswith(prefix):
            environ["PATH_INFO"] = path[len(prefix) :]
        else:
            environ["wsgi.errors"].write(f"SCRIPT_NAME {prefix!r} does not begin REQUEST_URI {path!r}\n")


class _Call:
    """One request: the application's answer as an iterator, with its failures taken care of."""

    def __init__(
        self, server: Any, environ: dict[str, Any], errors: Any, start_response: Any, limit: TimeLimit | None
    ) -> None:
        self._server = server
        self._environ = environ
        self._errors = errors
        self._start_response = start_response
        self._limit = limit
        self._write: Any = None
        self._wrote = False  # so that the head has gone, or is about to
        self._result: Any = None
        self._pieces: Iterator[Any] = iter(())
        self._failed = False

    def start(self) -> Iterable[bytes]:
        try:
            if self._limit is None:
                result = self._server.application(self._environ, self.start_response)
            else:
                with self._limit:
                    result = self._server.application(self._environ, self.start_response)
            kind = type(result)
            if kind is list and len(result) == 1:
                piece = result[0]
                return result if type(piece) is bytes else [_to_bytes(piece)]
            if kind is self._environ.get("wsgi.file_wrapper"):
                return result  # type: ignore[no-any-return]
            self._result = result
            self._pieces = iter(result)
        except _FAILURES:
            try:
                self._fail()
            except BaseException:
                self.close()
                raise
        return self

    def start_response(self, status: Any, headers: Any, exc_info: Any = None) -> Any:
        """`start_response` of PEP 3333, which also takes bytes, as flup's does."""
        if type(status) is bytes:
            status = status.decode("latin-1")
        for name, value in headers:
            if type(name) is bytes or type(value) is bytes:
                headers = [(_to_text(name), _to_text(value)) for name, value in headers]
                break
        if exc_info is None:
            self._write = self._start_response(status, headers)
        else:
            self._write = self._start_response(status, headers, exc_info)
        return self.write

    def write(self, data: Any) -> None:
        self._wrote = True
        self._write(_to_bytes(data))

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._limit is None or self._failed:
                piece = next(self._pieces)
            else:
                with self._limit:
                    piece = next(self._pieces)
            if type(piece) is not bytes:
                piece = _to_bytes(piece)
            if piece:
                self._wrote = True
            return piece
        except StopIteration:
            raise
        except _FAILURES:
            if self._failed:
                raise
            self._fail()
            return next(self._pieces, b"")

    def close(self) -> None:
        close = getattr(self._result, "close", None)
        if close is not None:
            close()

    def _fail(self) -> None:
        """The exception being handled goes to the front end's log and, where the server answers it, to the client.

        It is raised again where it does not, or where the head has gone: then fastcore has the last word.
        """
        self._failed = True
        if self._errors is not None:
            self._errors.write(format_failure())
        if self._wrote or not self._server.answers_errors:
            raise
        page = FailedRequest(self._server, self._environ)
        self._server.error(page)
        status, headers, body = page.answer()
        self._start_response(status, headers, sys.exc_info())
        self._pieces = iter((body,))


def format_failure() -> str:
    """The traceback of the exception being handled, from the application's first line on."""
    import traceback

    kind, error, trace = sys.exc_info()
    return "".join(traceback.format_exception(kind, error, trace and (trace.tb_next or trace)))


def _to_bytes(piece: Any) -> bytes:
    if isinstance(piece, str):
        return piece.encode("latin-1")
    if type(piece) is not bytes:
        raise TypeError(f"a body is made of bytes, not {type(piece).__name__}")
    return piece


def _to_text(value: Any) -> Any:
    return value.decode("latin-1") if type(value) is bytes else value


class _Output(io.BytesIO):
    """Takes CGI output as bytes or as text."""

    def write(self, data: Any) -> int:
        return super().write(_to_bytes(data))


class FailedRequest:
    """What `error(request)` gets: `params` (the environment), `stderr`, and `stdout` for an answer in CGI's form.

    Example: ``request.stdout.write(b"Status: 503 Later\\r\\nContent-Type: text/plain\\r\\n\\r\\nTry again later.")``
    """

    def __init__(self, server: Any, environ: dict[str, Any]) -> None:
        self.server = server
        self.params = environ
        self.stdin = environ["wsgi.input"]
        self.stderr = environ["wsgi.errors"]
        self.stdout = _Output()

    def answer(self) -> tuple[str, list[tuple[str, str]], bytes]:
        """Status, headers and body of what was written. Raises ValueError where that is no CGI answer."""
        output = self.stdout.getvalue()
        head, separator, body = output.partition(b"\r\n\r\n")
        if not separator:
            head, separator, body = output.partition(b"\n\n")
        if not separator:
            raise ValueError("error() wrote no CGI answer: headers, an empty line, a body")
        status, headers = "500 Internal Server Error", []
        for line in head.decode("latin-1").splitlines():
            name, colon, value = line.partition(":")
            if not colon:
                raise ValueError(f"error() wrote {line!r}, which is no header")
            if name.lower() == "status":
                status = value.strip()
            else:
                headers.append((name, value.strip()))
        return status, headers, body


class TeeErrors:
    """`wsgi.errors` that goes to two streams."""

    def __init__(self, first: Any, second: Any) -> None:
        self._streams = (first, second)

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()


class TimeLimit:
    """Raises TimeoutException in the code of its `with` blocks when they have run `seconds` together.

    In the main thread only, by SIGALRM. Time between the blocks, in which a slow reader is waited for, is not counted.
    """

    _running: TimeLimit | None = None

    def __init__(self, seconds: float) -> None:
        self._left = float(seconds)
        self._seconds = seconds

    def __enter__(self) -> None:
        if signal.getsignal(signal.SIGALRM) is not _on_alarm:
            signal.signal(signal.SIGALRM, _on_alarm)
        TimeLimit._running = self
        signal.setitimer(signal.ITIMER_REAL, max(self._left, 0.001))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        TimeLimit._running = None
        self._left = signal.setitimer(signal.ITIMER_REAL, 0)[0]

    def expire(self) -> None:
        """Raise in the running block."""
        TimeLimit._running = None
        raise TimeoutException(f"the application ran longer than {self._seconds:g} s for one request")


def _on_alarm(*_: object) -> None:
    running = TimeLimit._running
    if running is not None:
        running.expire()
