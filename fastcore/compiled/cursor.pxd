# A checked place in raw memory: every byte is taken through here, never by index. No allocation, no Python objects.

from libc.stdint cimport uint8_t, uint32_t
from libc.stddef cimport size_t


cdef struct Cursor:
    const uint8_t* at    # the next byte
    Py_ssize_t left      # how many bytes are there


cdef inline Cursor cursor_over(const uint8_t* data, Py_ssize_t length) noexcept nogil:
    cdef Cursor cursor
    cursor.at = data
    cursor.left = length
    return cursor


cdef inline const uint8_t* take(Cursor* cursor, Py_ssize_t length) noexcept nogil:
    """The next `length` bytes, or NULL where they are not all there; then nothing is taken."""
    cdef const uint8_t* start = cursor.at
    if length < 0 or length > cursor.left:
        return NULL
    cursor.at += length
    cursor.left -= length
    return start


cdef inline int take_u8(Cursor* cursor) noexcept nogil:
    """The next byte, -1 at the end."""
    cdef const uint8_t* start = take(cursor, 1)
    return -1 if start == NULL else start[0]


cdef inline int take_u16(Cursor* cursor) noexcept nogil:
    """Two bytes, most significant first; -1 where they are not there."""
    cdef const uint8_t* start = take(cursor, 2)
    return -1 if start == NULL else start[0] << 8 | start[1]


cdef inline Py_ssize_t take_pair_length(Cursor* cursor) noexcept nogil:
    """A name or value length (FastCGI 1.0 §3.4): one byte below 128, else four bytes of which 31 bits count. -1: cut off."""
    cdef const uint8_t* start = take(cursor, 1)
    if start == NULL:
        return -1
    if start[0] < 128:
        return start[0]
    cdef const uint8_t* rest = take(cursor, 3)
    if rest == NULL:
        return -1
    return (<Py_ssize_t>(start[0] & 0x7F)) << 24 | <Py_ssize_t>rest[0] << 16 | <Py_ssize_t>rest[1] << 8 | rest[2]
