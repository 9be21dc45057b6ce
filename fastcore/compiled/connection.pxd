from libc.stdint cimport uint8_t

from fastcore.compiled.buffer cimport Buffer
from fastcore.compiled.cursor cimport Cursor
from fastcore.compiled.records cimport Header
from fastcore.compiled.request cimport Request


cdef enum:  # the states of one request, its streams, and bounds
    STATE_READING_PARAMS = 1
    STATE_READING_BODY = 2
    STATE_COMPLETE = 3
    STATE_REFUSED = 4
    STATE_ENDED = 5
    STATE_READING_DATA = 6
    STDIN_OPEN = 1
    DATA_OPEN = 2
    MOST_DRAINING = 1000
    BEGIN_REQUEST_BYTES = 8


cdef enum Sink:
    DISCARD
    GATHER
    TO_PARAMS
    TO_BODY
    TO_DATA


cdef class Inbound:
    cdef int request_id
    cdef int role
    cdef bint keep_connection
    cdef int state
    cdef bytes whole_params     # all that has come of PARAMS, if it came in one piece; else None
    cdef Buffer params          # what has come of PARAMS in pieces
    cdef Request request        # None until PARAMS are complete or refused
    cdef long long received     # bytes of body, then of a filter's data
    cdef int input_open         # streams that have not ended: STDIN_OPEN, DATA_OPEN
    cdef bint stderr_used


cdef class Connection:
    cdef readonly object limits
    cdef readonly int workers
    cdef public bint closing          # a request without KEEP_CONN was begun
    cdef int roles                    # bit 1 << role for each that is served
    cdef bint overload_page
    cdef dict draining                # ended requests → their streams that have not ended; None where there never was one
    cdef readonly bint failed         # by a ProtocolError or break_off(): nothing more is read
    cdef readonly bint asked_values   # the peer knows GET_VALUES_RESULT
    cdef readonly bint told_end       # and was told that no further request is wanted
    cdef public bint fresh            # no record has come yet, or none since announce_end()
    cdef dict inbound                 # active requests: id → Inbound
    cdef Inbound last                 # the one the current record belongs to, None where it belongs to none
    cdef int reading_params           # how many requests are in this state
    cdef int reading_body
    cdef Buffer output
    cdef list events
    cdef uint8_t[8] header_bytes      # a header that is not whole yet
    cdef int header_length
    cdef Header header                # the record being read
    cdef Py_ssize_t content_left
    cdef Py_ssize_t padding_left
    cdef bint empty
    cdef Sink sink
    cdef Buffer gathered
    cdef uint8_t[8] begin_bytes       # a BEGIN_REQUEST that came in pieces
    cdef Py_ssize_t max_params_bytes, max_params_count, max_body, max_requests, max_errors

    cdef int setup(self, limits, int workers) except -1
    cpdef on_request(self, Request request)
    cpdef on_body(self, Request request, bytes data)
    cpdef on_body_end(self, Request request)
    cpdef on_data(self, Request request, bytes data)
    cpdef on_data_end(self, Request request)
    cpdef on_refusal(self, Request request, int status)
    cpdef on_abort(self, Request request)

    cdef int deliver_body(self, Request request, const uint8_t* data, Py_ssize_t length) except -1
    cdef int deliver_data(self, Request request, const uint8_t* data, Py_ssize_t length) except -1
    cdef int current_phase(self) noexcept
    cdef int feed(self, const uint8_t* data, Py_ssize_t length) except -1
    cdef int consume(self, Cursor data) except -1
    cdef int begin_record(self, const uint8_t* data) except -1
    cdef Sink sink_of_management(self) except *
    cdef Sink sink_of_application(self) except *
    cdef int take_content(self, const uint8_t* data, Py_ssize_t length) except -1
    cdef int take_gathered(self, const uint8_t* data, Py_ssize_t length) except -1
    cdef int take_params(self, const uint8_t* data, Py_ssize_t length) except -1
    cdef int take_body(self, const uint8_t* data, Py_ssize_t length) except -1
    cdef int take_data(self, const uint8_t* data, Py_ssize_t length) except -1
    cdef int end_body(self, Inbound inbound) except -1
    cdef int end_record(self) except -1
    cdef int drain(self) except -1
    cdef int await_input(self, int request_id, int streams) except -1
    cdef int begin_request(self, Cursor content) except -1
    cdef int refuse_begin(self, int role, int reason) except -1
    cdef int enter(self, Inbound inbound, int state) except -1
    cdef int end_params(self, Inbound inbound) except -1
    cdef int refuse(self, Inbound inbound, Request request, int status) except -1
    cdef int end_stdin(self, Inbound inbound) except -1
    cdef int end_data(self, Inbound inbound) except -1
    cdef int abort(self, Inbound inbound) except -1
    cdef int answer_values(self) except -1
    cdef int tell_values(self, asked) except -1
    cpdef announce_end(self)
    cpdef refuse_bodies(self, int status)
    cdef Inbound require_active(self, int request_id)
    cpdef send_stdout(self, int request_id, bytes data)
    cpdef send_stderr(self, int request_id, bytes data)
    cpdef end_request(self, int request_id, app_status=*)
    cpdef break_off(self, int request_id)
