cimport cython
from libc.stdint cimport uint8_t, uint32_t

from fastcore.compiled.channel cimport READ_BYTES, Channel, Waiter
from fastcore.compiled.exchange cimport Exchange
from fastcore.compiled.scoreboard cimport Page
from fastcore.compiled.sendfile cimport FileRecord


cdef class Service(Waiter):
    cdef readonly object limits
    cdef readonly long long requests      # answered since the start
    cdef object application
    cdef bint stream_body
    cdef object log, complain, event_loop
    cdef object host                      # fastcore.asynchronous.Host, there from the first coroutine on
    cdef Py_ssize_t orphans               # tasks whose connection is gone
    cdef object timer                     # a CallTimer where a limit for it is set, else None
    cdef Page scoreboard                  # where it writes what it does; None for nowhere
    cdef int epoll                        # -1 while it does not run
    cdef dict channels                    # by descriptor
    cdef dict runnable                    # by descriptor: more to send, and the reader keeps up
    cdef Py_ssize_t output_buffer
    cdef uint8_t[READ_BYTES] input        # what recv() fills; it is parsed before the next call

    cdef int control(self, int operation, int fd, uint32_t interest) except -1
    cdef int read(self, Channel channel) except -1
    cdef int feed(self, Channel channel, Py_ssize_t length) except -1
    cdef int take(self, Channel channel, Py_ssize_t length) except -1
    cdef int note_progress(self, Channel channel) except -1
    cdef int on_eof(self, Channel channel) except -1
    cdef int pump(self, Channel channel) except -1
    @cython.final
    cdef bint has_room(self, Channel channel) noexcept
    cdef bint announce(self, Channel channel, Exchange exchange) except -1
    cdef int advance(self, Channel channel, Exchange exchange) except -1
    cdef int break_off(self, Channel channel, Exchange exchange) except -1
    cdef bint fill(self, Channel channel, FileRecord record) except -1
    cdef int settle(self, Channel channel) except -1
    cdef int linger(self, Channel channel) except -1
    cdef int close_retired(self, Channel channel) except -1
    cdef int accept_on(self) except -1
    cdef int wait(self, Channel channel, Exchange exchange) except -1
    cdef int take_back(self, Channel channel, Exchange exchange) except -1
    cdef int run_runnable(self) except -1
