"""The asyncio client: as `Client`, with ``await``, and bodies that stream both ways.

A body that does not fit one record is sent by a task of its own while the answer is read, so that neither side waits
for the other. Cancelling a request closes its connection, which is how a web server gives a request up.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import socket
import time
from collections.abc import AsyncIterable, AsyncIterator, Generator
from types import TracebackType
from typing import Self

from fastcore.addresses import Address, TcpAddress, UnixAddress
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
from fastcore.client.sync import QUEUE_FULL_PAUSE, cannot_connect
from fastcore.constants import RESPONDER

__all__ = ["AsyncBody", "AsyncClient", "AsyncStreamedResponse"]

RECEIVED_IN_A_ROW = 8
"""Receives that are served at once before other tasks get their turn."""

AsyncBody = Body | AsyncIterable[bytes]


class _Link:
    """One socket with its protocol."""

    __slots__ = ("connection", "sock", "used")

    def __init__(self, sock: socket.socket, limits: ClientLimits) -> None:
        self.sock = sock
        self.connection = ClientConnection(limits=limits)
        self.used = False

    def is_fresh(self) -> bool:
        """True while the server has neither closed nor sent anything unasked."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


class AsyncClient:
    """An asyncio client of one FastCGI server; for one event loop.

    ``address``, ``timeout`` (seconds for one step), ``keep_alive``, ``pool_size`` and ``limits`` as for `Client`. At
    most ``max_connections`` are open at once; a request over that waits, up to ``timeout``.

    >>> async with AsyncClient("unix:/run/app.sock") as client:         # doctest: +SKIP
    ...     response = await client.request(cgi_params("GET", "/"))
    """

    def __init__(
        self,
        address: str | Address,
        timeout: float = 30.0,
        *,
        keep_alive: bool = True,
        pool_size: int = 8,
        max_connections: int = 128,
        limits: ClientLimits = DEFAULT_CLIENT_LIMITS,
    ) -> None:
        self.address = server_address(address)
        self.timeout = check_timeout(timeout)
        self.keep_alive = keep_alive
        self.pool_size = pool_size
        self.limits = limits
        self._idle: list[_Link] = []
        self._places = asyncio.Semaphore(max_connections)

    async def request(
        self, params: Params, body: AsyncBody = b"", *, role: int = RESPONDER, data: AsyncBody = b""
    ) -> Response:
        """Send one request and collect its answer. ``body`` may also be an asynchronous iterable of bytes.

        Parameters and errors as for `Client.request`.
        """
        async with self.stream(params, body, role=role, data=data) as answer:
            content = await answer.read()
            return Response(
                answer.status, answer.headers, content, answer.errors, answer.app_status, answer.protocol_status
            )

    def stream(
        self, params: Params, body: AsyncBody = b"", *, role: int = RESPONDER, data: AsyncBody = b""
    ) -> _Opening:
        """Send one request; gives its answer when the head has come.

        ``async with client.stream(params) as response: async for chunk in response: …``; or ``await`` it and then
        ``await response.close()``.
        """
        return _Opening(self, RequestPlan(params, role), body, data)

    async def close(self) -> None:
        """Close the idle connections. The client stays usable."""
        while self._idle:
            self._idle.pop().sock.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _open(self, plan: RequestPlan, body: AsyncBody, data: AsyncBody) -> AsyncStreamedResponse:
        try:
            async with asyncio.timeout(self.timeout):
                await self._places.acquire()
        except builtins.TimeoutError as error:
            waited = f"waited {self.timeout:g} s for one of the connections in use"
            raise TimeoutError(f"{self.address}: {waited}") from error
        try:
            return await self._begin(plan, body, data)
        except BaseException:
            self._places.release()
            raise

    async def _begin(self, plan: RequestPlan, body: AsyncBody, data: AsyncBody) -> AsyncStreamedResponse:
        link = self._take() or await self._connect()
        response = AsyncStreamedResponse(self, link, plan, body, data)
        try:
            return await response._wait_for_head()
        except ConnectionError:
            if not (link.used and plan.repeatable(body)) or response._exchange.touched:
                raise
        response = AsyncStreamedResponse(self, await self._connect(), plan, body, data)
        return await response._wait_for_head()

    def _take(self) -> _Link | None:
        while self._idle:
            link = self._idle.pop()
            if link.is_fresh():
                return link
            link.sock.close()
        return None

    def _give_back(self, link: _Link) -> None:
        link.used = True
        if self.keep_alive and len(self._idle) < self.pool_size:
            self._idle.append(link)
        else:
            link.sock.close()

    async def _connect(self) -> _Link:
        try:
            async with asyncio.timeout(self.timeout):
                if isinstance(self.address, UnixAddress):
                    sock = await _connect_unix(self.address.path)
                else:
                    sock = await _connect_tcp(self.address)
                return _Link(sock, self.limits)
        except builtins.TimeoutError as error:
            raise TimeoutError(f"{self.address}: waited {self.timeout:g} s for a connection") from error
        except (OSError, UnicodeError) as error:
            raise CannotConnect(cannot_connect(self.address, error)) from error


