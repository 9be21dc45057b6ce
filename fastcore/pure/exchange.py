"""One request being answered: calls the application once and turns what it returns into pieces of CGI output.

The application's iterator is only advanced by next_chunk(), so its reader sets the pace; its close() is called
exactly once. What an application returns to be awaited is awaited by a task elsewhere (fastcore.asynchronous), which
has the turn while the exchange is `waiting`. Nothing that an application raises escapes: it becomes a 500 page or a
failed answer. No records and no sockets here.
"""

from __future__ import annotations

import contextvars
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from fastcore.calltimer import CallTimer
from fastcore.errors import BodyError, RequestTimeout, ResponseError
from fastcore.files import region_of
from fastcore.pure.request import Request
from fastcore.pure.response import build_head, error_page, has_body
from fastcore.pure.sendfile import FILE_CONTENT, PAGE, FileRecord
from fastcore.pure.wsgi import Response

CHUNK = 65535 - 7  # bytes: one record, its length a multiple of eight
WHOLE = 2 * CHUNK  # bytes: an application's piece up to this is handed out as it is, without a copy
_END = object()

NativeApplication = Callable[[Any], Any]


class Exchange:
    """From one request to one answer.

    `app_status` is what END_REQUEST should carry: 0, or 1 where the application did wrong after its head. `broken` says
    that the answer which was begun is not whole: its end must not look like one.
    `log` takes one text without a newline at its end. While it is `waiting`, next_chunk() has nothing: what the
    application returned, or the `stream`, its asynchronous body, is awaited by a task; `task` is the loop's hold on it.
    `aborted` says that its client has no use for it any more.
    """

    def __init__(self, request: Request, application: NativeApplication, log: Callable[[str], None]) -> None:
        self.request = request
        self.app_status = 0
        self.broken = False
        self.finished = False
        self.waiting = False
        self.aborted = False
        self.task: Any = None
        self.context = contextvars.copy_context()
        self.timer: CallTimer | None = None  # where a limit for it is set
        self.begun = 0.0  # seconds (monotonic): when its request was complete; only where there is a scoreboard
        self._application = application
        self._log = log
        self._awaited: Any = None  # what the application returned, until its task takes it; then the body
        self._streaming = False  # `_awaited` is an asynchronous body
        self._head = b""
        self._rest: memoryview | None = None
        self._iterator: Iterator[bytes] | None = None
        self._uncommitted: Response | None = None  # its head may still be replaced
        self._file: Any = None  # the body, read from `_fd` at `_at` up to `_stop` (-1: to its end)
        self._fd = self._at = self._stop = -1
        self._record: FileRecord | None = None  # of the file, where one was begun
        self._close: Callable[[], object] | None = None
        self.left = -1  # bytes of body still to come by Content-Length; -1: not declared
        self._silent = False  # HEAD, 204, 304: the body is not sent

    def start(self) -> None:
        """Call the application. Afterwards next_chunk() has something to give."""
        try:
            if self.timer is None:
                self._call()
            else:
                self._in_time(self.timer, self._call)
        except KeyboardInterrupt:
            raise
        except BaseException:
            self._use_error_page(self._report())

    def _call(self) -> None:
        self._take(self.context.run(self._application, self.request))

    def _in_time(self, timer: CallTimer, function: Callable[[], Any]) -> Any:
        timer.begin(self.request)
        try:
            return function()
        finally:
            timer.end()

    def _take(self, result: Any) -> None:
        """Read the three forms of an answer: bytes, (status, headers, body), or an object with these attributes."""
        status: Any
        headers: Any
        body: Any
        reason = ""
        if type(result) is bytes:
            status, headers, body = 200, (("Content-Type", "text/plain; charset=utf-8"),), result
        elif type(result) is tuple:
            if len(result) != 3:
                raise ResponseError(f"an answer is (status, headers, body), not a tuple of {len(result)}")
            status, headers, body = result
        elif type(result) is Response and not result.committed:
            self._uncommitted = result
            self._iterator, self._close = iter(result.body), result.body.close
            return
        else:
            try:
                status, headers, body = result.status, result.headers, result.body
            except AttributeError:
                if hasattr(result, "__await__"):
                    self._awaited = result
                    self._close = getattr(result, "close", None)
                    self.waiting = True
                    return
                raise ResponseError(
                    "an application returns bytes, (status, headers, body) or an object with these attributes, "
                    f"not {type(result).__name__}"
                ) from None
            reason = getattr(result, "reason", "")
        if type(body) is bytes:
            self._take_whole(status, headers, reason, body)
            return
        self._close = getattr(body, "close", None)
        if body is None:
            self._take_whole(status, headers, reason, b"")
        elif type(body) is list and len(body) == 1:
            if type(body[0]) is not bytes:
                raise ResponseError(f"a body is made of bytes, not {type(body[0]).__name__}")
            self._take_whole(status, headers, reason, body[0])
        elif isinstance(body, (str, bytearray, memoryview)):
            raise ResponseError(f"a body is bytes or an iterable of bytes, not {type(body).__name__}")
        else:
            self._head, self.left = build_head(status, headers, reason)
            self._silent = not has_body(status) or self.request.get("REQUEST_METHOD") == "HEAD"
            region = region_of(body)
            if region is not None:
                self._file, self._fd, self._at, self._stop = region
            try:
                self._iterator = iter(body)
            except TypeError:
                if not hasattr(body, "__aiter__"):
                    raise
                self._close = None  # its task closes it
                self._awaited = body
                self._streaming = self.waiting = True

    def _take_whole(self, status: Any, headers: Any, reason: str, body: bytes) -> None:
        """An answer whose body is all there."""
        self._head, self.left = build_head(status, headers, reason, len(body))
        self._silent = not has_body(status) or self.request.get("REQUEST_METHOD") == "HEAD"
        self._rest = self._cut(body)
        if self.left > 0 and not self._silent:
            raise ResponseError(f"the body is shorter than its Content-Length: {self.left} bytes are missing")

    def next_chunk(self) -> bytes | None:
        """The next piece of output, at most about 128 KiB; None where there is none yet, or no more: see `finished`."""
        if self.finished or self.waiting:
            return None
        if self._silent:
            self._finish()
            self._rest = None
        elif self._rest is None:
            if self._streaming:
                self.waiting = True
                return None
            self._advance()
            if self._rest is None and not self.finished:
                return None  # an empty piece: nothing to send yet, and others have their turn
        head, self._head = self._head, b""
        if self._rest is None:
            return head or None
        whole = self._rest.obj
        if not head and type(whole) is bytes and len(self._rest) == len(whole) <= WHOLE:
            chunk, self._rest = whole, None
        else:
            size = max(CHUNK - len(head), 1)
            chunk = head + self._rest[:size]
            self._rest = self._rest[size:] if len(self._rest) > size else None
        if self._rest is None and not self._streaming and (self._iterator is None or self.left == 0):
            self._finish()
        return chunk

    def _advance(self) -> None:
        """Take the application's next piece into `_rest`, where it is not empty, or finish."""
        iterator = self._iterator
        if iterator is None:
            self._finish()
            return
        try:
            if self.timer is None:
                piece = self._pull()
            else:
                piece = self._in_time(self.timer, self._pull)
            if piece is _END:
                if self._uncommitted is None:
                    self._finish()
                    return
                piece = b""
            elif type(piece) is not bytes:
                raise ResponseError(f"a body is made of bytes, not {type(piece).__name__}")
            elif self._uncommitted is not None and not piece:
                return
            if self._uncommitted is not None:
                self._commit(piece)
                return self._finish() if self._silent else self._advance()
            self._rest = self._cut(piece)
            if self._rest is None and self.left == 0:
                self._finish()
        except KeyboardInterrupt:
            raise
        except BaseException:
            self._fail_answer()

    def _pull(self) -> Any:
        """The iterator's next piece, or the file's; _END where there is none."""
        if self._file is not None:
            return self._read_file()
        return self.context.run(next, self._iterator, _END)  # type: ignore[arg-type]

    def _commit(self, first: bytes) -> None:
        """A WSGI application's head is settled: by the first piece that is not empty, or the end."""
        response: Any = self._uncommitted
        self._iterator = response.commit(first, self._iterator)
        self._head, self.left = build_head(response.status, response.headers, response.reason)
        self._uncommitted = None
        self._silent = not has_body(response.status) or self.request.get("REQUEST_METHOD") == "HEAD"

    def _read_file(self) -> Any:
        """The next piece of the file; what is past Content-Length is not read."""
        size = WHOLE if self.left < 0 else min(WHOLE, self.left)
        if self._stop >= 0:
            size = min(size, self._stop - self._at)
        if self._file.closed:  # its descriptor may be another file's by now
            raise ResponseError("the file was closed before it was sent")
        data = os.pread(self._fd, size, self._at) if size > 0 else b""
        self._at += len(data)
        return data or _END

    def next_record(self) -> FileRecord | None:
        """The next piece as a record that the kernel fills from the file; None: next_chunk() has it.

        The head goes with the first piece, next_chunk() finds the end: neither is one, nor what the file has not now.
        """
        if self._file is None or self._head or self._rest is not None or self._silent or self.finished:
            return None
        if self._record is not None and self._record.failed:
            self.app_status = 1
            self.broken = True
            self.close()
            return None
        if self._file.closed:
            return None
        try:
            end = os.fstat(self._fd).st_size
        except OSError:
            return None
        size = FILE_CONTENT - self._at % PAGE
        if self._stop >= 0:
            end = min(self._stop, end)
        if self._at + size >= end or 0 <= self.left <= size:
            return None
        if self._record is None:
            self._record = FileRecord(self._file, self._fd, self.complain)
        if self._record.refused:
            return None
        self._record.begin(self._at, size)
        self._at += size
        if self.left > 0:
            self.left -= size
        return self._record

    def _cut(self, piece: bytes) -> memoryview | None:
        """Count a piece against Content-Length; what is too much is not sent."""
        if self.left >= 0:
            if len(piece) > self.left:
                self._log(f"the body is longer than its Content-Length: {len(piece) - self.left} bytes or more cut")
                self.app_status = 1
                piece = piece[: self.left]
            self.left -= len(piece)
        return memoryview(piece) if piece else None

    def _finish(self) -> None:
        if self.left > 0 and not self._silent:
            self._log(f"the body is shorter than its Content-Length: {self.left} bytes are missing")
            self.app_status = 1
            self.broken = True
        self.close()

    def _fail_answer(self) -> None:
        """An exception is being handled: an error page where the head is still ours, else a visibly broken answer."""
        status = self._report()
        self.app_status = 1
        if self._head or self._uncommitted is not None:
            self._use_error_page(status)
        else:
            self.broken = True
            self.close()

    def _report(self) -> int:
        """The status for the exception that is being handled; it is logged, unless it is the client's or has been."""
        error = sys.exception()
        if isinstance(error, (BodyError, RequestTimeout)):
            return error.status
        self.log_failure("the application failed")
        return 500

    def _use_error_page(self, status: int) -> None:
        self.app_status = 0
        self.close()
        self.finished = False
        self._iterator = self._uncommitted = self._file = None
        self.left = -1
        self._silent = self.request.get("REQUEST_METHOD") == "HEAD"
        head, text = error_page(status)
        self._head = head
        self._rest = memoryview(text)

    def log_failure(self, what: str) -> None:
        """Log the exception that is being handled, with its traceback and the request's path."""
        try:
            import traceback

            trace = traceback.format_exc().rstrip()
        except Exception:  # no descriptors left to import it with
            trace = repr(sys.exception())
        self.complain(what, trace)

    def complain(self, what: str, detail: str = "") -> None:
        """Log something about this request, with its path."""
        method = self.request.get("REQUEST_METHOD", "?")
        path = (self.request.get("SCRIPT_NAME") or "") + (self.request.get("PATH_INFO") or "")
        self._log(f"{what}: {method} {path!r}" + (f"\n{detail}" if detail else ""))

    def close(self) -> None:
        """End the answer: the body's close() is called, once; what it raises is logged."""
        self.finished = True
        if self._record is not None:
            self._record.waive()
            self._record = None
        close, self._close = self._close, None
        if close is not None:
            try:
                self.context.run(close)
            except KeyboardInterrupt:
                raise
            except BaseException:
                self.log_failure("close() of the answer failed")

    # The turn of the task

    def take_awaitable(self) -> Any:
        """What the application returned to be awaited, once; None where there is nothing."""
        if self._streaming or self._awaited is None:
            return None
        awaitable, self._awaited, self._close = self._awaited, None, None
        return awaitable

    @property
    def stream(self) -> Any:
        """The asynchronous body; None where there is none."""
        return self._awaited if self._streaming else None

    def settle(self, result: Any) -> None:
        """The awaitable gave this: an answer in one of the three forms. Raises what is wrong with it."""
        self.waiting = False
        self._take(result)

    def wants_more(self) -> bool:
        """Whether a further piece of the stream is of use: not for HEAD, 204 and 304, nor past the Content-Length."""
        return not self._silent and self.left != 0

    def calls_application(self) -> bool:
        """Whether handing out the rest calls the application: a plain iterator, or a close()."""
        return self._iterator is not None or self._close is not None

    def put(self, piece: Any) -> None:
        """The stream's next piece; an empty one sends the head. Raises ResponseError for what is no bytes."""
        if type(piece) is not bytes:
            raise ResponseError(f"a body is made of bytes, not {type(piece).__name__}")
        self._rest = self._cut(piece)
        if self._rest is None and self._head:
            self._rest = memoryview(b"")
        self.waiting = self._rest is None

    def fail(self) -> None:
        """An exception of the awaitable or the stream is being handled."""
        self.waiting = False
        self._awaited = None
        if self._streaming:
            self._streaming = False
            self._fail_answer()
        else:
            self._use_error_page(self._report())

    def end(self) -> None:
        """The task has ended: what is left is handed out, and that is all."""
        self.waiting = self._streaming = False
        self._awaited = None
