"""The FastCGI connection without a socket: bytes in → events, answers → bytes out (FastCGI 1.0 §3, §4, §5).

Content is consumed as it comes; only management records and BEGIN_REQUEST wait until they are whole. Only ProtocolError
escapes receive_data(); after it the connection is dead. No sockets, clocks or applications here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from fastcore.constants import (
    ABORT_REQUEST,
    BEGIN_REQUEST,
    BROKEN_OFF,
    CANT_MPX_CONN,
    DATA,
    FILTER,
    GET_VALUES,
    GET_VALUES_RESULT,
    HEADER_LENGTH,
    KEEP_CONN,
    MAX_CONNS,
    MAX_REQS,
    MPXS_CONNS,
    NULL_REQUEST_ID,
    OVERLOADED,
    PARAMS,
    REQUEST_COMPLETE,
    RESPONDER,
    STDERR,
    STDIN,
    STDOUT,
    UNKNOWN_ROLE,
)
from fastcore.errors import ProtocolError
from fastcore.events import (
    BodyEnded,
    BodyReceived,
    DataEnded,
    DataReceived,
    Event,
    RequestAborted,
    RequestReceived,
    RequestRefused,
)
from fastcore.limits import DEFAULT_LIMITS, Limits
from fastcore.pure.records import (
    build_end_request,
    build_pairs,
    build_record,
    build_stream,
    build_unknown_type,
    parse_header,
    parse_pairs,
)
from fastcore.pure.request import Request
from fastcore.pure.response import build_head
from fastcore.statuses import OVERLOAD_PAGE

# What happens to the content of the record that is being read
_DISCARD, _GATHER, _TO_PARAMS, _TO_BODY, _TO_DATA = range(5)

# The states of one request. BEGIN_REQUEST makes it, END_REQUEST (ours) forgets it.
READING_PARAMS = 1  # PARAMS accepted; STDIN is an error
READING_BODY = 2  # STDIN accepted; PARAMS is an error
COMPLETE = 3  # all input is there; further input is ignored
REFUSED = 4  # a limit was passed; further input is ignored
ENDED = 5  # END_REQUEST is queued; the id is free
READING_DATA = 6  # a filter's STDIN is complete; DATA accepted

# The phases of a connection, from which its owner chooses a time-out
IDLE, PHASE_PARAMS, PHASE_BODY, ANSWERING = range(4)


MAX_DRAINING = 1000  # ended requests of one connection whose input is still awaited
_STDIN_OPEN, _DATA_OPEN = 1, 2

Overload = Literal["protocol", "page"]


class _Inbound:
    """What the connection knows of one active id. `request` is there once its PARAMS are complete or refused."""

    __slots__ = ("input_open", "keep_connection", "params", "received", "request", "role", "state", "stderr_used")

    def __init__(self, role: int, keep_connection: bool) -> None:
        self.role = role
        self.keep_connection = keep_connection
        self.state = READING_PARAMS
        self.params = bytearray()
        self.request: Request
        self.received = 0  # bytes of body, then of a filter's data
        self.input_open = _streams_of(role)
        self.stderr_used = False


def _streams_of(role: int) -> int:
    """The streams that a client ends after PARAMS."""
    return _STDIN_OPEN | _DATA_OPEN if role == FILTER else _STDIN_OPEN


class Connection:
    """The server's side of one FastCGI connection.

    Example::

        connection = Connection()
        for event in connection.receive_data(sock.recv(65536)):
            if isinstance(event, RequestReceived):
                connection.send_stdout(event.request.request_id, b"Status: 204 No Content\\r\\n\\r\\n")
                connection.end_request(event.request.request_id)
        sock.sendall(connection.data_to_send())
    """

    def __init__(
        self,
        limits: Limits = DEFAULT_LIMITS,
        *,
        workers: int = 1,
        roles: Collection[int] = (RESPONDER,),
        overload: Overload = "protocol",
    ) -> None:
        """What to accept.

        Args:
            limits: bound what is accepted.
            workers: how many processes share the listener (told by GET_VALUES).
            roles: RESPONDER, AUTHORIZER, FILTER (fastcore.constants); others get FCGI_UNKNOWN_ROLE.
            overload: what a request over `limits.requests_per_connection` gets: FCGI_OVERLOADED, or a 503 page.
        """
        self.limits = limits
        self.workers = workers
        self.closing = False  # a request without KEEP_CONN was begun: close when no request is active
        self._roles = frozenset(roles)
        self._overload_page = overload == "page"
        self._draining: dict[int, int] = {}  # ended requests → their streams that have not ended
        self.failed = False  # by a ProtocolError or break_off(): nothing more is read
        self.asked_values = False  # the peer knows GET_VALUES_RESULT
        self.told_end = False  # and was told that no further request is wanted
        self.fresh = True  # no record has come yet, or none since announce_end()
        self._inbound: dict[int, _Inbound] = {}
        self._reading_params = 0  # how many requests are in this state
        self._reading_body = 0
        self._output = bytearray()
        self._events: list[Event] = []
        self._header = bytearray()
        self._type = 0
        self._request_id = 0
        self._content_left = 0
        self._padding_left = 0
        self._empty = False
        self._sink = _DISCARD
        self._gathered = bytearray()

    # What happened: overridden by an owner that wants to act at once instead of reading events.

    def on_request(self, request: Request) -> None:
        self._events.append(RequestReceived(request))

    def on_body(self, request: Request, data: bytes) -> None:
        self._events.append(BodyReceived(request, data))

    def on_body_end(self, request: Request) -> None:
        self._events.append(BodyEnded(request))

    def on_data(self, request: Request, data: bytes) -> None:
        self._events.append(DataReceived(request, data))

    def on_data_end(self, request: Request) -> None:
        self._events.append(DataEnded(request))

    def on_refusal(self, request: Request, status: int) -> None:
        self._events.append(RequestRefused(request, status))

    def on_abort(self, request: Request) -> None:
        self._events.append(RequestAborted(request))

    # Bytes in

    @property
    def active_requests(self) -> int:
        """How many requests have begun and not ended."""
        return len(self._inbound)

    def requests(self) -> list[Request]:
        """The requests that have begun and not ended, as far as their parameters are complete."""
        return [inbound.request for inbound in self._inbound.values() if inbound.state != READING_PARAMS]

    @property
    def input_pending(self) -> bool:
        """Whether an ended request's input has not ended: closing with unread input would lose the answer."""
        return bool(self._draining)

    @property
    def phase(self) -> int:
        """What the peer is expected to do next: IDLE, PHASE_PARAMS, PHASE_BODY or ANSWERING (it waits for us)."""
        if self.failed:
            return IDLE
        if self._reading_params:
            return PHASE_PARAMS
        if self._reading_body:
            return PHASE_BODY
        if self._inbound:
            return ANSWERING
        if self.fresh or self._header or (self._content_left and self._sink != _DISCARD):
            return PHASE_PARAMS
        return IDLE  # or what comes is thrown away: any byte of it is progress

    def receive_data(self, data: bytes) -> list[Event]:
        """Take bytes from the peer; returns what they mean, in order.

        Raises ProtocolError where they are not FastCGI: close the connection. Events before the error are lost with it.
        """
        if self.failed:
            raise ProtocolError("the connection has already failed")
        try:
            self._consume(memoryview(data))
        except ProtocolError:
            self.failed = True
            self._events = []
            raise
        events, self._events = self._events, []
        return events

    def _consume(self, data: memoryview) -> None:
        offset = 0
        while offset < len(data):
            if self._content_left:
                piece = data[offset : offset + self._content_left]
                offset += len(piece)
                self._content_left -= len(piece)
                self._take_content(piece)
                if not self._content_left:
                    self._end_record()
            elif self._padding_left:
                skipped = min(self._padding_left, len(data) - offset)
                offset += skipped
                self._padding_left -= skipped
            else:
                piece = data[offset : offset + HEADER_LENGTH - len(self._header)]
                offset += len(piece)
                self._header += piece
                if len(self._header) == HEADER_LENGTH:
                    self._begin_record()

    def _begin_record(self) -> None:
        self._type, self._request_id, self._content_left, self._padding_left = parse_header(bytes(self._header))
        self._header.clear()
        self.fresh = False
        self._empty = not self._content_left
        if self._request_id == NULL_REQUEST_ID:
            self._sink = self._sink_of_management()
        else:
            self._sink = self._sink_of_application()
        if not self._content_left:
            self._end_record()

    def _sink_of_management(self) -> int:
        if self._type in (BEGIN_REQUEST, ABORT_REQUEST, PARAMS, STDIN, DATA):
            raise ProtocolError(f"record type {self._type} needs a request id")
        return _GATHER if self._type == GET_VALUES else _DISCARD

    def _sink_of_application(self) -> int:
        """Where the content of a request's record goes. Ids that are not active are ignored (§3.3)."""
        if self._type == BEGIN_REQUEST:
            if self._content_left != 8:
                raise ProtocolError(f"BEGIN_REQUEST has {self._content_left} bytes instead of 8")
            return _GATHER
        inbound = self._inbound.get(self._request_id)
        if inbound is None:
            return _DISCARD
        if self._type == PARAMS:
            if inbound.state == REFUSED:
                return _DISCARD
            if inbound.state != READING_PARAMS:
                raise ProtocolError("PARAMS after the end of PARAMS")
            return _TO_PARAMS
        if self._type == STDIN:
            if inbound.state == READING_PARAMS:
                raise ProtocolError("STDIN before the end of PARAMS")
            return _TO_BODY if inbound.state == READING_BODY else _DISCARD
        if self._type == DATA and inbound.role == FILTER and inbound.state != REFUSED:
            if inbound.state in (READING_PARAMS, READING_BODY):
                raise ProtocolError("DATA before the end of STDIN")  # §6.4: STDIN first
            return _TO_DATA if inbound.state == READING_DATA else _DISCARD
        return _DISCARD

    def _take_content(self, piece: memoryview) -> None:
        if self._sink == _TO_PARAMS:
            self._take_params(piece)
        elif self._sink == _TO_BODY:
            self._take_body(piece)
        elif self._sink == _TO_DATA:
            self._take_data(piece)
        elif self._sink == _GATHER:
            self._gathered += piece

    def _take_params(self, piece: memoryview) -> None:
        inbound = self._inbound[self._request_id]
        if len(inbound.params) + len(piece) > self.limits.params_bytes:
            self._refuse(inbound, Request(self._request_id, inbound.role, inbound.keep_connection, b""), 431)
            return
        inbound.params += piece

    def _take_body(self, piece: memoryview) -> None:
        """Deliver a piece of STDIN, cut at CONTENT_LENGTH, refused past the limit where no length was declared."""
        inbound = self._inbound[self._request_id]
        request = inbound.request
        declared = request.content_length
        if declared < 0:
            if inbound.received + len(piece) > self.limits.body:
                self._refuse(inbound, request, 413)
                return
        elif inbound.received + len(piece) > declared:
            piece = piece[: declared - inbound.received]
        inbound.received += len(piece)
        self.on_body(request, bytes(piece))
        if inbound.received == declared and inbound.state == READING_BODY:
            self._sink = _DISCARD
            self._end_body(inbound)

    def _take_data(self, piece: memoryview) -> None:
        """Deliver a piece of a filter's file, refused past the limit; it is not cut, so that a wrong length shows."""
        inbound = self._inbound[self._request_id]
        if inbound.received + len(piece) > self.limits.body:
            self._refuse(inbound, inbound.request, 413)
            return
        inbound.received += len(piece)
        self.on_data(inbound.request, bytes(piece))

    def _end_body(self, inbound: _Inbound) -> None:
        """STDIN is complete: a responder's input is, a filter's file follows."""
        inbound.received = 0
        self._enter(inbound, READING_DATA if inbound.role == FILTER else COMPLETE)
        self.on_body_end(inbound.request)

    def _end_record(self) -> None:
        """A record's content is complete; an empty one ends a stream (§3.3)."""
        if self._sink == _GATHER:
            content = bytes(self._gathered)
            self._gathered.clear()
            if self._type == BEGIN_REQUEST:
                self._begin_request(content)
            else:
                self._answer_values(content)
            return
        if self._request_id == NULL_REQUEST_ID:
            self._output += build_unknown_type(self._type)
            return
        inbound = self._inbound.get(self._request_id)
        if inbound is None:
            if self._draining:
                self._drain()
            return
        if self._type == ABORT_REQUEST:
            self._abort(inbound)
        elif self._type == PARAMS:
            if self._empty and inbound.state == READING_PARAMS:
                self._end_params(inbound)
        elif self._type == STDIN and self._empty:
            self._end_stdin(inbound)
        elif self._type == DATA and self._empty:
            self._end_data(inbound)

    def _drain(self) -> None:
        """A record for a request that is not active: its input may end here."""
        if self._type == ABORT_REQUEST:
            self._draining.pop(self._request_id, None)
        elif self._empty and self._type in (STDIN, DATA):
            streams = self._draining.pop(self._request_id, 0)
            self._await_input(self._request_id, streams & ~(_STDIN_OPEN if self._type == STDIN else _DATA_OPEN))

    def _await_input(self, request_id: int, streams: int) -> None:
        """Remember that input of a request that was answered is still to come."""
        if streams:
            if len(self._draining) == MAX_DRAINING:
                del self._draining[next(iter(self._draining))]  # the oldest
            self._draining[request_id] = streams

    def _begin_request(self, content: bytes) -> None:
        if self._request_id in self._inbound:
            raise ProtocolError(f"BEGIN_REQUEST for request {self._request_id}, which is active")
        role = content[0] << 8 | content[1]
        keep_connection = bool(content[2] & KEEP_CONN)
        if not keep_connection:
            self.closing = True
        self._draining.pop(self._request_id, None)
        if role not in self._roles:
            self._refuse_begin(role, UNKNOWN_ROLE)
        elif len(self._inbound) >= self.limits.requests_per_connection:
            self._refuse_begin(role, CANT_MPX_CONN if self.limits.requests_per_connection == 1 else OVERLOADED)
        else:
            self._inbound[self._request_id] = _Inbound(role, keep_connection)
            self._reading_params += 1

    def _refuse_begin(self, role: int, reason: int) -> None:
        """Answer BEGIN_REQUEST at once; the request's other records are ignored."""
        if reason == OVERLOADED and self._overload_page:
            headers = (("Content-Type", "text/plain; charset=utf-8"), ("Retry-After", "1"))
            head, _ = build_head(503, headers, "", len(OVERLOAD_PAGE))
            self._output += build_stream(STDOUT, self._request_id, head + OVERLOAD_PAGE)
            self._output += build_record(STDOUT, self._request_id)
            reason = REQUEST_COMPLETE
        self._output += build_end_request(self._request_id, 0, reason)
        self._await_input(self._request_id, _streams_of(role))

    def _enter(self, inbound: _Inbound, state: int) -> None:
        """Move a request to its next state; only this function assigns one."""
        if inbound.state == READING_PARAMS:
            self._reading_params -= 1
        elif inbound.state in (READING_BODY, READING_DATA):
            self._reading_body -= 1
        inbound.state = state
        if state in (READING_BODY, READING_DATA):
            self._reading_body += 1

    def _end_params(self, inbound: _Inbound) -> None:
        request = Request(self._request_id, inbound.role, inbound.keep_connection, bytes(inbound.params))
        request.error_limit = self.limits.stderr_bytes
        inbound.params.clear()
        inbound.request = request
        if len(request.params) > self.limits.params_count:
            self._refuse(inbound, request, 431)
        elif -2 in (request.content_length, request.data_length):
            self._refuse(inbound, request, 400)
        elif max(request.content_length, request.data_length) > self.limits.body:
            self._refuse(inbound, request, 413)
        elif request.waits_for_body:
            self._enter(inbound, READING_BODY)
            self.on_request(request)
        else:
            self._enter(inbound, READING_DATA if inbound.role == FILTER else COMPLETE)
            self.on_request(request)
            self.on_body_end(request)

    def _refuse(self, inbound: _Inbound, request: Request, status: int) -> None:
        inbound.request = request
        inbound.params.clear()
        self._enter(inbound, REFUSED)
        self._sink = _DISCARD
        self.on_refusal(request, status)

    def _end_stdin(self, inbound: _Inbound) -> None:
        inbound.input_open &= ~_STDIN_OPEN
        if inbound.state == READING_BODY:
            self._end_body(inbound)

    def _end_data(self, inbound: _Inbound) -> None:
        inbound.input_open &= ~_DATA_OPEN
        if inbound.state == READING_DATA:
            self._enter(inbound, COMPLETE)
            self.on_data_end(inbound.request)

    def _abort(self, inbound: _Inbound) -> None:
        """§5.4: answer with END_REQUEST; the STDIN that is still on its way is ignored."""
        known = inbound.state != READING_PARAMS
        inbound.input_open = 0  # who aborts awaits nothing: no lingering
        self.end_request(self._request_id, 1)
        if known:
            self.on_abort(inbound.request)

    def _answer_values(self, content: bytes) -> None:
        """§4.1: the variables that are known, each once, in a fixed order."""
        self.asked_values = True
        self._tell_values({name for name, _ in parse_pairs(content)})

    def _tell_values(self, asked: set[bytes]) -> None:
        connections = self.limits.connections * self.workers
        values = (
            (MAX_CONNS, connections),
            (MAX_REQS, 0 if self.told_end else connections * self.limits.requests_per_connection),
            (MPXS_CONNS, int(self.limits.requests_per_connection > 1)),
        )
        pairs = build_pairs((name, b"%d" % value) for name, value in values if name in asked)
        self._output += build_record(GET_VALUES_RESULT, NULL_REQUEST_ID, pairs)

    def announce_end(self) -> None:
        """No further request is wanted here: `closing` is set, and a peer that has asked is told FCGI_MAX_REQS 0.

        It cannot be refused what it has begun by then, so the owner goes on reading for a while: `fresh` is True again
        where no request is active. (HAProxy takes the new value at any time and begins no more on this connection; the
        specification knows no other way to say it before closing.)
        """
        self.closing = True
        if self.phase == IDLE:
            self.fresh = True
        if self.asked_values:
            self.told_end = True
            self._tell_values({MAX_REQS, MPXS_CONNS})

    def refuse_bodies(self, status: int) -> None:
        """Refuse all requests whose body is still being read: their owner has waited long enough."""
        for inbound in list(self._inbound.values()):
            if inbound.state in (READING_BODY, READING_DATA):
                if self._inbound.get(self._request_id) is inbound and self._sink in (_TO_BODY, _TO_DATA):
                    self._sink = _DISCARD
                self._enter(inbound, REFUSED)
                self.on_refusal(inbound.request, status)

    # Answers out

    def is_active(self, request_id: int) -> bool:
        """Whether this request has begun and not ended: only then can it be answered."""
        return request_id in self._inbound

    def send_stdout(self, request_id: int, data: bytes) -> None:
        """Queue a piece of the answer: the CGI head first, then the body. Empty data sends nothing."""
        self._require_active(request_id)
        self._output += build_stream(STDOUT, request_id, data)

    def send_stderr(self, request_id: int, data: bytes) -> None:
        """Queue error text for the front end's log."""
        self._require_active(request_id).stderr_used |= bool(data)
        self._output += build_stream(STDERR, request_id, data)

    def end_request(self, request_id: int, app_status: int = 0) -> None:
        """End the request's streams and queue END_REQUEST; `app_status` other than 0 says that the answer is broken."""
        inbound = self._require_active(request_id)
        if inbound.stderr_used:
            self._output += build_record(STDERR, request_id)
        self._output += build_record(STDOUT, request_id)
        self._output += build_end_request(request_id, app_status, REQUEST_COMPLETE)
        self._await_input(request_id, inbound.input_open)
        self._enter(inbound, ENDED)
        del self._inbound[request_id]
        if request_id == self._request_id and self._sink in (_TO_PARAMS, _TO_BODY, _TO_DATA):
            self._sink = _DISCARD

    def break_off(self, request_id: int) -> None:
        """End a request whose answer is not whole, and the connection with it: no other request may be active.

        Web servers ignore `app_status`. What they heed is a connection that ends without the ends of the streams, and
        nginx only bytes that are no record: these are queued. Close the connection when they are sent.
        """
        inbound = self._require_active(request_id)
        if len(self._inbound) > 1:
            raise ValueError("other requests are active on this connection")
        self._output += BROKEN_OFF
        self._await_input(request_id, inbound.input_open)
        self._enter(inbound, ENDED)
        del self._inbound[request_id]
        self._sink = _DISCARD
        self.closing = self.failed = True

    def _require_active(self, request_id: int) -> _Inbound:
        inbound = self._inbound.get(request_id)
        if inbound is None:
            raise ValueError(f"request {request_id} is not active on this connection")
        return inbound

    @property
    def pending_bytes(self) -> int:
        """How many bytes data_to_send() would return."""
        return len(self._output)

    def data_to_send(self) -> bytes:
        """All bytes that are ready for the peer; they are handed out once."""
        data = bytes(self._output)
        self._output.clear()
        return data
