"""The blocking client: a request out, its answer back, over connections that are kept and used again.

Input and output of one request are served together (poll), so that a server that answers before it has read the body,
or reads no body at all, blocks nothing. Safe to use from several threads and after a fork.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import select
import socket
import time
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Self

from fastcore.addresses import Address, UnixAddress
from fastcore.client.errors import CannotConnect, TimeoutError
from fastcore.client.exchange import (
    PIECE,
    RECEIVE,
    Body,
    Exchange,
    RequestPlan,
    body_pieces,
    check_timeout,
    server_address,
)
from fastcore.client.limits import DEFAULT_CLIENT_LIMITS, ClientLimits
from fastcore.client.protocol import ClientConnection, Params
from fastcore.client.response import Response, find_header
from fastcore.constants import RESPONDER

__all__ = ["Client", "StreamedResponse"]

QUEUE_FULL_PAUSE = 0.002
"""Seconds before a unix socket whose queue was full is tried again."""


class _Link:
    """One socket with its protocol."""

    __slots__ = ("connection", "sock", "used")

    def __init__(self, sock: socket.socket, limits: ClientLimits) -> None:
        self.sock = sock
        self.connection = ClientConnection(limits=limits)
        self.used = False

    def is_fresh(self) -> bool:
        """True while the server has neither closed nor sent anything unasked."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


class _Clock:
    """How long a step may still take: `timeout` for each, `total` for all of them together (seconds)."""

    def __init__(self, address: str, timeout: float, total: float | None) -> None:
        self._address = address
        self._timeout = timeout
        self._total = total
        self._end = None if total is None else time.monotonic() + total

    def left(self) -> float:
        """Seconds that the next step may take."""
        if self._end is None:
            return self._timeout
        return min(self._timeout, max(self._end - time.monotonic(), 0.0))

    def expired(self, step: str) -> TimeoutError:
        if self._end is not None and time.monotonic() >= self._end:
            waited = f"the request took longer than {self._total:g} s; it was waiting for {step}"
            return TimeoutError(f"{self._address}: {waited}")
        return TimeoutError(f"{self._address}: waited {self._timeout:g} s for {step}")


