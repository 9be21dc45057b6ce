"""One accepted connection: the protocol's state, its socket, and the requests that are being answered on it.

What the records say is acted upon at once. No bytes are read or written here (see service). The twin is
fastcore.pure.channel.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint8_t

from fastcore.compiled cimport protocol
from fastcore.compiled.buffer cimport buffer_length
from fastcore.compiled.connection cimport Connection, Inbound
from fastcore.compiled.exchange cimport Exchange
from fastcore.compiled.records cimport put_header
from fastcore.compiled.request cimport Request
from fastcore.compiled.sendfile cimport FileRecord
from fastcore.compiled.stream cimport StreamBody
from fastcore.compiled.system cimport await_ready, now

from fastcore.compiled.response import error_page
from fastcore.errors import ClientGone, body_error

cdef enum:
    PHASE_PARAMS = 1
    PHASE_BODY = 2
    PHASE_ANSWERING = 3
    MAX_WAIT = 3600  # seconds of one poll()
    REFUSED = 4


READ_SIZE = READ_BYTES  # bytes of one recv()


@cython.final
cdef class Queue:
    """First in, first out. PERF: nearly all connections have one request at a time, which needs no list."""

    def __cinit__(self):
        self.others = []

    cdef int put(self, object item) except -1:
        if self.first is None:
            self.first = item
        else:
            self.others.append(item)
        return 0

    cdef object take(self):
        """The first one, which is there."""
        item = self.first
        self.first = self.others.pop(0) if self.others else None
        return item

    cdef int remove(self, object item) except -1:
        """Take one out that is in it."""
        if self.first is item:
            self.take()
        else:
            self.others.remove(item)
        return 0

    def __iter__(self):
        return iter([] if self.first is None else [self.first, *self.others])

    def __contains__(self, item):
        return item is not None and (item is self.first or item in self.others)


cdef class Waiter:
    """The worker loop, as a channel that streams its bodies knows it."""

    cdef int wait_for_input(self, Channel channel) except -1:
        """Block until something has come on this connection and is taken; a body that waits in vain is refused.

        For an application that reads its body as it comes; other connections wait. What comes for other requests of
        this one is kept for later.
        """
        cdef double deadline = now() + <double>channel.limits.body_timeout
        cdef bint full
        while not channel.closed:
            self.flush(channel)
            if channel.closed:
                return 0
            if self.stopping:
                return self.close(channel)
            if self.read_waiting(channel):
                return 0
            if now() >= deadline:
                channel.refuse_bodies(408)
                return 0
            full = has_output(channel)
            with nogil:
                await_ready(channel.fd, full, min(deadline - now(), <double>MAX_WAIT))
            PyErr_CheckSignals()
        return 0

    cdef bint read_waiting(self, Channel channel) except -1:
        raise NotImplementedError

    cdef int flush(self, Channel channel) except -1:
        raise NotImplementedError

    cdef int close(self, Channel channel) except -1:
        raise NotImplementedError

    cdef int watch(self, Channel channel) except -1:
        raise NotImplementedError


cdef bint has_gone(Exchange exchange, Channel channel) except -1:
    """Whether the client went while the application read its body, or another's; then its answer is closed."""
    cdef StreamBody arriving = exchange.request.get_arriving()
    if not channel.closed and (arriving is None or not arriving.gone):
        return False
    exchange.close()
    exchange.end()
    exchange.request.close()
    return True


