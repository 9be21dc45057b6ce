"""WSGI (PEP 3333) on the native interface: a WSGI application becomes a native one. No FastCGI here.

The head is given away with the first piece of body that is not empty; until then start_response(exc_info=…) may replace
it: the answer is not `committed`, and the exchange that iterates commits it.
"""

from __future__ import annotations

import itertools

from fastcore.constants import FILTER
from fastcore.errors import ResponseError
from fastcore.files import FileBody, FileWrapper, blocks_of

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import IO, Any

    StartResponse = Callable[..., Callable[[bytes], object]]
    WSGIApplication = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

WRITE_MEMORY = 256 * 1024  # bytes given to write() that stay in memory


class ErrorStream:
    """`wsgi.errors`: text for the front end's error log."""

    def __init__(self, request: Any) -> None:
        self._write = request.write_error

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        self._write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        pass


class Response:
    """What start_response() was told, and the body: the native interface's answer."""

    __slots__ = ("body", "committed", "headers", "reason", "status", "written")

    def __init__(self) -> None:
        self.status = 0
        self.reason = ""
        self.headers: list[tuple[str, str]] = []
        self.body: Any = None
        self.committed = False
        self.written: IO[bytes] | None = None

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        """`start_response` of PEP 3333."""
        if exc_info is not None:
            try:
                if self.committed:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status:
            raise AssertionError("start_response() was called a second time without exc_info (PEP 3333)")
        self.status, self.reason = _parse_status(status)
        self.headers = list(headers)
        return self.write

    def write(self, data: bytes) -> None:
        """The legacy write(): kept in order before what the iterable gives; long output goes to a temporary file."""
        if not isinstance(data, bytes):
            raise TypeError(f"write() takes bytes, not {type(data).__name__}")
        if self.written is None:
            import tempfile

            self.written = tempfile.SpooledTemporaryFile(WRITE_MEMORY)  # noqa: SIM115 (closed after it was sent)
        self.written.write(data)

    def commit(self, first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
        """The head is settled: `first` is to be sent. Returns all pieces, what write() was given before them."""
        _require_started(self)
        self.committed = True
        pieces = itertools.chain((first,), others) if first else others
        return pieces if self.written is None else itertools.chain(self.take_written(), pieces)

    def take_written(self) -> Iterable[bytes]:
        """What write() was given, in blocks."""
        return () if self.written is None else blocks_of(self.written)


class _Body:
    """The application's iterable, its first pieces already taken."""

    __slots__ = ("_iterator", "close")

    def __init__(self, iterator: Iterator[bytes], iterable: Any) -> None:
        self._iterator = iterator
        self.close = getattr(iterable, "close", _nothing)

    def __iter__(self) -> Iterator[bytes]:
        return self._iterator


def _nothing() -> None:
    pass


def _parse_status(status: str) -> tuple[int, str]:
    """``"404 Not Found"`` → (404, "Not Found")."""
    if type(status) is not str:
        raise ResponseError(f"a WSGI status is str, not {type(status).__name__}")
    code, _, reason = status.partition(" ")
    if len(code) != 3 or not (code.isascii() and code.isdigit()):
        raise ResponseError(f"a WSGI status begins with three digits: {status!r}")
    return int(code), reason


class WSGIAdapter:
    """Makes a WSGI application callable as `adapter(request)`.

    `multiprocess` is told to the application as `wsgi.multiprocess`. There are no threads.
    Example: ``WorkerLoop(listener, WSGIAdapter(application))``.
    """

    def __init__(self, application: WSGIApplication, *, multiprocess: bool = False) -> None:
        self._application = application
        self._multiprocess = multiprocess

    def environ(self, request: Any) -> dict[str, Any]:
        """The environment of PEP 3333 for one request; the caller's to keep and change."""
        environ: dict[str, Any] = request.environ.copy()
        environ.setdefault("SCRIPT_NAME", "")
        environ.setdefault("PATH_INFO", "")
        environ.setdefault("REQUEST_METHOD", "GET")
        environ.setdefault("SERVER_NAME", "localhost")
        environ.setdefault("SERVER_PORT", "80")
        environ.setdefault("SERVER_PROTOCOL", "HTTP/1.0")
        environ["wsgi.version"] = (1, 0)
        environ["wsgi.url_scheme"] = "https" if environ.get("HTTPS", "off").lower() in ("on", "1") else "http"
        environ["wsgi.input"] = request.body
        environ["wsgi.input_terminated"] = True
        environ["wsgi.errors"] = ErrorStream(request)
        environ["wsgi.multithread"] = False
        environ["wsgi.multiprocess"] = self._multiprocess
        environ["wsgi.run_once"] = False
        environ["wsgi.file_wrapper"] = FileWrapper
        if request.undeclared:
            _declare_length(environ, request)
        if request.role == FILTER:
            environ["fastcore.data"] = request.data
        return environ

    def __call__(self, request: Any) -> Response:
        response = Response()
        result = self._application(self.environ(request), response)
        try:
            if type(result) in _SETTLED and response.written is None:
                _require_started(response)
                response.body = result
                response.committed = True
            else:
                response.body = _Body(iter(result), result)
        except BaseException:
            getattr(result, "close", _nothing)()
            raise
        return response


def _declare_length(environ: dict[str, Any], request: Any) -> None:
    """What has come whole is counted: many applications read no more than CONTENT_LENGTH says."""
    if request.content_length >= 0:
        environ["CONTENT_LENGTH"] = str(request.content_length)
    else:
        environ.pop("CONTENT_LENGTH", None)


_SETTLED = (list, tuple, FileWrapper, FileBody)  # where no code of the application runs any more


def _require_started(response: Response) -> None:
    if not response.status:
        raise ResponseError("the application returned without calling start_response()")
