"""Remote functions from Python for asyncio: `AsyncClient`, the same as `framework.rpc.client.Client` with await.

A socket is asked by the event loop itself. HTTP, of which the standard library has a blocking client only, waits in a
thread for each call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from framework.rpc.calls import HEADERS, STREAM, Calls, Function, Lines, broken_off, encode, make_call, read_answers
from framework.rpc.client import check_size, make_transport, socket_params, target_of, translated

if TYPE_CHECKING:
    import ssl

    import fastcore.client
    from framework.rpc import client


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


class AsyncClient:
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
    ) -> None:
        self._transport: Transport
        if address.startswith(("http://", "https://")):
            self._transport = _Threaded(address, make_transport(address, path, timeout, headers, params, context))
        else:
            self._transport = _Socket(address, target_of(path), timeout, headers or {}, params or {})

    def call(self, method: str, /, *args: Any, **named: Any) -> AsyncCall:
        """Call a function by its name: awaited, its result; iterated, the items of its generator."""
        return AsyncCall(self, make_call(method, args, named))

    def batch(self) -> AsyncBatch:
        """As `Client.batch`: ``async with status.batch() as batch: disks = batch.disks()``."""
        return AsyncBatch(self)

    async def _call(self, call: dict[str, Any]) -> Any:
        reply = await self._post(encode([call]))
        if reply.content_type == STREAM:
            return AsyncStream(call["method"], reply, self._transport.where)
        return read_answers([call], reply.status, await self._read(reply))[0].take()

    async def _send(self, batch: Calls) -> None:
        for calls, later in batch._parts():
            reply = await self._post(encode(calls))
            batch._settle(later, read_answers(calls, reply.status, await self._read(reply)))

    async def _post(self, body: bytes) -> Reply:
        with translated(self._transport.where):
            return await self._transport.post(body)

    async def _read(self, reply: Reply) -> bytes:
        collected = bytearray()
        with translated(self._transport.where):
            try:
                async for piece in reply:
                    collected += piece
                    check_size(len(collected))
            finally:
                await reply.close()
        return bytes(collected)

    async def close(self) -> None:
        """Close the kept connections. The client stays usable."""
        await self._transport.close()

    def __getattr__(self, name: str) -> Function:
        if name.startswith("_"):
            raise AttributeError(name)
        return Function(self, name)

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
        return self._client._call(self._call).__await__()

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
            await self._client._send(self)


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

    def __init__(self, where: str, transport: client.Transport) -> None:
        self.where = where
        self._transport = transport

    async def post(self, body: bytes) -> Reply:
        return _ThreadedReply(await asyncio.to_thread(self._transport.post, body))

    async def close(self) -> None:
        self._transport.close()


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