def _drop(sock: socket.socket) -> None:
    """Close a socket that may still be waited for: else the loop would take the next one of its number for watched."""
    loop = asyncio.get_running_loop()
    loop.remove_reader(sock)
    loop.remove_writer(sock)
    sock.close()


async def _connect_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(path)
                return sock
            except BlockingIOError:  # unix(7): EAGAIN where the listener's queue is full
                await asyncio.sleep(QUEUE_FULL_PAUSE)
    except BaseException:
        sock.close()
        raise


async def _connect_tcp(address: TcpAddress) -> socket.socket:
    loop = asyncio.get_running_loop()
    failure: OSError | None = None
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, target in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, target)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure or OSError(f"{address.host} has no address")


class _Opening:
    """A request on its way: ``await`` it for the answer, or enter it."""

    def __init__(self, client: AsyncClient, plan: RequestPlan, body: AsyncBody, data: AsyncBody) -> None:
        self._arguments = (plan, body, data)
        self._client = client
        self._response: AsyncStreamedResponse | None = None

    def __await__(self) -> Generator[object, None, AsyncStreamedResponse]:
        return self._client._open(*self._arguments).__await__()

    async def __aenter__(self) -> AsyncStreamedResponse:
        self._response = await self
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._response is not None:
            await self._response.close()


