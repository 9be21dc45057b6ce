# A growing byte buffer that is filled at its end and emptied at its start. The owner frees it.

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove


cdef struct Buffer:
    uint8_t* data
    Py_ssize_t start     # first byte not taken yet
    Py_ssize_t end       # one past the last byte
    Py_ssize_t capacity


cdef inline Py_ssize_t buffer_length(const Buffer* buffer) noexcept nogil:
    return buffer.end - buffer.start


cdef inline int buffer_reserve(Buffer* buffer, Py_ssize_t room) except -1:
    """Make sure that `room` bytes can be put; raises MemoryError."""
    cdef Py_ssize_t capacity
    cdef uint8_t* data
    if buffer.start == buffer.end:
        buffer.start = buffer.end = 0
    if buffer.capacity - buffer.end >= room:
        return 0
    if buffer.start:
        memmove(buffer.data, buffer.data + buffer.start, buffer.end - buffer.start)
        buffer.end -= buffer.start
        buffer.start = 0
        if buffer.capacity - buffer.end >= room:
            return 0
    capacity = max(buffer.capacity, 512)
    while capacity - buffer.end < room:
        capacity *= 2
    data = <uint8_t*>realloc(buffer.data, capacity)
    if data == NULL:
        raise MemoryError()
    buffer.data = data
    buffer.capacity = capacity
    return 0


cdef inline int buffer_put(Buffer* buffer, const void* data, Py_ssize_t length) except -1:
    buffer_reserve(buffer, length)
    if length:
        memcpy(buffer.data + buffer.end, data, length)
        buffer.end += length
    return 0


cdef inline void buffer_drop(Buffer* buffer, Py_ssize_t length) noexcept nogil:
    """Forget the first `length` bytes, at most all."""
    buffer.start = min(buffer.start + length, buffer.end)
    if buffer.start == buffer.end:
        buffer.start = buffer.end = 0


cdef inline void buffer_free(Buffer* buffer) noexcept nogil:
    free(buffer.data)
    buffer.data = NULL
    buffer.start = buffer.end = buffer.capacity = 0
