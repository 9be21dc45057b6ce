"""What the two clients share: one request's answer as it comes, the body to send, and when to try again.

No sockets here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

from fastcore.addresses import Address, FdAddress, SystemdAddress, TcpAddress, UnixAddress, parse_address
from fastcore.client import errors
from fastcore.client.events import BodyReceived, ErrorsReceived, HeadReceived, ResponseEnded
from fastcore.client.head import Head
from fastcore.client.limits import ClientLimits
from fastcore.client.protocol import ClientConnection, Params, encode_pairs
from fastcore.constants import CANT_MPX_CONN, OVERLOADED, REQUEST_COMPLETE, RESPONDER
from fastcore.errors import ProtocolError

__all__ = ["Body", "Exchange", "RequestPlan", "body_pieces", "check_timeout", "server_address"]

PIECE = 32768
"""Bytes of a body that are sent in one record."""

RECEIVE = 262144
"""Bytes asked of the system at once."""

_REFUSED = {CANT_MPX_CONN: 503, OVERLOADED: 503}
_REPEATABLE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))


@runtime_checkable
class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


Body = bytes | bytearray | memoryview | _Readable | Iterable[bytes]


class RequestPlan:
    """What one request is to send: parameters already checked and encoded, so that it can be sent a second time."""

    def __init__(self, params: Params, role: int = RESPONDER) -> None:
        self.pairs = encode_pairs(params)
        self.role = role

    def repeatable(self, body: object) -> bool:
        """True where the request may be sent again when a kept connection turns out to be dead (RFC 9110 §9.2.2)."""
        method = next((value for name, value in self.pairs if name == b"REQUEST_METHOD"), b"")
        return method in _REPEATABLE and isinstance(body, bytes | bytearray | memoryview)


class Exchange:
    """The answer to one request on one connection, as it comes."""

    def __init__(
        self,
        connection: ClientConnection,
        plan: RequestPlan,
        *,
        address: str,
        keep_connection: bool,
        limits: ClientLimits,
    ) -> None:
        self.connection = connection
        self.head: Head | None = None
        self.chunks: deque[bytes] = deque()
        self.errors = bytearray()
        self.end: ResponseEnded | None = None
        self.touched = False
        self._address = address
        self._limits = limits
        self.request_id = connection.send_request(plan.pairs, role=plan.role, keep_connection=keep_connection)

    def receive_data(self, data: bytes) -> None:
        """Take what the server sent. Raises the client's own ProtocolError, with what STDERR brought."""
        self.touched = True
        self.connection.receive_data(data)
        try:
            while (event := self.connection.next_event()) is not None:
                match event:
                    case BodyReceived(data=chunk):
                        self.chunks.append(chunk)
                    case HeadReceived(head=head):
                        self.head = head
                    case ErrorsReceived(data=text):
                        self.errors += text[: self._limits.errors - len(self.errors)]
                    case ResponseEnded():
                        self._on_end(event)
        except ProtocolError as error:
            raise self.protocol_error(str(error)) from error

    def receive_eof(self) -> None:
        """The server closed before the end. Raises ConnectionLost."""
        raise self.lost("the server closed the connection before the end of the answer")

    @property
    def ready(self) -> bool:
        """True when the head is there, or there will be none."""
        return self.head is not None

    def take_head(self) -> tuple[int, list[tuple[str, str]]]:
        """Status and headers of an answer that is `ready`."""
        head = self.head or Head(502, [])
        return head.status, head.headers

    @property
    def reusable(self) -> bool:
        """True when the answer is complete, the request was sent to its end, and nothing lies between them."""
        return self.end is not None and self.connection.idle

    @property
    def step(self) -> str:
        """What is being waited for now: for messages."""
        if self.head is None:
            return "the head of the answer"
        return "more of the answer"

    def lost(self, reason: str) -> errors.ConnectionLost:
        """A ConnectionLost that names the address and carries what STDERR brought."""
        error = errors.ConnectionLost(f"{self._address}: {reason}")
        error.errors = bytes(self.errors)
        return error

    def protocol_error(self, reason: str) -> errors.ProtocolError:
        """A ProtocolError that names the address and carries what STDERR brought."""
        error = errors.ProtocolError(f"{self._address}: {reason}")
        error.errors = bytes(self.errors)
        return error

    def _on_end(self, event: ResponseEnded) -> None:
        self.end = event
        if self.head is None and event.protocol_status != REQUEST_COMPLETE:
            self.head = Head(_REFUSED.get(event.protocol_status, 501), [])


def body_pieces(body: Body) -> Iterator[bytes]:
    """The pieces of a body, none empty, none over `PIECE` bytes. Raises TypeError for text."""
    if isinstance(body, bytes | bytearray | memoryview):
        yield from _cut(body)
    elif isinstance(body, str):
        raise TypeError("a body is bytes, a binary file or an iterable of bytes, not str: encode it first")
    elif isinstance(body, _Readable):
        yield from _read(body)
    else:
        for piece in body:
            yield from _cut(piece)


def _cut(data: bytes | bytearray | memoryview) -> Iterator[bytes]:
    view = memoryview(data).cast("B")
    for start in range(0, len(view), PIECE):
        yield bytes(view[start : start + PIECE])


def _read(file: _Readable) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        if not isinstance(piece, bytes):
            raise TypeError("the body's file gives text: open it with 'rb'")
        yield piece


def server_address(address: str | Address) -> UnixAddress | TcpAddress:
    """The address of a server to connect to. Raises ValueError for what is none."""
    parsed = parse_address(address) if isinstance(address, str) else address
    if isinstance(parsed, FdAddress | SystemdAddress):
        raise ValueError(f"{parsed}: a client connects to unix:/path or host:port")
    return parsed


def check_timeout(timeout: float) -> float:
    """`timeout` in seconds, or ValueError where it is not a positive number."""
    if not 0 < timeout < 10_000_000:
        raise ValueError(f"timeout must be a positive number of seconds, not {timeout!r}")
    return timeout