class AsyncStreamedResponse:
    """An answer whose head has come. ``async for`` gives the pieces of its body as they come.

    Read it to its end, or close it.

    ``app_status``, ``protocol_status`` and the whole of ``errors`` are known at the end of the body.
    """

    def __init__(self, client: AsyncClient, link: _Link, plan: RequestPlan, body: AsyncBody, data: AsyncBody) -> None:
        self._client = client
        self._link: _Link | None = link
        self._sock = link.sock
        self._exchange = Exchange(
            link.connection, plan, address=str(client.address), keep_connection=client.keep_alive, limits=client.limits
        )
        self._sources = (body, data)
        self._sender: asyncio.Task[None] | None = None
        self._all_sent = False
        self._last_sent = time.monotonic()
        self._source_is_slow = False
        self._received_at_once = 0
        self._rest = b""
        self._owns_place = False
        self.status = 0
        self.headers: list[tuple[str, str]] = []

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
        return find_header(self.headers, name, default)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._exchange.chunks
        while True:
            while chunks:
                yield chunks.popleft()
            if self._exchange.end is not None:
                await self.close()
                return
            await self._receive()

    async def read(self) -> bytes:
        """The rest of the body. Raises ProtocolError where it is over ``limits.body``."""
        body = bytearray()
        async for chunk in self:
            body += chunk
            if len(body) > self._client.limits.body:
                await self.close()
                raise self._exchange.protocol_error(f"the body of the answer is over {self._client.limits.body} bytes")
        return bytes(body)

    async def close(self) -> None:
        """Done with the answer. One that has not come to its end is given up, and its connection closed."""
        link, self._link = self._link, None
        if link is None:
            return
        sender, self._sender = self._sender, None
        reusable = self._all_sent and self._exchange.reusable
        try:
            if sender is not None:
                sender.cancel()
                await asyncio.wait((sender,))
                reusable = reusable and not sender.cancelled() and sender.exception() is None
        except BaseException:
            reusable = False
            raise
        finally:
            if reusable:
                self._client._give_back(link)
            else:
                _drop(link.sock)
            if self._owns_place:
                self._client._places.release()

    async def _wait_for_head(self) -> Self:
        try:
            await self._start_sending()
            while not self._exchange.ready:
                await self._receive()
        except BaseException:
            await self.close()
            raise
        self.status, self.headers = self._exchange.take_head()
        self._owns_place = True
        return self

    # --- input

    async def _start_sending(self) -> None:
        connection, request_id = self._exchange.connection, self._exchange.request_id
        if all(isinstance(source, bytes | bytearray) and len(source) <= PIECE for source in self._sources):
            for source in self._sources:
                if connection.input_is_open(request_id):
                    connection.send_body(request_id, bytes(source))  # type: ignore[arg-type]
                    connection.end_body(request_id)
            if self._send_at_once():
                return
        self._sender = asyncio.create_task(self._send_all())

    def _send_at_once(self) -> bool:
        """Try to hand everything to the system without waiting; what it does not take stays queued."""
        connection = self._exchange.connection
        data = connection.data_to_send()
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return True
        if sent < len(data):
            self._rest = data[sent:]
            return False
        self._all_sent = True
        return True

    async def _send_all(self) -> None:
        connection, request_id = self._exchange.connection, self._exchange.request_id
        if self._rest:
            await self._send(self._rest)
        for source in self._sources:
            if not connection.input_is_open(request_id):
                break
            async for piece in self._pieces(source):
                connection.send_body(request_id, piece)
                await self._send(connection.data_to_send())
            connection.end_body(request_id)
        await self._send(connection.data_to_send())
        self._all_sent = True

    async def _pieces(self, source: AsyncBody) -> AsyncIterator[bytes]:
        if not isinstance(source, AsyncIterable):
            for piece in body_pieces(source):
                yield piece
            return
        iterator = aiter(source)
        while True:
            self._source_is_slow = True
            try:
                data = await anext(iterator)
            except StopAsyncIteration:
                return
            finally:
                self._source_is_slow = False
                self._last_sent = time.monotonic()
            for piece in body_pieces(data):
                yield piece

    async def _send(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            await loop.sock_sendall(self._sock, view[start : start + PIECE])
            self._last_sent = time.monotonic()

    # --- output

    async def _receive(self) -> None:
        """Receive once; whatever fails closes the connection."""
        try:
            data = await self._receive_bytes()
            if data:
                self._exchange.receive_data(data)
            else:
                self._exchange.receive_eof()
        except BaseException:
            await self.close()
            raise

    async def _receive_bytes(self) -> bytes:
        if self._link is None:
            raise self._exchange.lost("the answer was closed before its end")
        self._received_at_once += 1
        if self._received_at_once % RECEIVED_IN_A_ROW == 0:
            await asyncio.sleep(0)  # a server that is always faster must not keep the loop for itself
        with contextlib.suppress(BlockingIOError):
            return self._recv_now()
        receiving = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(self._sock, RECEIVE))
        try:
            await self._wait_for(receiving)
            return receiving.result()
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise self._exchange.lost(f"the connection failed: {error.strerror or error}") from error
        finally:
            receiving.cancel()

    def _recv_now(self) -> bytes:
        try:
            return self._sock.recv(RECEIVE)
        except BlockingIOError:
            raise
        except OSError as error:
            raise self._exchange.lost(f"the connection failed: {error.strerror or error}") from error

    async def _wait_for(self, receiving: asyncio.Future[bytes]) -> None:
        """Wait until `receiving` is done. A failed source of the body, or too long a silence both ways, is raised."""
        started = time.monotonic()
        while True:
            waited_for: set[asyncio.Future[bytes] | asyncio.Task[None]] = {receiving}
            if self._sender is not None and not self._sender.done():
                waited_for.add(self._sender)
            since = max(started, self._last_sent)
            await asyncio.wait(
                waited_for,
                timeout=max(since + self._client.timeout - time.monotonic(), 0.001),
                return_when=asyncio.FIRST_COMPLETED,
            )
            self._check_sender()
            if receiving.done():
                return
            if self._source_is_slow:
                started = time.monotonic()
            if time.monotonic() >= max(started, self._last_sent) + self._client.timeout:
                raise self._expired()

    def _check_sender(self) -> None:
        """Raise what the source of the body raised. That the server reads no more is no error: its answer counts."""
        sender = self._sender
        if sender is None or not sender.done() or sender.cancelled():
            return
        error = sender.exception()
        if error is not None and not isinstance(error, BrokenPipeError | ConnectionResetError):
            raise error

    def _expired(self) -> TimeoutError:
        step = self._exchange.step if self._all_sent else "the server to read the request"
        return TimeoutError(f"{self._client.address}: waited {self._client.timeout:g} s for {step}")
