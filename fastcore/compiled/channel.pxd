from libc.stdint cimport uint8_t

from fastcore.compiled.buffer cimport buffer_length
from fastcore.compiled.connection cimport Connection, Inbound
from fastcore.compiled.exchange cimport Exchange
from fastcore.compiled.request cimport Request
from fastcore.compiled.sendfile cimport FileRecord
from fastcore.compiled.stream cimport StreamBody


cdef enum:
    NOT_WATCHED = -1
    ON_TIME = 0                # what judge() says
    OVERDUE = 1
    BODY_OVERDUE = 2
    RETIRED = 3
    READ_BYTES = 65536         # of one recv()


cdef class Queue:
    cdef object first          # None where it is empty
    cdef list others           # behind it

    cdef int put(self, object item) except -1
    cdef object take(self)
    cdef int remove(self, object item) except -1


cdef class Waiter:
    cdef bint stopping

    cdef int wait_for_input(self, Channel channel) except -1
    cdef bint read_waiting(self, Channel channel) except -1
    cdef int flush(self, Channel channel) except -1
    cdef int close(self, Channel channel) except -1
    cdef int watch(self, Channel channel) except -1


cdef class Channel(Connection):
    cdef int fd
    cdef int interest          # what epoll watches for us
    cdef Queue ready           # Requests whose input is complete, application not called yet
    cdef Queue answering       # Exchanges that are not finished
    cdef dict waiting          # by request id: Exchanges whose task has the turn; None until there is one
    cdef FileRecord filling    # announced; nothing else is sent until its content is; None otherwise
    cdef Py_ssize_t ahead      # bytes of the output that go before this content
    cdef bint remote           # not a unix socket
    cdef bint eof              # the peer will send no more; it may still read
    cdef bint lingering
    cdef bint retiring         # the loop drains: one more request may be on its way, and then no more
    cdef bint closed
    cdef int watched_phase
    cdef double since          # seconds: when this phase began, or made progress
    cdef str spool_directory   # where long bodies go; None for the usual place
    cdef long long max_body_memory
    cdef Waiter waiter         # there where bodies are streamed
    cdef StreamBody held       # what has no room; nothing is read until it has

    cdef bint has_work(self) noexcept
    cpdef on_request(self, Request request)
    cdef int begin_stream(self, Request request, long long declared) except -1
    cdef int put_stream(self, StreamBody arriving, const uint8_t* data, Py_ssize_t length) except -1
    cdef int deliver_body(self, Request request, const uint8_t* data, Py_ssize_t length) except -1
    cpdef on_body_end(self, Request request)
    cdef int deliver_data(self, Request request, const uint8_t* data, Py_ssize_t length) except -1
    cpdef on_data_end(self, Request request)
    cpdef on_refusal(self, Request request, int status)
    cpdef on_abort(self, Request request)
    cdef int abort(self, Inbound inbound) except -1
    cdef Exchange with_task(self, int request_id)
    cdef int announce(self, FileRecord record, int request_id) except -1
    cdef int judge(self, double waited) except -1
    cdef int abandon(self) except -1


cdef inline bint has_output(Channel channel) noexcept:
    """Whether something waits to be sent."""
    return buffer_length(&channel.output) > 0 or channel.filling is not None


cdef bint has_gone(Exchange exchange, Channel channel) except -1
