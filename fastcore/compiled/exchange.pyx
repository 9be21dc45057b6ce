"""One request being answered: calls the application once and turns what it returns into pieces of CGI output.

The application's iterator is only advanced by next_chunk(), so its reader sets the pace; its close() is called
exactly once. What an application returns to be awaited is awaited by a task elsewhere (fastcore.asynchronous), which
has the turn while the exchange is `waiting`. Nothing that an application raises escapes: it becomes a 500 page or a
failed answer. No records and no sockets here. The twin is fastcore.pure.exchange.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.contextvars cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit
from libc.errno cimport errno
from libc.string cimport memcpy
from posix.stat cimport fstat, struct_stat

from fastcore.compiled.request cimport Request
from fastcore.compiled.response cimport make_head
from fastcore.compiled.sendfile cimport FILE_CONTENT_SIZE, PAGE_BYTES, FileRecord
from fastcore.compiled.system cimport pread
from fastcore.compiled.wsgi cimport Response, WSGIAdapter

import os
import sys

from fastcore.compiled.response import error_page
from fastcore.errors import BodyError, RequestTimeout, ResponseError
from fastcore.files import region_of

CHUNK = CHUNK_SIZE
WHOLE = WHOLE_SIZE
cdef object END = object()


cdef object call_in(object context, object function, object argument):
    """`context.run(function, argument)`, without building a call of it."""
    PyContext_Enter(context)
    try:
        return function(argument)
    finally:
        PyContext_Exit(context)


@cython.freelist(32)
cdef class Exchange:
    """From one request to one answer.

    `app_status` is what END_REQUEST should carry: 0, or 1 where the application did wrong after its head. `broken` says
    that the answer which was begun is not whole: its end must not look like one.
    `log` takes one text without a newline at its end. While it is `waiting`, next_chunk() has nothing: what the
    application returned, or the `stream`, its asynchronous body, is awaited by a task; `task` is the loop's hold on it.
    `aborted` says that its client has no use for it any more.
    """

    def __init__(self, Request request not None, application, log):
        self.setup(request, application, log)

    cdef int setup(self, Request request, application, log) except -1:
        self.request = request
        self.application = application
        self.log = log
        self.context = PyContext_CopyCurrent()
        self.left = -1
        return 0

    cpdef start(self):
        """Call the application. Afterwards next_chunk() has something to give."""
        try:
            if self.timer is None:
                self.call()
            else:
                self.timer.begin(self.request)
                try:
                    self.call()
                finally:
                    self.timer.end()
        except KeyboardInterrupt:
            raise
        except BaseException:
            self.use_error_page(self.report())

    cdef int call(self) except -1:
        if type(self.application) is WSGIAdapter:
            return self.take_wsgi()
        return self.take(call_in(self.context, self.application, self.request))

    cdef int take(self, result) except -1:
        """Read the three forms of an answer: bytes, (status, headers, body), or an object with these attributes."""
        cdef str reason = ""
        if type(result) is bytes:
            return self.take_whole(200, (("Content-Type", "text/plain; charset=utf-8"),), reason, result)
        if type(result) is tuple:
            if len(<tuple>result) != 3:
                raise ResponseError(f"an answer is (status, headers, body), not a tuple of {len(result)}")
            status, headers, body = <tuple>result
        elif type(result) is Response and not (<Response>result).committed:
            return self.take_uncommitted(<Response>result)
        else:
            try:
                status, headers, body = result.status, result.headers, result.body
            except AttributeError:
                if hasattr(result, "__await__"):
                    self.awaited = result
                    self.close_body = getattr(result, "close", None)
                    self.waiting = True
                    return 0
                raise ResponseError(
                    "an application returns bytes, (status, headers, body) or an object with these attributes, "
                    f"not {type(result).__name__}"
                ) from None
            reason = getattr(result, "reason", "")
        return self.take_body(status, headers, reason, body)

    cdef int take_wsgi(self) except -1:
        """PERF: call a WSGI application without a detour through Python."""
        cdef Response response
        PyContext_Enter(self.context)
        try:
            response = (<WSGIAdapter>self.application).call(self.request)
        finally:
            PyContext_Exit(self.context)
        if not response.committed:
            return self.take_uncommitted(response)
        return self.take_body(response.status, response.headers, response.reason, response.body)

    cdef int take_uncommitted(self, Response response) except -1:
        """An answer whose head is settled by its first piece that is not empty."""
        self.uncommitted = response
        self.iterator = iter(response.body)
        self.close_body = response.body.close
        return 0

    cdef int take_body(self, status, headers, str reason, body) except -1:
        """A whole body, or one to be asked for piece by piece."""
        if type(body) is bytes:
            return self.take_whole(status, headers, reason, body)
        if type(body) is list and len(<list>body) == 1:
            body = (<list>body)[0]
            if type(body) is not bytes:
                raise ResponseError(f"a body is made of bytes, not {type(body).__name__}")
            return self.take_whole(status, headers, reason, body)
        if body is None:
            return self.take_whole(status, headers, reason, b"")
        self.close_body = getattr(body, "close", None)
        if isinstance(body, (str, bytearray, memoryview)):
            raise ResponseError(f"a body is bytes or an iterable of bytes, not {type(body).__name__}")
        self.head = make_head(status, headers, reason, -1, &self.left)
        self.silent = is_bodiless(status) or self.request.is_head
        region = region_of(body)
        if region is not None:
            self.file, self.fd, self.at, self.stop = region
        try:
            self.iterator = iter(body)
        except TypeError:
            if not hasattr(body, "__aiter__"):
                raise
            self.close_body = None  # its task closes it
            self.awaited = body
            self.streaming = self.waiting = True
        return 0

    cdef int take_whole(self, status, headers, str reason, bytes body) except -1:
        """An answer whose body is all there."""
        self.head = make_head(status, headers, reason, PyBytes_GET_SIZE(body), &self.left)
        self.silent = is_bodiless(status) or self.request.is_head
        self.piece = self.cut(body)
        if self.left > 0 and not self.silent:
            raise ResponseError(f"the body is shorter than its Content-Length: {self.left} bytes are missing")
        return 0

    cpdef bytes next_chunk(self):
        """The next piece of output, at most about 128 KiB; None where there is none yet, or no more: see `finished`."""
        cdef bytes head, chunk
        cdef Py_ssize_t head_length, size
        cdef char* out
        if self.finished or self.waiting:
            return None
        if self.silent:
            self.finish()
            self.piece = None
        elif self.piece is None:
            if self.streaming:
                self.waiting = True
                return None
            self.advance()
            if self.piece is None and not self.finished:
                return None  # an empty piece: nothing to send yet, and others have their turn
        head = self.head
        self.head = None
        if self.piece is None:
            return head
        head_length = 0 if head is None else PyBytes_GET_SIZE(head)
        if not head_length and not self.offset and PyBytes_GET_SIZE(self.piece) <= WHOLE_SIZE:
            chunk = self.piece
            self.offset = PyBytes_GET_SIZE(chunk)
        else:
            size = min(max(CHUNK_SIZE - head_length, 1), PyBytes_GET_SIZE(self.piece) - self.offset)
            chunk = PyBytes_FromStringAndSize(NULL, head_length + size)
            out = PyBytes_AS_STRING(chunk)
            if head_length:
                memcpy(out, PyBytes_AS_STRING(head), head_length)
            memcpy(out + head_length, PyBytes_AS_STRING(self.piece) + self.offset, size)
            self.offset += size
        if self.offset == PyBytes_GET_SIZE(self.piece):
            self.piece = None
            if not self.streaming and (self.iterator is None or self.left == 0):
                self.finish()
        return chunk

    cdef int advance(self) except -1:
        """Take the application's next piece, where it is not empty, or finish."""
        if self.iterator is None:
            return self.finish()
        try:
            if self.timer is None:
                piece = self.pull()
            else:
                self.timer.begin(self.request)
                try:
                    piece = self.pull()
                finally:
                    self.timer.end()
            if piece is END:
                if self.uncommitted is None:
                    return self.finish()
                piece = b""
            elif type(piece) is not bytes:
                raise ResponseError(f"a body is made of bytes, not {type(piece).__name__}")
            elif self.uncommitted is not None and not piece:
                return 0
            if self.uncommitted is not None:
                self.commit(piece)
                return self.finish() if self.silent else self.advance()
            self.piece = self.cut(piece)
            if self.piece is None and self.left == 0:
                self.finish()
        except KeyboardInterrupt:
            raise
        except BaseException:
            self.fail_answer()
        return 0

    cdef object pull(self):
        """The iterator's next piece, or the file's; END where there is none."""
        if self.file is not None:
            return self.read_file()
        PyContext_Enter(self.context)
        try:
            return next(self.iterator, END)
        finally:
            PyContext_Exit(self.context)

    cdef int commit(self, bytes first) except -1:
        """A WSGI application's head is settled: by the first piece that is not empty, or the end."""
        cdef Response response = self.uncommitted
        self.iterator = response.commit(first, self.iterator)
        self.head = make_head(response.status, response.headers, response.reason, -1, &self.left)
        self.uncommitted = None
        self.silent = is_bodiless(response.status) or self.request.is_head
        return 0

    cdef object read_file(self):
        """The next piece of the file; what is past Content-Length is not read."""
        cdef long long size = WHOLE_SIZE
        cdef Py_ssize_t length
        cdef bytes block
        if self.left >= 0:
            size = min(size, self.left)
        if self.stop >= 0:
            size = min(size, self.stop - self.at)
        if self.file.closed:  # its descriptor may be another file's by now
            raise ResponseError("the file was closed before it was sent")
        if size <= 0:
            return END
        block = PyBytes_FromStringAndSize(NULL, size)
        length = pread(self.fd, PyBytes_AS_STRING(block), size, self.at)
        if length < 0:
            raise OSError(errno, os.strerror(errno))
        self.at += length
        if length < size:
            block = block[:length]
        return block if length else END

    cdef FileRecord next_record(self):
        """The next piece as a record that the kernel fills from the file; None: next_chunk() has it.

        The head goes with the first piece, next_chunk() finds the end: neither is one, nor what the file has not now.
        """
        cdef Py_ssize_t size
        cdef long long end
        cdef struct_stat facts
        if self.file is None or self.head is not None or self.piece is not None or self.silent or self.finished:
            return None
        if self.record is not None and self.record.failed:
            self.app_status = 1
            self.broken = True
            self.close()
            return None
        if self.file.closed or fstat(self.fd, &facts) < 0:
            return None
        size = FILE_CONTENT_SIZE - self.at % PAGE_BYTES
        end = facts.st_size if self.stop < 0 else min(self.stop, <long long>facts.st_size)
        if self.at + size >= end or 0 <= self.left <= size:
            return None
        if self.record is None:
            self.record = FileRecord(self.file, self.fd, self.complain)
        if self.record.refused:
            return None
        self.record.begin(self.at, size)
        self.at += size
        if self.left > 0:
            self.left -= size
        return self.record

    cdef bytes cut(self, bytes piece):
        """Count a piece against Content-Length; what is too much is not sent."""
        self.offset = 0
        if self.left >= 0:
            if PyBytes_GET_SIZE(piece) > self.left:
                self.log(f"the body is longer than its Content-Length: {len(piece) - self.left} bytes or more cut")
                self.app_status = 1
                piece = piece[: self.left]
            self.left -= PyBytes_GET_SIZE(piece)
        return piece if PyBytes_GET_SIZE(piece) else None

    cdef int finish(self) except -1:
        if self.left > 0 and not self.silent:
            self.log(f"the body is shorter than its Content-Length: {self.left} bytes are missing")
            self.app_status = 1
            self.broken = True
        self.close()
        return 0

    cdef int fail_answer(self) except -1:
        """An exception is being handled: an error page where the head is still ours, else a visibly broken answer."""
        cdef int status = self.report()
        self.app_status = 1
        if self.head is not None or self.uncommitted is not None:
            self.use_error_page(status)
        else:
            self.broken = True
            self.close()
        return 0

    cdef int report(self) except -1:
        """The status for the exception that is being handled; it is logged, unless it is the client's or has been."""
        error = sys.exception()
        if isinstance(error, (BodyError, RequestTimeout)):
            return error.status
        self.log_failure("the application failed")
        return 500

    cdef int use_error_page(self, int status) except -1:
        self.app_status = 0
        self.close()
        self.finished = False
        self.iterator = self.uncommitted = self.file = None
        self.left = -1
        self.offset = 0
        self.silent = self.request.is_head
        self.head, self.piece = error_page(status)
        return 0

    cpdef log_failure(self, str what):
        """Log the exception that is being handled, with its traceback and the request's path."""
        try:
            import traceback

            trace = traceback.format_exc().rstrip()
        except Exception:  # no descriptors left to import it with
            trace = repr(sys.exception())
        self.complain(what, trace)

    def complain(self, str what not None, str detail not None = ""):
        """Log something about this request, with its path."""
        method = self.request.get("REQUEST_METHOD", "?")
        path = self.request.get("SCRIPT_NAME", "") + self.request.get("PATH_INFO", "")
        self.log(f"{what}: {method} {path!r}" + (f"\n{detail}" if detail else ""))

    cpdef close(self):
        """End the answer: the body's close() is called, once; what it raises is logged."""
        self.finished = True
        if self.record is not None:
            self.record.waive()
            self.record = None
        if self.close_body is None:
            return
        close, self.close_body = self.close_body, None
        try:
            PyContext_Enter(self.context)
            try:
                close()
            finally:
                PyContext_Exit(self.context)
        except KeyboardInterrupt:
            raise
        except BaseException:
            self.log_failure("close() of the answer failed")

    # The turn of the task

    def take_awaitable(self):
        """What the application returned to be awaited, once; None where there is nothing."""
        if self.streaming or self.awaited is None:
            return None
        awaitable = self.awaited
        self.awaited = self.close_body = None
        return awaitable

    @property
    def stream(self):
        """The asynchronous body; None where there is none."""
        return self.awaited if self.streaming else None

    def settle(self, result):
        """The awaitable gave this: an answer in one of the three forms. Raises what is wrong with it."""
        self.waiting = False
        self.take(result)

    def wants_more(self) -> bool:
        """Whether a further piece of the stream is of use: not for HEAD, 204 and 304, nor past the Content-Length."""
        return not self.silent and self.left != 0

    def calls_application(self) -> bool:
        """Whether handing out the rest calls the application: a plain iterator, or a close()."""
        return self.iterator is not None or self.close_body is not None

    def put(self, piece):
        """The stream's next piece; an empty one sends the head. Raises ResponseError for what is no bytes."""
        if type(piece) is not bytes:
            raise ResponseError(f"a body is made of bytes, not {type(piece).__name__}")
        self.piece = self.cut(piece)
        if self.piece is None and self.head is not None:
            self.piece = b""
        self.waiting = self.piece is None

    cpdef fail(self):
        """An exception of the awaitable or the stream is being handled."""
        self.waiting = False
        self.awaited = None
        if self.streaming:
            self.streaming = False
            self.fail_answer()
        else:
            self.use_error_page(self.report())

    cpdef end(self):
        """The task has ended: what is left is handed out, and that is all."""
        self.waiting = self.streaming = False
        self.awaited = None


cdef Exchange new_exchange(Request request, application, log):
    """`Exchange(…)` without a call through Python."""
    cdef Exchange exchange = Exchange.__new__(Exchange)
    exchange.setup(request, application, log)
    return exchange


cdef inline bint is_bodiless(status):
    """Whether a response of this status has no body (RFC 9110 §6.4.1)."""
    return status == 204 or status == 304
