"""The client's side of FastCGI 1.0 without sockets: requests become bytes to send, bytes that came become events.

Only ProtocolError escapes for what the server sent, ValueError and KeyError for what the caller asks; after a
ProtocolError the connection is to be closed. Several requests may be active at once. What is kept is bounded by
`ClientLimits`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from fastcore import implementation
from fastcore.client.errors import ConnectionLost
from fastcore.client.events import (
    BodyReceived,
    ErrorsReceived,
    Event,
    HeadReceived,
    ResponseEnded,
    UnknownTypeReceived,
    ValuesReceived,
)
from fastcore.client.head import HeadParser
from fastcore.client.limits import DEFAULT_CLIENT_LIMITS, ClientLimits
from fastcore.constants import (
    ABORT_REQUEST,
    BROKEN_OFF,
    DATA,
    END_REQUEST,
    FILTER,
    GET_VALUES,
    GET_VALUES_RESULT,
    HEADER_LENGTH,
    NULL_REQUEST_ID,
    PARAMS,
    REQUEST_COMPLETE,
    RESPONDER,
    STDERR,
    STDIN,
    STDOUT,
    UNKNOWN_TYPE,
)
from fastcore.errors import ProtocolError

__all__ = ["ClientConnection", "Params", "encode_pairs"]

Text = str | bytes
Params = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[Text, Text]]

MAX_REQUEST_ID = 65535
_END_REQUEST_LENGTH = 8


class _Active:
    """One request that the server has not ended. `inputs` are the streams that are still to be sent, in their order."""

    __slots__ = ("aborted", "head", "inputs", "output_ended")

    def __init__(self, role: int, limits: ClientLimits) -> None:
        self.head: HeadParser | None = HeadParser(limits)
        self.inputs = [STDIN, DATA] if role == FILTER else [STDIN]
        self.output_ended = False
        self.aborted = False


class ClientConnection:
    """One connection to a FastCGI server, as bytes.

    >>> connection = ClientConnection()
    >>> request_id = connection.send_request({"REQUEST_METHOD": "GET", "SCRIPT_NAME": "/status"})
    >>> connection.end_body(request_id)
    >>> connection.data_to_send()[:8]
    b'\\x01\\x01\\x00\\x01\\x00\\x08\\x00\\x00'

    Then `receive_data()` what the server sends, and take `next_event()` until it is None.
    """

    def __init__(self, *, limits: ClientLimits = DEFAULT_CLIENT_LIMITS) -> None:
        self.limits = limits
        self._records = implementation.records
        self._output: list[bytes] = []
        self._buffer = b""
        self._offset = 0
        self._events: deque[Event] = deque()
        self._active: dict[int, _Active] = {}
        self._values_asked = 0
        self._overhead = 0
        self._failure: str | None = None

    # --- requests out

    def send_request(
        self, params: Params, *, role: int = RESPONDER, keep_connection: bool = True, request_id: int | None = None
    ) -> int:
        """Begin a request and send its parameters (str as latin-1); gives its id: the lowest that is free, unless told.

        Its body follows by `send_body()`, and always by `end_body()`. Raises ValueError for an id that is in use or
        out of range.
        """
        if request_id is None:
            request_id = next(number for number in range(1, MAX_REQUEST_ID + 2) if number not in self._active)
        if not 1 <= request_id <= MAX_REQUEST_ID or request_id in self._active:
            raise ValueError(f"request id {request_id} is in use, or outside 1 to {MAX_REQUEST_ID}")
        records = self._records
        pairs: bytes = records.build_pairs(encode_pairs(params))
        self._output.append(records.build_begin_request(request_id, role, keep_connection))
        self._output.append(records.build_stream(PARAMS, request_id, pairs))
        self._output.append(records.build_record(PARAMS, request_id, b""))
        self._active[request_id] = _Active(role, self.limits)
        return request_id

    def send_body(self, request_id: int, data: bytes) -> None:
        """Send a piece of the request's current input stream: STDIN, then for a filter DATA."""
        active = self._active[request_id]
        if not active.inputs:
            raise ValueError(f"the input of request {request_id} has already ended")
        self._output.append(self._records.build_stream(active.inputs[0], request_id, data))

    def end_body(self, request_id: int) -> None:
        """End the request's current input stream."""
        active = self._active[request_id]
        if not active.inputs:
            raise ValueError(f"the input of request {request_id} has already ended")
        self._output.append(self._records.build_record(active.inputs.pop(0), request_id, b""))

    def abort(self, request_id: int) -> None:
        """Give a request up (FCGI_ABORT_REQUEST). The server still ends it with a `ResponseEnded`."""
        active = self._active[request_id]
        active.aborted = True
        active.inputs.clear()
        self._output.append(self._records.build_record(ABORT_REQUEST, request_id, b""))

    def get_values(self, names: Iterable[bytes]) -> None:
        """Ask the server for values such as ``FCGI_MAX_REQS``; the answer is a `ValuesReceived`."""
        content: bytes = self._records.build_pairs([(name, b"") for name in names])
        self._output.append(self._records.build_record(GET_VALUES, NULL_REQUEST_ID, content))
        self._values_asked += 1

    def data_to_send(self) -> bytes:
        """The bytes that are to be sent now; the caller owns them from here."""
        data = b"".join(self._output)
        self._output.clear()
        return data

    # --- answers in

    def receive_data(self, data: bytes) -> None:
        """Add bytes that the server sent; `next_event()` then tells what they mean."""
        self._buffer = self._buffer[self._offset :] + data
        self._offset = 0

    def receive_eof(self) -> None:
        """The server has closed. Raises ConnectionLost where an answer, or a record, was not complete."""
        if self._active:
            missing = ", ".join(str(number) for number in sorted(self._active)[:8])
            raise ConnectionLost(f"the server closed the connection before the end of request {missing}")
        if self._offset < len(self._buffer):
            raise ConnectionLost("the server closed the connection within a record")

    def next_event(self) -> Event | None:
        """The next thing that came, or None where more bytes are needed.

        Raises ProtocolError, and then at every further call.
        """
        if self._failure is not None:
            raise ProtocolError(self._failure)
        try:
            while not self._events:
                record = self._next_record()
                if record is None:
                    return None
                self._on_record(*record)
        except ProtocolError as error:
            self._failure = str(error)
            raise
        return self._events.popleft()

    @property
    def idle(self) -> bool:
        """True where no request is active and nothing is half received: the connection may be used again."""
        return not (self._active or self._events or self._output or self._failure or self._offset < len(self._buffer))

    def input_is_open(self, request_id: int) -> bool:
        """True while the server may still expect input of this request."""
        active = self._active.get(request_id)
        return active is not None and bool(active.inputs)

    # --- records

    def _next_record(self) -> tuple[int, int, bytes] | None:
        buffer, offset = self._buffer, self._offset
        if len(buffer) - offset < HEADER_LENGTH:
            return None
        if buffer.startswith(BROKEN_OFF, offset):
            raise ProtocolError("the server broke the answer off: it is not whole")
        record_type, request_id, content_length, padding_length = self._records.parse_header(buffer, offset)
        start = offset + HEADER_LENGTH
        end = start + content_length
        if len(buffer) < end + padding_length:
            return None
        self._offset = end + padding_length
        return record_type, request_id, buffer[start:end]

    def _on_record(self, record_type: int, request_id: int, content: bytes) -> None:
        if request_id == NULL_REQUEST_ID:
            self._on_management(record_type, content)
            return
        active = self._active.get(request_id)
        if active is None:
            self._count_overhead(content)  # FastCGI 1.0 §3.3: records of a request that is not active are ignored
        elif record_type == STDOUT:
            self._on_output(request_id, active, content)
        elif record_type == STDERR:
            self._count_overhead(content)
            if content:
                self._events.append(ErrorsReceived(request_id, content))
        elif record_type == END_REQUEST:
            self._on_end(request_id, active, content)
        else:
            self._count_overhead(content)

    def _on_output(self, request_id: int, active: _Active, content: bytes) -> None:
        if not content:
            self._count_overhead(content)
            active.output_ended = True
            return
        if active.output_ended:
            raise ProtocolError(f"output of request {request_id} after the end of its STDOUT")
        if active.head is not None:
            self._count_overhead(b"")
            found = active.head.receive_data(content)
            if found is None:
                return
            head, content = found
            active.head = None
            self._events.append(HeadReceived(request_id, head))
        if content:
            self._events.append(BodyReceived(request_id, content))

    def _on_end(self, request_id: int, active: _Active, content: bytes) -> None:
        if len(content) != _END_REQUEST_LENGTH:
            raise ProtocolError(f"END_REQUEST has {len(content)} bytes instead of {_END_REQUEST_LENGTH}")
        app_status = int.from_bytes(content[:4], "big")
        protocol_status = content[4]
        if protocol_status == REQUEST_COMPLETE and active.head is not None and not active.aborted:
            pending = active.head.pending
            seen = f"got {pending[:200]!r}" if pending else "it had no output at all"
            raise ProtocolError(f"the answer ended before its head was complete (appStatus {app_status}): {seen}")
        del self._active[request_id]
        self._overhead = 0
        self._events.append(ResponseEnded(request_id, app_status, protocol_status))

    def _on_management(self, record_type: int, content: bytes) -> None:
        if record_type == GET_VALUES_RESULT and self._values_asked:
            self._values_asked -= 1
            self._events.append(ValuesReceived(dict(self._records.parse_pairs(content))))
        elif record_type == UNKNOWN_TYPE and content:
            self._count_overhead(content)
            self._events.append(UnknownTypeReceived(content[0]))
        else:
            self._count_overhead(content)

    def _count_overhead(self, content: bytes) -> None:
        self._overhead += HEADER_LENGTH + len(content)
        if self._overhead > self.limits.overhead:
            raise ProtocolError(f"the server sent more than {self.limits.overhead} bytes that belong to no body")


def encode_pairs(params: Params) -> list[tuple[bytes, bytes]]:
    """Parameters as bytes: text as latin-1, which is what PEP 3333 calls a native string; bytes as they are.

    Raises ValueError for text that latin-1 does not have, TypeError for what is neither text nor bytes.
    """
    pairs: Iterable[tuple[Text, Text]] = params.items() if isinstance(params, Mapping) else params
    return [(_encode(name, name), _encode(value, name)) for name, value in pairs]


def _encode(value: Text, name: Text) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(f"the CGI parameter {name!r} must be str or bytes, not {type(value).__name__}")
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError as error:
        hint = "has a character outside latin-1: give it as UTF-8 bytes"
        raise ValueError(f"the CGI parameter {name!r} {hint}") from error
