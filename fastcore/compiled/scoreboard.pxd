from libc.stdint cimport uint32_t, uint64_t

from fastcore.compiled.channel cimport Channel
from fastcore.compiled.exchange cimport Exchange
from fastcore.compiled.request cimport Request


cdef enum:
    STATE_NONE = 0
    STATE_STARTING = 1
    STATE_IDLE = 2
    STATE_READING = 3
    STATE_HANDLING = 4
    STATE_WRITING = 5
    STATE_ENDING = 6
    URL_ROOM = 188
    HISTOGRAM = 128
    SCANNED = 32                 # connections looked at to say what is waited for


cdef struct Layout:              # as fastcore.scoreboard has it
    uint32_t serial
    uint32_t pid
    uint32_t state
    uint32_t connections
    uint64_t requests
    double since
    double born
    uint64_t window
    uint64_t before
    uint64_t at
    uint32_t url_length
    char[URL_ROOM] url
    uint32_t[HISTOGRAM] buckets


cdef class Page:
    cdef Layout* page
    cdef uint32_t state              # what we wrote last; the page itself may be scribbled over
    cdef bint clean                  # the connection whose answer was told last has nothing left to do, since `cleaned`
    cdef double cleaned
    cdef Py_ssize_t guess            # where the last request had its REQUEST_URI

    cdef void put(self, uint32_t state, double time, Py_ssize_t connections) noexcept
    cdef int start(self, Channel channel, Exchange exchange) except -1
    cdef int finish(self, Channel channel, Exchange exchange) except -1
    cdef int rest(self, dict channels, bint draining) except -1
    cdef void note_begin(self, Request request, double time) noexcept
    cdef void note_done(self, double seconds, double time) noexcept
    cdef void roll(self, uint64_t window) noexcept
