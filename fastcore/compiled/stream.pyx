"""The input of one request as it arrives: a binary file that is read once, forwards. No records, no sockets here.

The twin is fastcore.pure.stream. PERF: what a read() waits for is copied once, from where recv() put it to the bytes
that read() returns.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcpy

from fastcore.compiled.buffer cimport Buffer, buffer_drop, buffer_free, buffer_length, buffer_put
from fastcore.compiled.system cimport close as close_fd

import os

from fastcore.errors import BodyError, other_thread
from fastcore.spool import open_unnamed


cdef class StreamBody:
    """`request.body` and `wsgi.input` in the streaming mode.

    `read(size)` waits for so many bytes or the end, `read1()` for one at least. Where the rest will not come, they
    raise a BodyError: BodyTimeout, BodyTooLong or ClientGone. `ready` says that read1() would not wait; `on_more` is
    called, once, when it may have become so, for those that must not wait. While it arrives, only the thread that has
    made it may read it: a read in another raises RuntimeError.
    """

    def __cinit__(self):
        self.fd = -1

    def __init__(self, long long declared, long long memory, str directory=None, source=None):
        """`declared`: bytes that will come, -1 if unknown; over `memory` bytes not read, a file in `directory`."""
        self.declared = declared
        self.memory = memory
        self.directory = directory
        self.source = source
        self.thread = PyThread_get_thread_ident()

    def __dealloc__(self):
        buffer_free(&self.buffer)
        if self.fd >= 0:
            close_fd(self.fd)

    # The connection's side

    @property
    def held(self) -> int:
        """Bytes that have come and are not read."""
        return self.holding()

    cdef long long holding(self) noexcept:
        return buffer_length(&self.buffer) + self.file_end - self.file_start

    def put(self, bytes data not None):
        """More has come. Raises OSError where the file has no room."""
        self.put_bytes(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int put_bytes(self, const uint8_t* data, Py_ssize_t length) except -1:
        """put() for a caller in C."""
        cdef Py_ssize_t size
        if self.closed:
            return 0
        self.received += length
        if self.target != NULL:  # then nothing is held
            size = min(length, self.target_left)
            memcpy(self.target, data, size)
            self.target += size
            self.target_left -= size
            data += size
            length -= size
            if not length:
                return 0
        if self.file_end > self.file_start or buffer_length(&self.buffer) + length > self.memory:
            self.spill(PyBytes_FromStringAndSize(<const char*>data, length))
        else:
            buffer_put(&self.buffer, data, length)
        return self.tell()

    cpdef end(self):
        """All has come."""
        self.ended = True
        self.leave_source()
        self.tell()

    cpdef fail(self, error):
        """The rest will not come."""
        if not self.ended and self.error is None:
            self.error = error
            self.leave_source()
            self.tell()

    cdef int leave_source(self) except -1:
        if self.paused:
            self.unpause()
        self.source = None
        return 0

    cdef int tell(self) except -1:
        if self.on_more is not None:
            on_more, self.on_more = self.on_more, None
            on_more()
        return 0

    cdef int spill(self, bytes data) except -1:
        if self.fd < 0:
            self.fd = open_unnamed(self.directory)
        view = memoryview(data)
        while len(view):
            written = os.pwrite(self.fd, view, self.file_end)
            self.file_end += written
            view = view[written:]
        return 0

    # The application's side

    @property
    def ready(self) -> bool:
        """Whether read1() would not wait."""
        return self.ended or self.closed or self.error is not None or self.holding() > 0

    cdef int check_thread(self) except -1:
        """While more comes, the loop writes where a read() reads."""
        if self.source is not None and PyThread_get_thread_ident() != self.thread:
            raise other_thread()
        return 0

    cdef int wait(self) except -1:
        """Nothing is held: wait for more, or say why none will come."""
        if self.error is not None:
            raise type(self.error)(*self.error.args)
        if self.closed:
            raise ValueError("read of a closed body")
        if self.source is None:
            raise BodyError("the body has no connection to come from")
        self.source.receive_more()
        return 0

    cdef bint fill(self) except -1:
        """Wait until there is something in the buffer; False at the end."""
        self.check_thread()
        while not buffer_length(&self.buffer):
            if self.file_end > self.file_start:
                self.unspill()
            elif self.ended and not self.closed and self.error is None:
                return False
            else:
                self.wait()
        return True

    cdef int unspill(self) except -1:
        cdef bytes data = os.pread(self.fd, min(self.file_end - self.file_start, self.memory), self.file_start)
        buffer_put(&self.buffer, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        self.file_start += PyBytes_GET_SIZE(data)
        if self.file_start == self.file_end:
            os.ftruncate(self.fd, 0)
            self.file_start = self.file_end = 0
        return 0

    cdef bytes take(self, Py_ssize_t size):
        """From the buffer, which is not empty."""
        cdef bytes data
        size = min(size, buffer_length(&self.buffer))
        data = PyBytes_FromStringAndSize(<const char*>self.buffer.data + self.buffer.start, size)
        buffer_drop(&self.buffer, size)
        if self.paused and self.holding() <= self.memory // 2:
            self.unpause()
        return data

    cdef int unpause(self) except -1:
        self.paused = False
        if self.source is not None:
            self.source.resume()
        return 0

    cdef bytes read_some(self, Py_ssize_t size):
        """Piece by piece: the length that will come is not known, or there is a file. Negative: all."""
        cdef list pieces = []
        cdef bytes piece
        while size and self.fill():
            piece = self.take(size if size > 0 else buffer_length(&self.buffer))
            pieces.append(piece)
            if size > 0:
                size -= PyBytes_GET_SIZE(piece)
        return b"".join(pieces)

    cdef bytes read_into_place(self, Py_ssize_t size):
        """So many bytes, which have come or will, where they stay."""
        self.check_thread()
        cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
        cdef uint8_t* at = <uint8_t*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t done = min(size, buffer_length(&self.buffer))
        if done:
            memcpy(at, self.buffer.data + self.buffer.start, done)
            buffer_drop(&self.buffer, done)
            if self.paused and self.holding() <= self.memory // 2:
                self.unpause()
        while done < size and not self.ended:
            self.target = at + done
            self.target_left = size - done
            try:
                self.wait()
            finally:
                done = size - self.target_left
                self.target = NULL
        return data if done == size else data[:done]

    def read(self, size=-1) -> bytes:
        """So many bytes, fewer only at the end; all there will be where `size` is None or negative."""
        cdef Py_ssize_t wanted = -1 if size is None or size < 0 else size
        cdef long long coming = self.declared - self.received + self.holding()
        if self.declared < 0 or self.ended or self.closed or self.file_end > self.file_start:
            return self.read_some(wanted)
        return self.read_into_place(coming if wanted < 0 or wanted > coming else wanted)

    def read1(self, size: int = -1) -> bytes:
        """What has come, up to `size` bytes; waits only where nothing has. Empty at the end."""
        if not size or not self.fill():
            return b""
        return self.take(size if size > 0 else buffer_length(&self.buffer))

    def readinto(self, target) -> int:
        """Fill a writable buffer as read() would; the number of bytes."""
        with memoryview(target).cast("B") as view:
            data = self.read(len(view))
            view[: len(data)] = data
        return len(data)

    def readline(self, size=-1) -> bytes:
        """The rest of the line with its newline, up to `size` bytes."""
        cdef Py_ssize_t left = -1 if size is None or size < 0 else size
        cdef Py_ssize_t length
        cdef const uint8_t* start
        cdef const void* found
        cdef bytes piece
        cdef bytes line = b""
        while left and self.fill():
            start = self.buffer.data + self.buffer.start
            length = buffer_length(&self.buffer)
            found = memchr(start, 10, length)
            if found != NULL:
                length = <const uint8_t*>found - start + 1
            if left > 0:
                length = min(length, left)
                left -= length
            piece = self.take(length)
            line = line + piece if line else piece
            if piece.endswith(b"\n"):
                break
        return line

    def readlines(self, hint=-1) -> list:
        """The remaining lines, or those until `hint` bytes are read."""
        lines = []
        size = 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self):
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    cpdef close(self):
        """Free what is held; what still comes is thrown away."""
        self.closed = True
        buffer_free(&self.buffer)
        self.file_start = self.file_end = 0
        if self.fd >= 0:
            close_fd(self.fd)
            self.fd = -1
        self.leave_source()
        self.tell()
