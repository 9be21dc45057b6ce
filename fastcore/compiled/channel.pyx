"""One accepted connection: the protocol's state, its socket, and the requests that are being answered on it.

What the records say is acted upon at once. No bytes are read or written here (see loop). The twin is
fastcore.pure.channel.
"""

from libc.stdint cimport uint8_t

from fastcore.compiled cimport protocol
from fastcore.compiled.connection cimport Connection, Inbound
from fastcore.compiled.exchange cimport Exchange
from fastcore.compiled.request cimport Request
from fastcore.compiled.system cimport now

from collections import deque

from fastcore.compiled.response import error_page

cdef enum:
    PHASE_PARAMS = 1
    REFUSED = 4


cdef class Channel(Connection):
    """One accepted connection: the protocol's state, its socket, and the requests being answered on it."""

    def __init__(self, int fd, limits, workers):
        Connection.__init__(self, limits, workers=workers)
        self.max_body_memory = limits.body_memory
        self.fd = fd
        self.interest = NOT_WATCHED
        self.ready = deque()
        self.answering = deque()
        self.watched_phase = PHASE_PARAMS
        self.since = now()

    cpdef on_request(self, Request request):
        request.spool_directory = self.spool_directory

    cdef int deliver_body(self, Request request, const uint8_t* data, Py_ssize_t length) except -1:
        try:
            request.add_body(data, length, self.max_body_memory)
        except OSError:  # no room for the temporary file
            self.on_refusal(request, 507)
        return 0

    cpdef on_body_end(self, Request request):
        try:
            request.finish_body()
        except OSError:  # what was written last did not fit
            self.on_refusal(request, 507)
        else:
            if request.role != protocol.FILTER:
                self.ready.append(request)

    cdef int deliver_data(self, Request request, const uint8_t* data, Py_ssize_t length) except -1:
        try:
            request.add_data(data, length, self.max_body_memory)
        except OSError:
            self.on_refusal(request, 507)
        return 0

    cpdef on_data_end(self, Request request):
        try:
            request.finish_data()
        except OSError:
            self.on_refusal(request, 507)
        else:
            self.ready.append(request)

    cpdef on_refusal(self, Request request, int status):
        head, text = error_page(status)
        self.send_stdout(request.request_id, head + text)
        self.end_request(request.request_id)
        request.close()

    cpdef on_abort(self, Request request):
        cdef Exchange exchange
        for exchange in list(self.answering):
            if exchange.request is request:
                self.answering.remove(exchange)
                exchange.close()
        if request in self.ready:
            self.ready.remove(request)
        request.close()

    cdef int abort(self, Inbound inbound) except -1:
        """A request whose answer has a task ends when that has ended: it is cancelled, once."""
        cdef Exchange exchange = self.with_task(inbound.request_id)
        if exchange is None:
            return Connection.abort(self, inbound)
        if not exchange.aborted:
            exchange.aborted = True
            self.enter(inbound, REFUSED)
            exchange.task.cancel()
        return 0

    cdef Exchange with_task(self, int request_id):
        """The exchange of this request, where a task has begun it; it waits for its end now."""
        cdef Exchange exchange
        if self.waiting is None:  # never has there been a task
            return None
        exchange = self.waiting.get(request_id)
        if exchange is not None:
            return exchange
        for exchange in self.answering:
            if exchange.request.request_id == request_id and exchange.task is not None:
                self.answering.remove(exchange)
                self.waiting[request_id] = exchange
                return exchange
        return None

    cdef int abandon(self) except -1:
        """The connection is gone: every answer is closed, every body freed. Returns how many tasks are still to end."""
        cdef int tasks = 0
        while self.answering:
            tasks += give_up(<Exchange>self.answering.popleft())
        while self.waiting:
            tasks += give_up(<Exchange>self.waiting.popitem()[1])
        while self.ready:
            (<Request>self.ready.popleft()).close()
        return tasks


cdef int give_up(Exchange exchange) except -1:
    if exchange.task is not None:
        exchange.task.cancel()
        return 1
    exchange.close()
    exchange.request.close()
    return 0
