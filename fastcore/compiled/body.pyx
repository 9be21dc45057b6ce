"""The input of one request, collected: in memory first, then in an unnamed temporary file. No records here.

The twin is fastcore.pure.body. PERF: a body that fits in memory is copied once, into the bytes object that the
application's read() returns; of a longer one big pieces are written as they came.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from fastcore.compiled.buffer cimport Buffer, buffer_drop, buffer_free, buffer_length, buffer_put
from fastcore.compiled.system cimport close as close_fd
from fastcore.compiled.system cimport write as write_fd

import io
import os

from fastcore.spool import open_unnamed

cdef enum:
    BLOCK_BYTES = 65536
    DIRECT_BYTES = 16384  # a piece of so many is written without being gathered first

BLOCK_SIZE = BLOCK_BYTES  # bytes written to a file at once, or more


cdef int write_all(int fd, const uint8_t* data, Py_ssize_t length) except -1:
    cdef ssize_t written
    while length:
        written = write_fd(fd, data, length)
        if written >= 0:
            data += written
            length -= written
        elif errno == EINTR:
            PyErr_CheckSignals()
        else:
            raise OSError(errno, os.strerror(errno))
    return 0


cdef class BodyStore:
    """Takes a stream in pieces and gives it back as one binary file at position 0.

    Example::

        store = BodyStore(memory=1000)
        store.put(b"piece")
        store.finish().read() == b"piece"
    """

    def __cinit__(self):
        self.fd = -1

    def __init__(self, long long memory, str directory=None):
        """`memory`: bytes, over them a file in `directory` takes it all; None for the usual place."""
        self.memory = memory
        self.directory = directory

    def __dealloc__(self):
        buffer_free(&self.buffer)
        if self.fd >= 0:
            close_fd(self.fd)

    def put(self, bytes data not None):
        """Append a piece. Raises OSError where the file has no room."""
        self.put_bytes(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int put_bytes(self, const uint8_t* data, Py_ssize_t length) except -1:
        """put() for a caller in C."""
        if self.fd < 0 and self.received + length > self.memory:
            self.fd = open_unnamed(self.directory)
        if self.fd < 0:
            if self.whole is None and not self.received and length <= self.expected <= self.memory:
                self.whole = PyBytes_FromStringAndSize(NULL, self.expected)
            if self.whole is not None and self.received + length <= self.expected:
                memcpy(PyBytes_AS_STRING(self.whole) + self.received, data, length)
                self.received += length
                return 0
        if self.whole is not None:
            self.leave_whole()
        self.received += length
        if self.fd >= 0 and length >= DIRECT_BYTES:
            self.write_buffer()
            return write_all(self.fd, data, length)
        buffer_put(&self.buffer, data, length)
        if self.fd >= 0 and buffer_length(&self.buffer) >= BLOCK_BYTES:
            self.write_buffer()
        return 0

    cdef int leave_whole(self) except -1:
        """More has come than was expected."""
        buffer_put(&self.buffer, PyBytes_AS_STRING(self.whole), self.received)
        self.whole = None
        return 0

    cdef int write_buffer(self) except -1:
        write_all(self.fd, self.buffer.data + self.buffer.start, buffer_length(&self.buffer))
        buffer_drop(&self.buffer, buffer_length(&self.buffer))
        return 0

    cpdef finish(self):
        """The whole stream as a file at position 0; the caller closes it. Raises OSError where it has no room."""
        cdef bytes content = self.whole
        if self.fd >= 0:
            self.write_buffer()
            os.lseek(self.fd, 0, os.SEEK_SET)
            file = open(self.fd, "r+b")
            self.fd = -1
            return file
        if content is None:
            content = PyBytes_FromStringAndSize(
                <const char*>self.buffer.data + self.buffer.start, buffer_length(&self.buffer)
            )
        elif self.received != self.expected:
            content = content[: self.received]
        return io.BytesIO(content)

    cpdef close(self):
        """Free what finish() has not given away."""
        buffer_free(&self.buffer)
        self.whole = None
        if self.fd >= 0:
            close_fd(self.fd)
            self.fd = -1


cdef BodyStore new_store(long long memory, long long expected, object directory):
    """`BodyStore(…)` for a stream whose length is known, -1 where it is not."""
    cdef BodyStore store = BodyStore.__new__(BodyStore)
    store.memory = memory
    store.expected = max(expected, 0)
    store.directory = directory
    return store