class Client:
    """A client of one FastCGI server.

    ``address`` is text (``unix:/path``, ``host:port``) or a value of `fastcore.addresses`. ``timeout`` is the longest
    wait, in seconds, for one step: a connection, the next bytes either way; ``total_timeout`` that for a whole request
    (None: no limit). ``keep_alive`` asks the server to keep connections; up to ``pool_size`` idle ones are kept for
    later requests.

    >>> client = Client("unix:/run/app.sock", timeout=5)
    >>> client.request(cgi_params("GET", "/")).status                   # doctest: +SKIP
    200
    """

    def __init__(
        self,
        address: str | Address,
        timeout: float = 30.0,
        *,
        total_timeout: float | None = None,
        keep_alive: bool = True,
        pool_size: int = 4,
        limits: ClientLimits = DEFAULT_CLIENT_LIMITS,
    ) -> None:
        self.address = server_address(address)
        self.timeout = check_timeout(timeout)
        self.total_timeout = None if total_timeout is None else check_timeout(total_timeout)
        self.keep_alive = keep_alive
        self.pool_size = pool_size
        self.limits = limits
        self._idle: list[_Link] = []
        self._process = os.getpid()

    def request(self, params: Params, body: Body = b"", *, role: int = RESPONDER, data: Body = b"") -> Response:
        """Send one request and collect its answer.

        ``params`` are CGI parameters (`cgi_params` builds them), ``body`` goes to STDIN: bytes, a binary file or an
        iterable of bytes; ``data`` is the file of a filter (role FILTER). Raises `ConnectionLost`, `CannotConnect`,
        `TimeoutError`, and `ProtocolError` also for a body over ``limits.body``. A request without side effects is sent
        again, once, when a kept connection has died meanwhile.
        """
        with self.stream(params, body, role=role, data=data) as answer:
            content = answer.read()
            return Response(
                answer.status, answer.headers, content, answer.errors, answer.app_status, answer.protocol_status
            )

    def stream(self, params: Params, body: Body = b"", *, role: int = RESPONDER, data: Body = b"") -> StreamedResponse:
        """Send one request; gives its answer when the head has come.

        Iterate it for the body, and close it: ``with client.stream(params) as response: …``.
        """
        plan = RequestPlan(params, role)
        clock = _Clock(str(self.address), self.timeout, self.total_timeout)
        link = self._take(clock)
        again = link.used and plan.repeatable(body)
        response = StreamedResponse(self, link, clock, plan, body, data)
        try:
            return response._wait_for_head()
        except ConnectionError:
            if not again or response._exchange.touched:
                raise
        fresh = self._connect(clock)
        return StreamedResponse(self, fresh, clock, plan, body, data)._wait_for_head()

    def close(self) -> None:
        """Close the idle connections. The client stays usable."""
        while self._idle:
            self._idle.pop().sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, clock: _Clock) -> _Link:
        if self._process != os.getpid():
            self._process = os.getpid()
            self.close()
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return self._connect(clock)
            if link.is_fresh():
                return link
            link.sock.close()

    def _give_back(self, link: _Link) -> None:
        link.used = True
        if self.keep_alive and len(self._idle) < self.pool_size and self._process == os.getpid():
            self._idle.append(link)
        else:
            link.sock.close()

    def _connect(self, clock: _Clock) -> _Link:
        try:
            if isinstance(self.address, UnixAddress):
                sock = _connect_unix(self.address.path, clock)
            else:
                sock = socket.create_connection((self.address.host, self.address.port), timeout=clock.left())
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except builtins.TimeoutError as error:
            raise clock.expired("a connection") from error
        except (OSError, UnicodeError) as error:
            raise CannotConnect(cannot_connect(self.address, error)) from error
        sock.setblocking(False)
        return _Link(sock, self.limits)


