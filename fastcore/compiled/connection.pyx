"""The FastCGI connection without a socket: bytes in → events, answers → bytes out (FastCGI 1.0 §3, §4, §5).

Content is consumed as it comes; only management records and BEGIN_REQUEST wait until they are whole. Only ProtocolError
escapes receive_data(); after it the connection is dead. The twin, which specifies it, is fastcore.pure.connection.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from fastcore.compiled cimport protocol
from fastcore.compiled.buffer cimport Buffer, buffer_drop, buffer_free, buffer_length, buffer_put
from fastcore.compiled.cursor cimport Cursor, cursor_over, take, take_u16, take_u8
from fastcore.compiled.records cimport build_pairs, parse_pairs, put_end_request, put_header, put_stream, read_header
from fastcore.compiled.request cimport Request, new_request
from fastcore.compiled.response cimport build_head

from fastcore.compiled.records import build_unknown_type
from fastcore.constants import BROKEN_OFF, MAX_CONNS, MAX_REQS, MPXS_CONNS, RESPONDER
from fastcore.errors import ProtocolError
from fastcore.events import (
    BodyEnded, BodyReceived, DataEnded, DataReceived, RequestAborted, RequestReceived, RequestRefused,
)
from fastcore.limits import DEFAULT_LIMITS
from fastcore.statuses import OVERLOAD_PAGE

# The states of one request. BEGIN_REQUEST makes it, END_REQUEST (ours) forgets it.
READING_PARAMS = STATE_READING_PARAMS  # PARAMS accepted; STDIN is an error
READING_BODY = STATE_READING_BODY  # STDIN accepted; PARAMS is an error
COMPLETE = STATE_COMPLETE  # all input is there; further input is ignored
REFUSED = STATE_REFUSED  # a limit was passed; further input is ignored
ENDED = STATE_ENDED  # END_REQUEST is queued; the id is free
READING_DATA = STATE_READING_DATA  # a filter's STDIN is complete; DATA accepted
MAX_DRAINING = MOST_DRAINING  # ended requests of one connection whose input is still awaited

# The phases of a connection, from which its owner chooses a time-out
IDLE, PHASE_PARAMS, PHASE_BODY, ANSWERING = range(4)


@cython.freelist(32)
cdef class Inbound:
    """What the connection knows of one active id. `request` is there once its PARAMS are complete or refused."""

    def __cinit__(self):
        self.state = STATE_READING_PARAMS
        self.input_open = STDIN_OPEN

    def __dealloc__(self):
        buffer_free(&self.params)


cdef inline int streams_of(int role) noexcept:
    """The streams that a client ends after PARAMS."""
    return STDIN_OPEN | DATA_OPEN if role == protocol.FILTER else STDIN_OPEN


cdef class Connection:
    """The server's side of one FastCGI connection.

    Example::

        connection = Connection()
        for event in connection.receive_data(sock.recv(65536)):
            if isinstance(event, RequestReceived):
                connection.send_stdout(event.request.request_id, b"Status: 204 No Content\\r\\n\\r\\n")
                connection.end_request(event.request.request_id)
        sock.sendall(connection.data_to_send())
    """

    def __init__(self, limits=DEFAULT_LIMITS, *, workers: int = 1, roles=(RESPONDER,), overload="protocol"):
        """What to accept.

        Args:
            limits: bound what is accepted.
            workers: how many processes share the listener (told by GET_VALUES).
            roles: RESPONDER, AUTHORIZER, FILTER (fastcore.constants); others get FCGI_UNKNOWN_ROLE.
            overload: what a request over `limits.requests_per_connection` gets: FCGI_OVERLOADED, or a 503 page.
        """
        for role in roles:
            self.roles |= 1 << role
        self.overload_page = overload == "page"
        self.setup(limits, workers)

    cdef int setup(self, limits, int workers) except -1:
        """__init__() for an owner in C, which sets the options itself."""
        self.limits = limits
        self.workers = workers
        self.fresh = True
        self.inbound = {}
        self.events = []
        self.max_params_bytes = limits.params_bytes
        self.max_params_count = limits.params_count
        self.max_body = limits.body
        self.max_errors = limits.stderr_bytes
        self.max_requests = limits.requests_per_connection
        return 0

    def __dealloc__(self):
        buffer_free(&self.output)
        buffer_free(&self.gathered)

    # What happened: overridden by an owner that wants to act at once instead of reading events.

    cpdef on_request(self, Request request):
        self.events.append(RequestReceived(request))

    cpdef on_body(self, Request request, bytes data):
        self.events.append(BodyReceived(request, data))

    cpdef on_body_end(self, Request request):
        self.events.append(BodyEnded(request))

    cpdef on_data(self, Request request, bytes data):
        self.events.append(DataReceived(request, data))

    cpdef on_data_end(self, Request request):
        self.events.append(DataEnded(request))

    cpdef on_refusal(self, Request request, int status):
        self.events.append(RequestRefused(request, status))

    cpdef on_abort(self, Request request):
        self.events.append(RequestAborted(request))

    cdef int deliver_body(self, Request request, const uint8_t* data, Py_ssize_t length) except -1:
        """on_body() for an owner in C, without an object of bytes."""
        self.on_body(request, PyBytes_FromStringAndSize(<const char*>data, length))
        return 0

    cdef int deliver_data(self, Request request, const uint8_t* data, Py_ssize_t length) except -1:
        """on_data() for an owner in C."""
        self.on_data(request, PyBytes_FromStringAndSize(<const char*>data, length))
        return 0

    # Bytes in

    @property
    def active_requests(self) -> int:
        """How many requests have begun and not ended."""
        return len(self.inbound)

    @property
    def input_pending(self) -> bool:
        """Whether an ended request's input has not ended: closing with unread input would lose the answer."""
        return bool(self.draining)

    @property
    def phase(self) -> int:
        """What the peer is expected to do next: IDLE, PHASE_PARAMS, PHASE_BODY or ANSWERING (it waits for us)."""
        return self.current_phase()

    cdef int current_phase(self) noexcept:
        if self.failed:
            return 0
        if self.reading_params:
            return 1
        if self.reading_body:
            return 2
        if self.inbound:
            return 3
        if self.fresh or self.header_length or (self.content_left and self.sink != DISCARD):
            return 1
        return 0  # or what comes is thrown away: any byte of it is progress

    def receive_data(self, data: bytes) -> list:
        """Take bytes from the peer; returns what they mean, in order.

        Raises ProtocolError where they are not FastCGI: close the connection. Events before the error are lost with it.
        """
        if self.failed:
            raise ProtocolError("the connection has already failed")
        self.feed(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        events, self.events = self.events, []
        return events

    cdef int feed(self, const uint8_t* data, Py_ssize_t length) except -1:
        """receive_data() for a caller in C; what it means is told through the on_ methods."""
        try:
            return self.consume(cursor_over(data, length))
        except ProtocolError:
            self.failed = True
            self.events = []
            raise

    cdef int consume(self, Cursor data) except -1:
        cdef Py_ssize_t size
        while data.left:
            if self.content_left:
                size = min(self.content_left, data.left)
                self.content_left -= size
                self.take_content(take(&data, size), size)
                if not self.content_left:
                    self.end_record()
            elif self.padding_left:
                size = min(self.padding_left, data.left)
                self.padding_left -= size
                take(&data, size)
            elif not self.header_length and data.left >= protocol.HEADER_LENGTH:
                self.begin_record(take(&data, protocol.HEADER_LENGTH))
            else:
                size = min(protocol.HEADER_LENGTH - self.header_length, data.left)
                memcpy(self.header_bytes + self.header_length, take(&data, size), size)
                self.header_length += size
                if self.header_length == protocol.HEADER_LENGTH:
                    self.begin_record(self.header_bytes)
        return 0

    cdef int begin_record(self, const uint8_t* data) except -1:
        read_header(data, protocol.HEADER_LENGTH, &self.header)
        self.header_length = 0
        self.content_left = self.header.content_length
        self.padding_left = self.header.padding_length
        self.fresh = False
        self.empty = self.content_left == 0
        if self.header.request_id == protocol.NULL_REQUEST_ID:
            self.last = None
            self.sink = self.sink_of_management()
        else:
            if self.last is None or self.last.request_id != self.header.request_id or self.last.state == STATE_ENDED:
                self.last = self.inbound.get(self.header.request_id)
            self.sink = self.sink_of_application()
        if not self.content_left:
            self.end_record()
        return 0

    cdef Sink sink_of_management(self) except *:
        if self.header.type in (
            protocol.BEGIN_REQUEST, protocol.ABORT_REQUEST, protocol.PARAMS, protocol.STDIN, protocol.DATA
        ):
            raise ProtocolError(f"record type {self.header.type} needs a request id")
        return GATHER if self.header.type == protocol.GET_VALUES else DISCARD

    cdef Sink sink_of_application(self) except *:
        """Where the content of a request's record goes. Ids that are not active are ignored (§3.3)."""
        cdef int record_type = self.header.type
        if record_type == protocol.BEGIN_REQUEST:
            if self.content_left != 8:
                raise ProtocolError(f"BEGIN_REQUEST has {self.content_left} bytes instead of 8")
            return GATHER
        if self.last is None:
            return DISCARD
        if record_type == protocol.PARAMS:
            if self.last.state == STATE_REFUSED:
                return DISCARD
            if self.last.state != STATE_READING_PARAMS:
                raise ProtocolError("PARAMS after the end of PARAMS")
            return TO_PARAMS
        if record_type == protocol.STDIN:
            if self.last.state == STATE_READING_PARAMS:
                raise ProtocolError("STDIN before the end of PARAMS")
            return TO_BODY if self.last.state == STATE_READING_BODY else DISCARD
        if record_type == protocol.DATA and self.last.role == protocol.FILTER and self.last.state != STATE_REFUSED:
            if self.last.state == STATE_READING_PARAMS or self.last.state == STATE_READING_BODY:
                raise ProtocolError("DATA before the end of STDIN")  # §6.4: STDIN first
            return TO_DATA if self.last.state == STATE_READING_DATA else DISCARD
        return DISCARD

    cdef int take_content(self, const uint8_t* data, Py_ssize_t length) except -1:
        if self.sink == TO_PARAMS:
            return self.take_params(data, length)
        if self.sink == TO_BODY:
            return self.take_body(data, length)
        if self.sink == GATHER:
            return self.take_gathered(data, length)
        if self.sink == TO_DATA:
            return self.take_data(data, length)
        return 0

    cdef int take_gathered(self, const uint8_t* data, Py_ssize_t length) except -1:
        """BEGIN_REQUEST and GET_VALUES wait until they are whole; most come whole."""
        if self.header.type == protocol.BEGIN_REQUEST:
            if length == BEGIN_REQUEST_BYTES:
                return self.begin_request(cursor_over(data, length))
            buffer_put(&self.gathered, data, length)
            if self.content_left:
                return 0
            memcpy(self.begin_bytes, self.gathered.data + self.gathered.start, BEGIN_REQUEST_BYTES)
            buffer_drop(&self.gathered, BEGIN_REQUEST_BYTES)
            return self.begin_request(cursor_over(self.begin_bytes, BEGIN_REQUEST_BYTES))
        return buffer_put(&self.gathered, data, length)

    cdef int take_params(self, const uint8_t* data, Py_ssize_t length) except -1:
        cdef Inbound inbound = self.last
        cdef bytes whole = inbound.whole_params
        cdef Py_ssize_t before = buffer_length(&inbound.params) if whole is None else PyBytes_GET_SIZE(whole)
        if before + length > self.max_params_bytes:
            return self.refuse(inbound, new_request(inbound.request_id, inbound.role, inbound.keep_connection, b""), 431)
        if not before:
            inbound.whole_params = PyBytes_FromStringAndSize(<const char*>data, length)
            return 0
        if whole is not None:
            inbound.whole_params = None
            buffer_put(&inbound.params, PyBytes_AS_STRING(whole), before)
        return buffer_put(&inbound.params, data, length)

    cdef int take_body(self, const uint8_t* data, Py_ssize_t length) except -1:
        """Deliver a piece of STDIN, cut at CONTENT_LENGTH, refused past the limit where no length was declared."""
        cdef Inbound inbound = self.last
        cdef Request request = inbound.request
        cdef long long declared = request.content_length
        if declared < 0:
            if inbound.received + length > self.max_body:
                return self.refuse(inbound, request, 413)
        elif inbound.received + length > declared:
            length = declared - inbound.received
        inbound.received += length
        self.deliver_body(request, data, length)
        if inbound.received == declared and inbound.state == STATE_READING_BODY:
            self.sink = DISCARD
            self.end_body(inbound)
        return 0

    cdef int take_data(self, const uint8_t* data, Py_ssize_t length) except -1:
        """Deliver a piece of a filter's file, refused past the limit; it is not cut, so that a wrong length shows."""
        cdef Inbound inbound = self.last
        if inbound.received + length > self.max_body:
            return self.refuse(inbound, inbound.request, 413)
        inbound.received += length
        return self.deliver_data(inbound.request, data, length)

    cdef int end_body(self, Inbound inbound) except -1:
        """STDIN is complete: a responder's input is, a filter's file follows."""
        inbound.received = 0
        self.enter(inbound, STATE_READING_DATA if inbound.role == protocol.FILTER else STATE_COMPLETE)
        self.on_body_end(inbound.request)
        return 0

    cdef int end_record(self) except -1:
        """A record's content is complete; an empty one ends a stream (§3.3)."""
        cdef Inbound inbound = self.last
        if self.sink == GATHER:
            if self.header.type == protocol.GET_VALUES:
                self.answer_values()
            return 0
        if self.header.request_id == protocol.NULL_REQUEST_ID:
            unknown = build_unknown_type(self.header.type)
            return buffer_put(&self.output, PyBytes_AS_STRING(unknown), PyBytes_GET_SIZE(unknown))
        if inbound is None or inbound.state == STATE_ENDED:
            return self.drain() if self.draining is not None else 0
        if self.header.type == protocol.ABORT_REQUEST:
            self.abort(inbound)
        elif self.header.type == protocol.PARAMS:
            if self.empty and inbound.state == STATE_READING_PARAMS:
                self.end_params(inbound)
        elif self.header.type == protocol.STDIN and self.empty:
            self.end_stdin(inbound)
        elif self.header.type == protocol.DATA and self.empty:
            self.end_data(inbound)
        return 0

    cdef int drain(self) except -1:
        """A record for a request that is not active: its input may end here."""
        cdef int streams
        if self.header.type == protocol.ABORT_REQUEST:
            self.draining.pop(self.header.request_id, None)
        elif self.empty and self.header.type in (protocol.STDIN, protocol.DATA):
            streams = self.draining.pop(self.header.request_id, 0)
            streams &= ~(STDIN_OPEN if self.header.type == protocol.STDIN else DATA_OPEN)
            self.await_input(self.header.request_id, streams)
        return 0

    cdef int await_input(self, int request_id, int streams) except -1:
        """Remember that input of a request that was answered is still to come."""
        if streams:
            if self.draining is None:
                self.draining = {}
            if len(self.draining) == MOST_DRAINING:
                del self.draining[next(iter(self.draining))]  # the oldest
            self.draining[request_id] = streams
        return 0

    cdef int begin_request(self, Cursor content) except -1:
        cdef int role = take_u16(&content)
        cdef bint keep_connection = take_u8(&content) & protocol.KEEP_CONN
        cdef Inbound inbound
        if self.last is not None and self.last.state != STATE_ENDED:
            raise ProtocolError(f"BEGIN_REQUEST for request {self.header.request_id}, which is active")
        if not keep_connection:
            self.closing = True
        if self.draining is not None:
            self.draining.pop(self.header.request_id, None)
        if role > protocol.FILTER or not self.roles >> role & 1:
            return self.refuse_begin(role, protocol.UNKNOWN_ROLE)
        if len(self.inbound) >= self.max_requests:
            return self.refuse_begin(role, protocol.CANT_MPX_CONN if self.max_requests == 1 else protocol.OVERLOADED)
        inbound = Inbound.__new__(Inbound)
        inbound.request_id = self.header.request_id
        inbound.role = role
        if role == protocol.FILTER:
            inbound.input_open = STDIN_OPEN | DATA_OPEN
        inbound.keep_connection = keep_connection
        self.inbound[self.header.request_id] = inbound
        self.last = inbound
        self.reading_params += 1
        return 0

    cdef int refuse_begin(self, int role, int reason) except -1:
        """Answer BEGIN_REQUEST at once; the request's other records are ignored."""
        cdef bytes page
        if reason == protocol.OVERLOADED and self.overload_page:
            headers = (("Content-Type", "text/plain; charset=utf-8"), ("Retry-After", "1"))
            page = <bytes>build_head(503, headers, "", len(OVERLOAD_PAGE))[0] + OVERLOAD_PAGE
            put_stream(
                &self.output,
                protocol.STDOUT,
                self.header.request_id,
                <const uint8_t*>PyBytes_AS_STRING(page),
                PyBytes_GET_SIZE(page),
            )
            put_header(&self.output, protocol.STDOUT, self.header.request_id, 0)
            reason = protocol.REQUEST_COMPLETE
        put_end_request(&self.output, self.header.request_id, 0, reason)
        return self.await_input(self.header.request_id, streams_of(role))

    cdef int enter(self, Inbound inbound, int state) except -1:
        """Move a request to its next state; only this function assigns one."""
        if inbound.state == STATE_READING_PARAMS:
            self.reading_params -= 1
        elif inbound.state == STATE_READING_BODY or inbound.state == STATE_READING_DATA:
            self.reading_body -= 1
        inbound.state = state
        if state == STATE_READING_BODY or state == STATE_READING_DATA:
            self.reading_body += 1
        return 0

    cdef int end_params(self, Inbound inbound) except -1:
        cdef bytes raw = inbound.whole_params
        cdef Request request
        if raw is None:
            raw = PyBytes_FromStringAndSize(
                <const char*>inbound.params.data + inbound.params.start, buffer_length(&inbound.params)
            )
            buffer_free(&inbound.params)
        inbound.whole_params = None
        request = new_request(inbound.request_id, inbound.role, inbound.keep_connection, raw)
        request.error_limit = self.max_errors
        inbound.request = request
        if request.count > self.max_params_count:
            self.refuse(inbound, request, 431)
        elif request.content_length == -2 or request.data_length == -2:
            self.refuse(inbound, request, 400)
        elif request.content_length > self.max_body or request.data_length > self.max_body:
            self.refuse(inbound, request, 413)
        elif request.waits_for_body:
            self.enter(inbound, STATE_READING_BODY)
            self.on_request(request)
        else:
            self.enter(inbound, STATE_READING_DATA if inbound.role == protocol.FILTER else STATE_COMPLETE)
            self.on_request(request)
            self.on_body_end(request)
        return 0

    cdef int refuse(self, Inbound inbound, Request request, int status) except -1:
        inbound.request = request
        inbound.whole_params = None
        buffer_free(&inbound.params)
        self.enter(inbound, STATE_REFUSED)
        self.sink = DISCARD
        self.on_refusal(request, status)
        return 0

    cdef int end_stdin(self, Inbound inbound) except -1:
        inbound.input_open &= ~STDIN_OPEN
        if inbound.state == STATE_READING_BODY:
            self.end_body(inbound)
        return 0

    cdef int end_data(self, Inbound inbound) except -1:
        inbound.input_open &= ~DATA_OPEN
        if inbound.state == STATE_READING_DATA:
            self.enter(inbound, STATE_COMPLETE)
            self.on_data_end(inbound.request)
        return 0

    cdef int abort(self, Inbound inbound) except -1:
        """§5.4: answer with END_REQUEST; the STDIN that is still on its way is ignored."""
        inbound.input_open = 0  # who aborts awaits nothing: no lingering
        self.end_request(inbound.request_id, 1)
        if inbound.request is not None:
            self.on_abort(inbound.request)
        return 0

    cdef int answer_values(self) except -1:
        """§4.1: the variables that are known, each once, in a fixed order."""
        cdef bytes content = b""
        if buffer_length(&self.gathered):
            content = PyBytes_FromStringAndSize(
                <const char*>self.gathered.data + self.gathered.start, buffer_length(&self.gathered)
            )
            buffer_drop(&self.gathered, buffer_length(&self.gathered))
        self.asked_values = True
        return self.tell_values({name for name, _ in parse_pairs(content)})

    cdef int tell_values(self, asked) except -1:
        connections = self.limits.connections * self.workers
        values = (
            (MAX_CONNS, connections),
            (MAX_REQS, 0 if self.told_end else connections * self.limits.requests_per_connection),
            (MPXS_CONNS, int(self.limits.requests_per_connection > 1)),
        )
        pairs = build_pairs([(name, b"%d" % value) for name, value in values if name in asked])
        put_header(&self.output, protocol.GET_VALUES_RESULT, protocol.NULL_REQUEST_ID, len(pairs))
        return buffer_put(&self.output, PyBytes_AS_STRING(pairs), PyBytes_GET_SIZE(pairs))

    cpdef announce_end(self):
        """No further request is wanted here: `closing` is set, and a peer that has asked is told FCGI_MAX_REQS 0."""
        self.closing = True
        if self.current_phase() == IDLE:
            self.fresh = True
        if self.asked_values:
            self.told_end = True
            self.tell_values({MAX_REQS, MPXS_CONNS})

    cpdef refuse_bodies(self, int status):
        """Refuse all requests whose body is still being read: their owner has waited long enough."""
        cdef Inbound inbound
        for inbound in list(self.inbound.values()):
            if inbound.state == STATE_READING_BODY or inbound.state == STATE_READING_DATA:
                if self.last is inbound and self.sink in (TO_BODY, TO_DATA):
                    self.sink = DISCARD
                self.enter(inbound, STATE_REFUSED)
                self.on_refusal(inbound.request, status)

    # Answers out

    def is_active(self, request_id: int) -> bool:
        """Whether this request has begun and not ended: only then can it be answered."""
        return request_id in self.inbound

    cpdef send_stdout(self, int request_id, bytes data):
        """Queue a piece of the answer: the CGI head first, then the body. Empty data sends nothing."""
        self.require_active(request_id)
        if data is None:
            raise TypeError("an answer is made of bytes, not None")
        put_stream(
            &self.output, protocol.STDOUT, request_id, <const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
        )

    cpdef send_stderr(self, int request_id, bytes data):
        """Queue error text for the front end's log."""
        cdef Inbound inbound = self.require_active(request_id)
        if data is None:
            raise TypeError("error text is bytes, not None")
        if PyBytes_GET_SIZE(data):
            inbound.stderr_used = True
        put_stream(
            &self.output, protocol.STDERR, request_id, <const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
        )

    cpdef end_request(self, int request_id, app_status=0):
        """End the request's streams and queue END_REQUEST; `app_status` other than 0 says that the answer is broken."""
        cdef Inbound inbound = self.require_active(request_id)
        if inbound.stderr_used:
            put_header(&self.output, protocol.STDERR, request_id, 0)
        put_header(&self.output, protocol.STDOUT, request_id, 0)
        put_end_request(&self.output, request_id, app_status & 0xFFFFFFFF, protocol.REQUEST_COMPLETE)
        if inbound.input_open:
            self.await_input(request_id, inbound.input_open)
        self.enter(inbound, STATE_ENDED)
        del self.inbound[request_id]
        if self.last is inbound and self.sink in (TO_PARAMS, TO_BODY, TO_DATA):
            self.sink = DISCARD

    cpdef break_off(self, int request_id):
        """End a request whose answer is not whole, and the connection with it: no other request may be active.

        Web servers ignore `app_status`. What they heed is a connection that ends without the ends of the streams, and
        nginx only bytes that are no record: these are queued. Close the connection when they are sent.
        """
        cdef Inbound inbound = self.require_active(request_id)
        if len(self.inbound) > 1:
            raise ValueError("other requests are active on this connection")
        buffer_put(&self.output, PyBytes_AS_STRING(BROKEN_OFF), PyBytes_GET_SIZE(BROKEN_OFF))
        if inbound.input_open:
            self.await_input(request_id, inbound.input_open)
        self.enter(inbound, STATE_ENDED)
        del self.inbound[request_id]
        self.sink = DISCARD
        self.closing = self.failed = True

    cdef Inbound require_active(self, int request_id):
        cdef Inbound inbound = self.last
        if inbound is None or inbound.request_id != request_id or inbound.state == STATE_ENDED:
            inbound = self.inbound.get(request_id)
            if inbound is None:
                raise ValueError(f"request {request_id} is not active on this connection")
        return inbound

    @property
    def pending_bytes(self) -> int:
        """How many bytes data_to_send() would return."""
        return buffer_length(&self.output)

    def data_to_send(self) -> bytes:
        """All bytes that are ready for the peer; they are handed out once."""
        cdef bytes data
        if not buffer_length(&self.output):
            return b""
        data = PyBytes_FromStringAndSize(<const char*>self.output.data + self.output.start, buffer_length(&self.output))
        buffer_drop(&self.output, buffer_length(&self.output))
        return data
