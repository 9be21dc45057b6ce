"""WSGI (PEP 3333) on the native interface: a WSGI application becomes a native one. No FastCGI here.

The head is given away with the first piece of body that is not empty; until then start_response(exc_info=…) may replace
it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from fastcore.constants import FILTER
from fastcore.errors import ResponseError

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from typing import IO, Any

    StartResponse = Callable[..., Callable[[bytes], object]]
    WSGIApplication = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

WRITE_MEMORY = 256 * 1024  # bytes given to write() that stay in memory
BLOCK_SIZE = 65536  # bytes read from a file at once


class FileWrapper:
    """`wsgi.file_wrapper`: a file-like object as an iterator of blocks; closes it."""

    def __init__(self, filelike: Any, block_size: int = BLOCK_SIZE) -> None:
        self.filelike = filelike
        self.block_size = block_size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.filelike.read(self.block_size):
            yield block

    def close(self) -> None:
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()


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

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
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

    def take_written(self) -> Iterator[bytes]:
        """What write() was given, in blocks."""
        if self.written is not None:
            self.written.seek(0)
            yield from iter(lambda: self.written.read(BLOCK_SIZE), b"")  # type: ignore[union-attr]
            self.written.close()


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
        environ["wsgi.errors"] = ErrorStream(request)
        environ["wsgi.multithread"] = False
        environ["wsgi.multiprocess"] = self._multiprocess
        environ["wsgi.run_once"] = False
        environ["wsgi.file_wrapper"] = FileWrapper
        if request.role == FILTER:
            environ["fastcore.data"] = request.data
        return environ

    def __call__(self, request: Any) -> Response:
        response = Response()
        result = self._application(self.environ(request), response.start)
        try:
            self._take(response, result)
        except BaseException:
            getattr(result, "close", _nothing)()
            raise
        response.committed = True
        return response

    def _take(self, response: Response, result: Iterable[bytes]) -> None:
        """Find out the head: it is settled when there is a first piece of body, or none will come."""
        if type(result) in (list, tuple) and response.written is None:
            _require_started(response)
            response.body = result
            return
        iterator = iter(result)
        first = next((piece for piece in iterator if piece), None)
        _require_started(response)
        pieces = response.take_written() if response.written is not None else iter(())
        if first is not None:
            pieces = itertools.chain(pieces, (first,), iterator)
        response.body = _Body(pieces, result)


def _require_started(response: Response) -> None:
    if not response.status:
        raise ResponseError("the application returned without calling start_response()")
