from fastcore.compiled.peers cimport Peers


cdef enum:
    NONE_WAITS = -1            # what take() says where there is no connection


cdef class Acceptor:
    cdef object listener
    cdef int fd
    cdef Peers peers
    cdef object complain
    cdef int epoll             # -1 while the loop does not run
    cdef bint accepting        # epoll watches the listener for us
    cdef int batch             # connections to take before the others are looked at
    cdef int full_turns
    cdef double again          # seconds (monotonic): when to try again after exhaustion; 0 for not at all

    cdef int begin(self, int epoll) except -1
    cdef int watch(self) except -1
    cdef int leave(self) except -1
    cdef int take(self, bint* remote) except -2
    cdef void note_more(self) noexcept
    cdef int pause(self, str reason) except -1
    cdef int try_again(self, double time) except -1
    cdef int end(self) except -1