cdef class Channel(Connection):
    """One accepted connection: the protocol's state, its socket, and the requests being answered on it."""

    def __init__(self, int fd, limits, workers):
        self.setup(limits, workers)
        self.max_body_memory = limits.body_memory
        self.fd = fd
        self.interest = NOT_WATCHED
        self.ready = Queue()
        self.answering = Queue()
        self.watched_phase = PHASE_PARAMS
        self.since = now()

    cdef bint has_work(self) noexcept:
        """Whether an application is to be called, or called again."""
        return self.ready.first is not None or self.answering.first is not None

    cpdef on_request(self, Request request):
        if self.waiter is not None and request.waits_for_body and request.role != protocol.FILTER:
            self.begin_stream(request, request.content_length)

    cdef int begin_stream(self, Request request, long long declared) except -1:
        """The application is called now and reads what comes."""
        request.stream_body(StreamBody(declared, self.max_body_memory, self.spool_directory, self))
        self.ready.put(request)
        return 0

    cdef int put_stream(self, StreamBody arriving, const uint8_t* data, Py_ssize_t length) except -1:
        """Hand on what came. Reading rests where it finds no room, unless others on this connection have to go on."""
        cdef long long memory = self.max_body_memory
        arriving.put_bytes(data, length)
        if arriving.holding() >= max(memory - READ_BYTES, memory // 2, 1) and len(self.inbound) == 1:
            arriving.paused = True
            self.held = arriving
        return 0

    def receive_more(self) -> None:
        """Wait for input of this connection and take it (Source)."""
        if self.waiter is not None:
            self.waiter.wait_for_input(self)

    def resume(self) -> None:
        """There is room again (Source)."""
        self.held = None
        if self.waiter is not None and not self.closed and self.interest != NOT_WATCHED:
            self.since = now()
            self.waiter.watch(self)

    cdef int deliver_body(self, Request request, const uint8_t* data, Py_ssize_t length) except -1:
        try:
            if type(request.made_body) is StreamBody:
                self.put_stream(<StreamBody>request.made_body, data, length)
            else:
                request.add_body(data, length, self.max_body_memory, self.spool_directory)
        except OSError:  # no room for the temporary file
            self.on_refusal(request, 507)
        return 0

    cpdef on_body_end(self, Request request):
        try:
            request.finish_body()
        except OSError:  # what was written last did not fit
            self.on_refusal(request, 507)
        else:
            if request.role == protocol.FILTER:
                if self.waiter is not None:
                    self.begin_stream(request, -1)
            elif type(request.made_body) is not StreamBody:
                self.ready.put(request)

    cdef int deliver_data(self, Request request, const uint8_t* data, Py_ssize_t length) except -1:
        try:
            if type(request.made_data) is StreamBody:
                self.put_stream(<StreamBody>request.made_data, data, length)
            else:
                request.add_data(data, length, self.max_body_memory, self.spool_directory)
        except OSError:
            self.on_refusal(request, 507)
        return 0

    cpdef on_data_end(self, Request request):
        try:
            request.finish_data()
        except OSError:
            self.on_refusal(request, 507)
        else:
            if type(request.made_data) is not StreamBody:
                self.ready.put(request)

    cpdef on_refusal(self, Request request, int status):
        cdef StreamBody arriving = request.get_arriving()
        if arriving is not None:
            if request not in self.ready:  # it is being answered
                arriving.fail(body_error(status))
                return
            self.ready.remove(request)
        head, text = error_page(status)
        self.send_stdout(request.request_id, head + text)
        self.end_request(request.request_id)
        request.close()

    cpdef on_abort(self, Request request):
        cdef Exchange exchange
        cdef StreamBody arriving = request.get_arriving()
        if arriving is not None:
            arriving.gone = True
            arriving.fail(ClientGone("the client has given the request up"))
        for exchange in self.answering:
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
            if exchange.request.get_arriving() is not None:  # it may be waited for just now, by a plain read()
                exchange.request.get_arriving().fail(ClientGone("the client has given the request up"))
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

    cdef int announce(self, FileRecord record, int request_id) except -1:
        """Put the header of a record into the output; its content follows from its file."""
        put_header(&self.output, protocol.STDOUT, request_id, record.left)
        self.ahead = buffer_length(&self.output)
        self.filling = record
        return 0

    cdef int judge(self, double waited) except -1:
        """What is to be done about a connection that made no progress for `waited` seconds: ON_TIME for nothing."""
        cdef int phase = self.current_phase()
        if self.lingering:
            return OVERDUE if waited > <double>self.limits.linger_timeout else ON_TIME
        if has_output(self):
            return OVERDUE if waited > <double>self.limits.write_timeout else ON_TIME
        if phase == PHASE_BODY:
            return BODY_OVERDUE if waited > <double>self.limits.body_timeout and self.held is None else ON_TIME
        if self.retiring and self.fresh:
            return RETIRED
        if phase == PHASE_ANSWERING:
            return ON_TIME  # the application's iterator sets its own pace
        if phase == PHASE_PARAMS:
            return OVERDUE if waited > <double>self.limits.header_timeout else ON_TIME
        return OVERDUE if waited > <double>self.limits.idle_timeout else ON_TIME

    cdef int abandon(self) except -1:
        """The connection is gone: every answer is closed, every body freed. Returns how many tasks are still to end."""
        cdef int tasks = 0
        cdef Inbound inbound
        if self.waiter is not None:
            for inbound in self.inbound.values():
                if inbound.request is not None and inbound.request.get_arriving() is not None:  # it may be read just now
                    inbound.request.get_arriving().gone = True
                    inbound.request.get_arriving().fail(ClientGone("the client has left"))
            self.waiter = None
        while self.answering.first is not None:
            tasks += give_up(<Exchange>self.answering.take())
        while self.waiting:
            tasks += give_up(<Exchange>self.waiting.popitem()[1])
        while self.ready.first is not None:
            (<Request>self.ready.take()).close()
        return tasks


cdef int give_up(Exchange exchange) except -1:
    if exchange.task is not None:
        exchange.task.cancel()
        return 1
    exchange.close()
    exchange.request.close()
    return 0