def cannot_connect(address: Address, error: OSError | UnicodeError) -> str:
    """The message of a CannotConnect, with what to do about it where that is known."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    hint = ""
    if isinstance(error, FileNotFoundError):
        hint = "; there is no such socket: is the server running?"
    elif isinstance(error, ConnectionRefusedError):
        hint = "; nobody listens there: is the server running?"
    elif isinstance(error, PermissionError):
        hint = "; this user may not: see the owner, group and mode of the socket and of the directories above it"
    return f"{address}: cannot connect: {reason}{hint}"


def _connect_unix(path: str, clock: _Clock) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    give_up = time.monotonic() + clock.left()
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(path)
                return sock
            except BlockingIOError:  # unix(7): EAGAIN where the listener's queue is full
                if time.monotonic() >= give_up:
                    raise builtins.TimeoutError from None
                time.sleep(QUEUE_FULL_PAUSE)
    except BaseException:
        sock.close()
        raise


class StreamedResponse:
    """An answer whose head has come. Iterating gives the pieces of its body as they come.

    Read it to its end, or close it.

    ``app_status``, ``protocol_status`` and the whole of ``errors`` are known at the end of the body.
    """

    def __init__(self, client: Client, link: _Link, clock: _Clock, plan: RequestPlan, body: Body, data: Body) -> None:
        self._client = client
        self._link: _Link | None = link
        self._sock = link.sock
        self._clock = clock
        self._exchange = Exchange(
            link.connection, plan, address=str(client.address), keep_connection=client.keep_alive, limits=client.limits
        )
        self._input = self._input_records(body, data)
        self._input_done = self._broken = False
        self._out = memoryview(link.connection.data_to_send())
        if _is_small(body) and _is_small(data):
            self._out = memoryview(b"".join((self._out, *self._input)))
        self._poll = select.poll()
        self._poll.register(link.sock, select.POLLIN | select.POLLOUT)
        self._status = 0
        self._headers: list[tuple[str, str]] = []

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._status

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Header lines in their order."""
        return self._headers

    @property
    def errors(self) -> bytes:
        """What has come on STDERR so far."""
        return bytes(self._exchange.errors)

    @property
    def app_status(self) -> int:
        """The application's exit code: 0 until the end has come."""
        return self._exchange.end.app_status if self._exchange.end else 0

    @property
    def protocol_status(self) -> int:
        """Why the server did not take the request: 0 where it did."""
        return self._exchange.end.protocol_status if self._exchange.end else 0

    def header(self, name: str, default: str | None = None) -> str | None:
        """The first header of that name, whatever its case."""
        return find_header(self._headers, name, default)

    def __iter__(self) -> Iterator[bytes]:
        chunks = self._exchange.chunks
        while True:
            while chunks:
                yield chunks.popleft()
            if self._exchange.end is not None:
                self.close()
                return
            self._step()

    def read(self) -> bytes:
        """The rest of the body. Raises ProtocolError where it is over ``limits.body``."""
        body = bytearray()
        for chunk in self:
            body += chunk
            if len(body) > self._client.limits.body:
                self.close()
                raise self._exchange.protocol_error(f"the body of the answer is over {self._client.limits.body} bytes")
        return bytes(body)

    def close(self) -> None:
        """Done with the answer. One that has not come to its end is given up, and its connection closed."""
        link, self._link = self._link, None
        if link is None:
            return
        sent = self._input_done and not self._out and not self._broken
        if sent and self._exchange.reusable:
            self._client._give_back(link)
        else:
            link.sock.close()
        self._input.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait_for_head(self) -> Self:
        while not self._exchange.ready:
            self._step()
        self._status, self._headers = self._exchange.take_head()
        return self

    def _input_records(self, body: Body, data: Body) -> Generator[bytes, None, None]:
        connection, request_id = self._exchange.connection, self._exchange.request_id
        for source in (body, data):
            if not connection.input_is_open(request_id):
                break
            for piece in body_pieces(source):
                connection.send_body(request_id, piece)
                yield connection.data_to_send()
            connection.end_body(request_id)
            yield connection.data_to_send()

    def _step(self) -> None:
        """Send or receive once; whatever fails closes the connection."""
        try:
            self._serve()
        except BaseException:
            self.close()
            raise

    def _serve(self) -> None:
        if self._link is None:
            raise self._exchange.lost("the answer was closed before its end")
        self._refill()
        self._poll.modify(self._sock, select.POLLIN | (select.POLLOUT if self._out else 0))
        ready = self._poll.poll(self._clock.left() * 1000)
        if not ready:
            raise self._clock.expired("the server to read the request" if self._out else self._exchange.step)
        mask = ready[0][1]
        if mask & select.POLLOUT:
            self._send()
        if mask & ~select.POLLOUT:
            self._receive()

    def _refill(self) -> None:
        """Have something to send while the input lasts; its source is asked only when all before it is sent."""
        if not self._out and not self._input_done:
            piece = next(self._input, None)
            if piece is None:
                self._input_done = True
            else:
                self._out = memoryview(piece)

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                self._out = self._out[self._sock.send(self._out) :]
            except (BrokenPipeError, ConnectionResetError):
                # The server reads no more; what it has answered is still there to be read.
                self._out = memoryview(b"")
                self._input_done = self._broken = True
                self._input.close()
                self._exchange.connection.data_to_send()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._exchange.lost(f"the connection failed: {error.strerror or error}") from error
        if data:
            self._exchange.receive_data(data)
        else:
            self._exchange.receive_eof()


def _is_small(body: Body) -> bool:
    """True for a body that can be sent together with its parameters."""
    return isinstance(body, bytes | bytearray) and len(body) <= PIECE
