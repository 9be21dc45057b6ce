"""Remote functions from Python for asyncio: `AsyncClient`, the same as `framework.rpc.client.Client` with await.

A socket is asked by the event loop itself. HTTP, of which the standard library has a blocking client only, waits in a
thread for each call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Generator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from framework.rpc.calls import (
    HEADERS,
    RETRY,
    STREAM,
    Call,
    Calls,
    Exchange,
    Functions,
    Lines,
    Outcome,
    broken_off,
    make_call,
)
from framework.rpc.client import is_url, make_http_transport, names_of, socket_params, target_of, translated
from framework.rpc.errors import RemoteError

if TYPE_CHECKING:
    import ssl

    import fastcore.client
    from framework.rpc.client import HTTPTransport


class Reply(Protocol):
    """An answer whose head has come."""

    status: int
    content_type: str

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def close(self) -> None: ...


class Transport(Protocol):
    """A way to post: `post` gives the answer's head."""

    where: str

    async def post(self, body: bytes) -> Reply: ...

    async def close(self) -> None: ...


class AsyncClient(Functions):
    """The functions of a `Proxy`, awaited; arguments and errors as those of `Client`. For one event loop.

    Example::

        async with AsyncClient("unix:/run/appliance/sockets/status.sock", "/status/rpc") as status:
            print(await status.disks())
            async for line in status.log.follow("sshd"):
                print(line)
    """

    def __init__(
        self,
        address: str,
        path: str = "",
        *,
        timeout: float = 60.0,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
        retry: int = RETRY,
        safe: Collection[str] = (),
    ) -> None:
        self._transport: Transport
        self._retry = retry
        self._safe = names_of(safe)
        if is_url(address):
            self._transport = _Threaded(make_http_transport(address, path, timeout, headers, params, context))
        else:
            self._transport = _Socket(address, target_of(path), timeout, headers or {}, params or {})

    def call(self, method: str, /, *args: Any, **named: Any) -> AsyncCall:
        """Call a function by its name: awaited, its result; iterated, the items of its generator."""
        return AsyncCall(self, make_call(method, args, named))

    def batch(self) -> AsyncBatch:
        """As `Client.batch`: ``async with status.batch() as batch: disks = batch.disks()``."""
        return AsyncBatch(self)

    async def _exchange(self, calls: list[Call]) -> list[Outcome] | AsyncStream:
        where = self._transport.where
        exchange = Exchange(calls, self._retry, self._safe)
        while True:
            try:
                with translated(where):
                    reply = await self._transport.post(exchange.body)
                    if reply.content_type == STREAM and len(calls) == 1:
                        return AsyncStream(calls[0]["method"], reply, where)
                    try:
                        async for piece in reply:
                            exchange.feed(piece)
                    finally:
                        await reply.close()
                return exchange.outcomes(reply.status)
            except RemoteError as error:
                pause = exchange.pause_after(error)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Close the kept connections. The client stays usable."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncCall:
    """A call to be awaited, or iterated where the function is a generator."""

    def __init__(self, client: AsyncClient, call: dict[str, Any]) -> None:
        self._client = client
        self._call = call

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._take().__await__()

    async def _take(self) -> Any:
        found = await self._client._exchange([self._call])
        return found if isinstance(found, AsyncStream) else found[0].take()

    async def __aiter__(self) -> AsyncIterator[Any]:
        stream = await self
        if not isinstance(stream, AsyncStream):
            raise TypeError(f"{self._call['method']} is no generator: await it")
        try:
            async for item in stream:
                yield item
        finally:
            await stream.aclose()


class AsyncBatch(Calls):
    """Calls that are sent at the end of the block, in parts of 50 where there are more; not after an exception."""

    def __init__(self, client: AsyncClient) -> None:
        super().__init__()
        self._client = client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for calls in self._parts():
                self._settle(calls, await self._client._exchange(calls))


class AsyncStream:
    """The items of a remote generator, as they come; `aclose()` ends it there. `result` is what it returned."""

    def __init__(self, method: str, reply: Reply, where: str) -> None:
        self.result: Any = None
        self._reply = reply
        self._items = self._iterate(method, reply, where)

    async def _iterate(self, method: str, reply: Reply, where: str) -> AsyncIterator[Any]:
        lines = Lines(method)
        pieces = aiter(reply)
        try:
            while True:
                with translated(where):
                    data = await anext(pieces, None)
                if data is None:
                    raise broken_off(method)
                for item in lines.feed(data):
                    yield item
                if lines.outcome is not None:
                    self.result = lines.outcome.take()
                    return
        finally:
            await reply.close()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await anext(self._items)

    async def aclose(self) -> None:
        """End the generator where it stands."""
        await self._reply.close()
        await self._items.aclose()  # type: ignore[attr-defined]


class _Socket:
    """FastCGI, as the front end speaks it."""

    def __init__(
        self, address: str, target: str, timeout: float, headers: Mapping[str, str], params: Mapping[str, str]
    ) -> None:
        import fastcore.client

        self.where = address
        self._target = target
        self._headers = {**headers, **HEADERS}
        self._params = params
        self._client = fastcore.client.AsyncClient(address, timeout)

    async def post(self, body: bytes) -> Reply:
        params = socket_params(self._target, self._headers, self._params, len(body))
        return _SocketReply(await self._client.stream(params, body))

    async def close(self) -> None:
        await self._client.close()


class _SocketReply:
    def __init__(self, response: fastcore.client.AsyncStreamedResponse) -> None:
        self._response = response
        self.status = response.status
        self.content_type = response.header("Content-Type") or ""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._response)

    async def close(self) -> None:
        await self._response.close()


class _Threaded:
    """HTTP in threads, a connection for each call that is under way."""

    def __init__(self, transport: HTTPTransport) -> None:
        self.where = transport.where
        self._transport = transport

    async def post(self, body: bytes) -> Reply:
        posting = self._transport.posting()
        running = asyncio.ensure_future(asyncio.to_thread(posting.run, body))
        try:
            return _ThreadedReply(await asyncio.shield(running))
        except asyncio.CancelledError:
            running.add_done_callback(_drop)
            posting.abort()
            raise

    async def close(self) -> None:
        self._transport.close()


def _drop(running: asyncio.Future[Any]) -> None:
    """Close the reply that nobody waits for any more."""
    if not running.cancelled() and running.exception() is None:
        running.result().close()


class _ThreadedReply:
    def __init__(self, reply: Any) -> None:
        self._reply = reply
        self._pieces = iter(reply)
        self.status: int = reply.status
        self.content_type: str = reply.content_type

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            reading = asyncio.ensure_future(asyncio.to_thread(next, self._pieces, None))
            try:
                piece = await asyncio.shield(reading)
            except asyncio.CancelledError:
                self._reply.abort()  # the thread comes back at once
                await asyncio.wait({reading})
                reading.exception()
                raise
            if piece is None:
                return
            yield piece

    async def close(self) -> None:
        self._reply.close()
