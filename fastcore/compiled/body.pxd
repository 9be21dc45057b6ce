from libc.stdint cimport uint8_t

from fastcore.compiled.buffer cimport Buffer


cdef class BodyStore:
    cdef readonly long long received  # bytes
    cdef long long memory             # bytes kept before a file takes it all
    cdef long long expected           # bytes, 0 where unknown: room is made for them at once
    cdef object directory
    cdef bytes whole                  # the stream as it fills up, where its length is known and small; else None
    cdef Buffer buffer                # the whole stream, or what is not written yet
    cdef int fd

    cdef int put_bytes(self, const uint8_t* data, Py_ssize_t length) except -1
    cdef int leave_whole(self) except -1
    cdef int write_buffer(self) except -1
    cpdef finish(self)
    cpdef close(self)


cdef BodyStore new_store(long long memory, long long expected, object directory)
