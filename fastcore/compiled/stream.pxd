from libc.stdint cimport uint8_t

from fastcore.compiled.buffer cimport Buffer


cdef class StreamBody:
    cdef readonly long long received  # bytes
    cdef readonly bint ended          # all has come
    cdef readonly bint closed
    cdef public bint gone             # nobody waits for an answer any more
    cdef public bint paused           # the source reads no more until there is room
    cdef public object on_more        # called, once, when more has come, or none will
    cdef long long declared           # bytes, -1 where unknown
    cdef long long memory
    cdef object directory
    cdef object source
    cdef long thread                  # the one that has made it
    cdef object error
    cdef Buffer buffer
    cdef int fd
    cdef long long file_start         # what is in the file and comes after the buffer
    cdef long long file_end
    cdef uint8_t* target              # where a read() that waits wants its bytes; NULL where none does
    cdef Py_ssize_t target_left

    cdef long long holding(self) noexcept
    cdef int put_bytes(self, const uint8_t* data, Py_ssize_t length) except -1
    cpdef end(self)
    cpdef fail(self, error)
    cdef int leave_source(self) except -1
    cdef int tell(self) except -1
    cdef int spill(self, bytes data) except -1
    cdef int check_thread(self) except -1
    cdef int wait(self) except -1
    cdef bint fill(self) except -1
    cdef int unspill(self) except -1
    cdef bytes take(self, Py_ssize_t size)
    cdef int unpause(self) except -1
    cdef bytes read_some(self, Py_ssize_t size)
    cdef bytes read_into_place(self, Py_ssize_t size)
    cpdef close(self)
