"""One STDOUT record after the other whose content goes from a file to the socket inside the kernel (sendfile(2)).

A record is announced by its header before its content is taken. What turns out not to be there is filled with zeros,
and the answer is broken off behind them as any other that is not whole, so that all front ends show it. When which
record is begun is the exchange's business, headers are the channel's.
The twin is fastcore.pure.sendfile.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t

from fastcore.compiled.cursor cimport Cursor, cursor_over, take
from fastcore.compiled.system cimport MSG_DONTWAIT, MSG_NOSIGNAL, pread, send, sendfile

import _signal as signal
import os

PAGE = PAGE_BYTES
FILE_CONTENT = FILE_CONTENT_SIZE


cdef class FileRecord:
    """The record of one answer that is being sent; `left` bytes of its content are still to come.

    `refused` says that the system does not send from this file so; the record that was announced then is read instead.
    `failed` says that its content was not to be had.
    """

    def __init__(self, file, int fd, complain):
        # sendfile(2) knows no MSG_NOSIGNAL: where the application has restored the signal, it would end the worker
        self.refused = signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL
        self.file = file
        self.fd = fd
        self.complain = complain

    cdef int begin(self, long long at, Py_ssize_t length) except -1:
        """Announced: `length` bytes of the file from `at`."""
        self.at = at
        self.left = length
        return 0

    cdef int waive(self) except -1:
        """The content is not to be had, or nobody wants it any more: zeros fill what is announced."""
        if self.left and self.rest is None:
            self.rest = bytes(self.left)
            self.offset = 0
        return 0

    cdef int send(self, int socket) except -1:
        """Send what can be sent without waiting; says whether something went, or that the client has gone."""
        cdef Py_ssize_t before = self.left
        cdef ssize_t sent
        while self.left:
            sent = self.send_from_file(socket) if self.rest is None else self.send_rest(socket)
            if sent >= 0:
                self.left -= sent
            elif errno == EAGAIN or errno == EINTR:
                break
            else:
                return GONE
        return SENT if self.left < before else NOTHING_SENT

    cdef ssize_t send_from_file(self, int socket) except -2:
        cdef ssize_t sent
        if self.file.closed:  # its descriptor may be another file's by now
            return self.fail("the file was closed before it was sent")
        sent = sendfile(socket, self.fd, &self.at, self.left)
        if sent < 0:
            if errno == EAGAIN or errno == EINTR:
                return -1
            return self.read()  # not from this file system; or the client has gone, which sending finds again
        if not sent:
            return self.fail("the file has become shorter while it was sent")
        return sent

    cdef ssize_t read(self) except -2:
        """What is announced is read, whatever the trouble was."""
        cdef bytes content = PyBytes_FromStringAndSize(NULL, self.left)
        cdef ssize_t length = pread(self.fd, PyBytes_AS_STRING(content), self.left, self.at)
        self.refused = True
        if length < 0:
            return self.fail(f"the file cannot be read: {os.strerror(errno)}")
        if length < self.left:
            return self.fail("the file has become shorter while it was sent")
        self.rest = content
        self.offset = 0
        return 0

    cdef ssize_t send_rest(self, int socket) except -2:
        cdef Cursor content = cursor_over(<const uint8_t*>PyBytes_AS_STRING(self.rest), PyBytes_GET_SIZE(self.rest))
        take(&content, self.offset)
        cdef ssize_t sent = send(socket, content.at, content.left, MSG_NOSIGNAL | MSG_DONTWAIT)
        if sent == content.left:
            self.rest = None
        elif sent > 0:
            self.offset += sent
        return sent

    cdef ssize_t fail(self, str what) except -2:
        self.complain(what)
        self.failed = True
        self.waive()
        return 0
