"""The page of one worker on a scoreboard, for its loop to write: no lock, no system call, no answer waits for it.

fastcore.scoreboard has the layout and the reading end. The twin is fastcore.pure.scoreboard.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.errno cimport errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from fastcore.compiled.buffer cimport buffer_length
from fastcore.compiled.channel cimport Channel
from fastcore.compiled.cursor cimport Cursor
from fastcore.compiled.exchange cimport Exchange
from fastcore.compiled.request cimport Pair, Request
from fastcore.compiled.system cimport now

import os


cdef extern from "<sys/mman.h>" nogil:
    enum:
        PROT_READ
        PROT_WRITE
        MAP_SHARED
    void* MAP_FAILED
    void* mmap(void* at, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* at, size_t length)

cdef extern from * nogil:
    """
    /* A reader who finds the same even serial before and after has read one URL, whole (a sequence lock). */
    static inline void fastcore_open_url(uint32_t* serial) {
        __atomic_store_n(serial, *serial | 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_RELEASE);
    }
    static inline void fastcore_close_url(uint32_t* serial) {
        __atomic_store_n(serial, *serial + 1, __ATOMIC_RELEASE);
    }
    static inline int fastcore_log2(uint64_t value) { return 63 - __builtin_clzll(value); }
    """
    void open_url "fastcore_open_url"(uint32_t* serial)
    void close_url "fastcore_close_url"(uint32_t* serial)
    int log2_of "fastcore_log2"(uint64_t value)

cdef enum:
    WINDOW_SECONDS = 16
    PHASE_PARAMS = 1
    PHASE_BODY = 2

PAGE = os.sysconf("SC_PAGE_SIZE")
cdef Py_ssize_t PAGE_BYTES = PAGE


cdef class Page:
    """One worker's page. It goes on with the counts of the worker that had the place before."""

    def __init__(self, int descriptor, int number, double time):
        """Map page `number` of a scoreboard; the descriptor stays the caller's.

        Raises ValueError where there is no such page, OSError where it cannot be mapped.
        """
        from fastcore.scoreboard import check_place

        cdef void* page
        check_place(descriptor, number)
        page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, number * PAGE_BYTES)
        if page == MAP_FAILED:
            raise OSError(errno, os.strerror(errno))
        self.page = <Layout*>page
        self.page.serial = self.page.url_length = 0
        self.page.pid = os.getpid()
        self.page.born = time
        self.put(STATE_STARTING, time, 0)

    def __dealloc__(self):
        if self.page != NULL:
            munmap(self.page, PAGE_BYTES)

    def enter(self, uint32_t state, double time, Py_ssize_t connections):
        """What it does from now on (seconds, monotonic), with so many connections."""
        self.put(state, time, connections)

    cdef void put(self, uint32_t state, double time, Py_ssize_t connections) noexcept:
        self.page.connections = <uint32_t>connections
        if state != self.state:
            self.state = state
            self.page.since = time
            self.page.state = state

    cdef int start(self, Channel channel, Exchange exchange) except -1:
        """The application is called for this request, which has just come completely."""
        exchange.begun = channel.since
        self.note_begin(exchange.request, channel.since)
        return 0

    cdef int finish(self, Channel channel, Exchange exchange) except -1:
        """The answer is whole, and as much of it sent as its reader takes."""
        # PERF: what has gone out whole went just now, and who sent it has read the clock.
        cdef double time = now() if channel.closed or buffer_length(&channel.output) else channel.since
        self.note_done(time - exchange.begun, time)
        self.clean = not (channel.inbound or buffer_length(&channel.output))
        self.cleaned = time
        return 0

    cdef int rest(self, dict channels, bint draining) except -1:
        """What is left to do while the loop waits, as the first of its connections have it."""
        cdef Channel channel
        cdef uint32_t state = STATE_ENDING if draining else STATE_IDLE
        cdef int phase, scanned = 0
        cdef bint clean = self.clean
        self.clean = False
        # PERF: one connection, or none, and nothing of it left to do: nobody else has to be looked at.
        if clean and not draining and len(channels) <= 1:
            self.put(STATE_IDLE, self.cleaned, len(channels))
            return 0
        if channels and not draining:
            for channel in channels.values():
                if channel.waiting:
                    state = STATE_HANDLING
                    break
                if buffer_length(&channel.output) or channel.answering.first is not None:
                    state = STATE_WRITING
                elif state == STATE_IDLE:
                    phase = channel.current_phase()
                    if phase == PHASE_PARAMS or phase == PHASE_BODY:
                        state = STATE_READING
                scanned += 1
                if scanned == SCANNED:
                    break
        if state != self.state or <uint32_t>len(channels) != self.page.connections:
            self.put(state, now(), len(channels))
        return 0

    def begin(self, Request request not None, double time):
        """The application is called for `request`."""
        self.note_begin(request, time)

    cdef void note_begin(self, Request request, double time) noexcept:
        cdef const char* start = PyBytes_AS_STRING(request.raw)
        cdef const char* url = NULL
        cdef const char* query
        cdef Py_ssize_t length = 0
        cdef Pair* pair
        cdef Cursor found
        # PERF: a front end sends its parameters in the same order each time.
        if self.guess < request.count:
            pair = &request.pairs[self.guess]
            if pair.name_length == 11 and memcmp(start + pair.name_at, b"REQUEST_URI", 11) == 0:
                url, length = start + pair.name_at + 11, pair.value_length
        if url == NULL:
            found = request.find(b"REQUEST_URI", 11)
            if found.left >= 0:
                url, length = <const char*>found.at, found.left
                self.guess = place_of(request, url - 11 - start)
        length = min(length, <Py_ssize_t>URL_ROOM)
        open_url(&self.page.serial)
        if length > 0:
            query = <const char*>memchr(url, 63, length)  # "?"
            if query != NULL:
                length = query - url
            memcpy(self.page.url, url, length)
        self.page.url_length = <uint32_t>length
        close_url(&self.page.serial)
        self.state = self.page.state = STATE_HANDLING
        self.page.since = time

    def done(self, double seconds, double time):
        """A request has been answered, after so many seconds."""
        self.note_done(seconds, time)

    @cython.cdivision(True)
    cdef void note_done(self, double seconds, double time) noexcept:
        cdef uint64_t micro = <uint64_t>(seconds * 1e6) if 0 < seconds < 1e9 else 0
        cdef uint64_t window = <uint64_t>time // WINDOW_SECONDS
        cdef uint64_t bucket = micro
        cdef int power
        if micro >= 4:
            power = log2_of(micro)
            bucket = min((<uint64_t>power - 1) * 4 + ((micro >> (power - 2)) & 3), <uint64_t>HISTOGRAM - 1)
        if window != self.page.window:
            self.roll(window)
        self.page.requests += 1
        self.page.buckets[bucket] += 1

    cdef void roll(self, uint64_t window) noexcept:
        """A new window begins: what the last one began with is the one's before, where that was just before."""
        self.page.before = self.page.at if window == self.page.window + 1 else self.page.requests
        self.page.window = window
        self.page.at = self.page.requests


cdef Py_ssize_t place_of(Request request, Py_ssize_t name_at) noexcept:
    cdef Py_ssize_t index
    for index in range(request.count):
        if request.pairs[index].name_at == name_at:
            return index
    return 0
