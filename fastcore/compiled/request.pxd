from libc.stdint cimport uint8_t, uint32_t

from fastcore.compiled.cursor cimport Cursor
from fastcore.compiled.stream cimport StreamBody


cdef struct Pair:
    Py_ssize_t name_at       # offset of the name in the raw parameters
    Py_ssize_t name_length
    Py_ssize_t value_length  # the value follows its name


cdef enum:
    FIRST_PAIRS = 40             # room in a request itself, before the table moves to memory of its own


cdef class Request:
    cdef readonly int request_id
    cdef readonly int role
    cdef readonly bint keep_connection
    cdef readonly long long content_length  # bytes; CONTENT_LENGTH, or what was received; -1 unknown, -2 nonsense
    cdef readonly bint waits_for_body
    cdef readonly bint undeclared           # it waits for a body of which no length was named
    cdef bint is_head                       # the method is HEAD: its answer has no body
    cdef readonly long long data_length     # bytes; FCGI_DATA_LENGTH; -1 unknown, -2 nonsense
    cdef readonly long long data_last_modified  # seconds since 1970; -1 unknown
    cdef bytes raw                          # the PARAMS stream
    cdef Pair* pairs                        # `count` of them; HTTP_PROXY is left out
    cdef Pair[FIRST_PAIRS] first_pairs      # where `pairs` points unless there are more
    cdef Py_ssize_t count
    cdef Py_ssize_t length_index            # in `pairs`, of CONTENT_LENGTH, REQUEST_METHOD and HTTP_TRANSFER_ENCODING; -1
    cdef Py_ssize_t method_index
    cdef Py_ssize_t coding_index
    cdef dict made_environ
    cdef object made_body                   # a BodyStore while it comes, then a file; or a StreamBody; None: empty
    cdef object made_data                   # a filter's file in the same way
    cdef long long data_count               # bytes of that file
    cdef bytearray errors                   # None until text is written
    cdef Py_ssize_t error_limit             # bytes; set by the connection

    cdef int setup(self, int request_id, int role, bint keep_connection, bytes raw) except -1
    cdef int read_pairs(self) except -1
    cdef Pair* more_pairs(self) except NULL
    cdef Cursor find(self, const char* name, Py_ssize_t length)
    cdef Cursor value_at(self, Py_ssize_t index)
    cdef bint wants_body(self)
    cdef int setup_role(self) except -1
    cdef StreamBody get_arriving(self)
    cpdef stream_body(self, StreamBody arriving)
    cdef int add_body(self, const uint8_t* data, Py_ssize_t length, long long memory, str directory) except -1
    cdef int add_data(self, const uint8_t* data, Py_ssize_t length, long long memory, str directory) except -1
    cpdef finish_body(self)
    cpdef finish_data(self)
    cpdef bytes take_errors(self)
    cpdef close(self)


cdef Request new_request(int request_id, int role, bint keep_connection, bytes raw_params)
