from libc.stdint cimport uint8_t, uint32_t

from fastcore.compiled.buffer cimport Buffer


cdef struct Header:
    int type
    int request_id
    Py_ssize_t content_length
    Py_ssize_t padding_length


cdef int read_header(const uint8_t* data, Py_ssize_t length, Header* header) except -1
cdef int put_header(Buffer* out, int record_type, int request_id, Py_ssize_t content_length) except -1
cdef int put_stream(Buffer* out, int record_type, int request_id, const uint8_t* data, Py_ssize_t length) except -1
cdef int put_end_request(Buffer* out, int request_id, uint32_t app_status, int protocol_status) except -1
cpdef list parse_pairs(bytes data)
cpdef bytes build_pairs(object pairs)
