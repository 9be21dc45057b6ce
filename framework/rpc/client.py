"""Remote functions from Python: `Client` calls a Proxy over its back end's unix socket, or by HTTP and HTTPS.

The blocking side; `framework.rpc.aio` has the same for asyncio. What goes over the wire is `framework.rpc.calls`.
"""

from __future__ import annotations

import builtins
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from time import sleep
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit

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
from framework.rpc.errors import RemoteError

if TYPE_CHECKING:
    import http.client
    import ssl

    import fastcore.client

PIECE = 65536
"""Bytes that are read at a time."""


class Reply(Protocol):
    """An answer whose head has come."""

    status: int
    content_type: str

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None:
        """Give it up, or back: the connection is kept where it was read to its end."""


class Transport(Protocol):
    """A way to post: `post` gives the answer's head."""

    where: str

    def post(self, body: bytes) -> Reply: ...

    def close(self) -> None: ...


class Client(Functions):
    """The functions of a `Proxy`, as if they were local.

    Args:
        address: of a back end's FastCGI socket, ``"unix:/run/site/sockets/status.sock"`` or ``"host:port"``; or the
            Proxy's URL, ``"https://console.example/status/rpc"``.
        path: of the Proxy, with the prefix at which the back end is mounted; for a socket only.
        timeout: seconds for a connection, and for the next bytes of an answer; streams send signs of life.
        headers: further header fields of each call, such as a Cookie, or RPC-Token where the Proxy asks for one.
        params: further CGI parameters, such as REMOTE_USER; for a socket only.
        context: how certificates are checked; `ssl.create_default_context()` by default.
        retry: how often a safe function is tried again, after 0.2 s, 0.4 s, …, where no answer came: the connection
            failed or was lost, or a front end answered with 502, 503 or 504.
        safe: the names of the functions that are safe: those that Python marks so, ``@remote(safe=True)``.

    Values keep their kind (docs/rpc.md). Raises RemoteError with what the server's function raised, or with the type
    ConnectionError, TimeoutError or HTTPError. A generator gives a `Stream`. Not to be shared by threads.

    Example::

        with Client("unix:/run/appliance/sockets/status.sock", "/status/rpc") as status:
            print(status.disks(), status.processes.kill(7))
            for line in status.log.follow("sshd"):
                print(line)

    Functions that are called `call`, `batch` or `close` are called by name: ``status.call("close")``.
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
        self._transport = make_transport(address, path, timeout, headers, params, context)
        self._retry = retry
        self._safe = names_of(safe)

    def call(self, method: str, /, *args: Any, **named: Any) -> Any:
        """Call a function by its name; arguments in their order or by name. Raises RemoteError, TypeError."""
        found = self._exchange([make_call(method, args, named)])
        return found if isinstance(found, Stream) else found[0].take()

    def batch(self) -> Batch:
        """Several calls in one POST; their results are there after the block.

        Example::

            with status.batch() as batch:
                disks, load = batch.disks(), batch.load()
            print(disks.result(), load.result())
        """
        return Batch(self)

    def _exchange(self, calls: list[Call]) -> list[Outcome] | Stream:
        where = self._transport.where
        exchange = Exchange(calls, self._retry, self._safe)
        while True:
            try:
                with translated(where):
                    reply = self._transport.post(exchange.body)
                    if reply.content_type == STREAM and len(calls) == 1:
                        return Stream(calls[0]["method"], reply, where)
                    try:
                        for piece in reply:
                            exchange.feed(piece)
                    finally:
                        reply.close()
                return exchange.outcomes(reply.status)
            except RemoteError as error:
                pause = exchange.pause_after(error)
            sleep(pause)

    def close(self) -> None:
        """Close the kept connections. The client stays usable."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Batch(Calls):
    """Calls that are sent at the end of the block, in parts of 50 where there are more; not after an exception."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for calls in self._parts():
                self._settle(calls, self._client._exchange(calls))


class Stream:
    """The items of a remote generator, as they come; `close()` ends it there. `result` is what it returned."""

    def __init__(self, method: str, reply: Reply, where: str) -> None:
        self.result: Any = None
        self._reply = reply
        self._items = self._iterate(method, reply, where)

    def _iterate(self, method: str, reply: Reply, where: str) -> Iterator[Any]:
        lines = Lines(method)
        pieces = iter(reply)
        try:
            while True:
                with translated(where):
                    data = next(pieces, None)
                if data is None:
                    raise broken_off(method)
                yield from lines.feed(data)
                if lines.outcome is not None:
                    self.result = lines.outcome.take()
                    return
        finally:
            reply.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._items)

    def close(self) -> None:
        """End the generator where it stands."""
        self._reply.close()
        self._items.close()  # type: ignore[attr-defined]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def names_of(safe: Collection[str]) -> frozenset[str]:
    """The names of safe functions. Raises TypeError for a single text, whose letters are no names."""
    if isinstance(safe, str):
        raise TypeError(f"safe= is a collection of names, such as [{safe!r}]")
    return frozenset(safe)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """What a network raises as the RemoteError of that type."""
    try:
        yield
    except builtins.TimeoutError as error:
        raise RemoteError(f"{where}: no answer in time", type="TimeoutError") from error
    except Exception as error:
        if isinstance(error, OSError) or _is_broken(error):
            raise RemoteError(f"{where} cannot be reached: {error}", type="ConnectionError") from error
        raise


def _is_broken(error: Exception) -> bool:
    """Whether an exception says that what came is no answer."""
    from http.client import HTTPException

    from fastcore.errors import FastCGIError

    return isinstance(error, FastCGIError | HTTPException)


def make_transport(
    address: str,
    path: str,
    timeout: float,
    headers: Mapping[str, str] | None,
    params: Mapping[str, str] | None,
    context: ssl.SSLContext | None,
) -> Transport:
    """The way to an address. Raises ValueError for what is none."""
    if is_url(address):
        return make_http_transport(address, path, timeout, headers, params, context)
    return SocketTransport(address, target_of(path), timeout, {**(headers or {}), **HEADERS}, params or {})


def is_url(address: str) -> bool:
    """Whether an address is one of HTTP."""
    return address.startswith(("http://", "https://"))


def make_http_transport(
    address: str,
    path: str,
    timeout: float,
    headers: Mapping[str, str] | None,
    params: Mapping[str, str] | None,
    context: ssl.SSLContext | None,
) -> HTTPTransport:
    """The way to a URL. Raises ValueError for what is none, and for what a URL has no use for."""
    if path or params:
        raise ValueError("`path` and `params` are for a FastCGI socket; an HTTP address has its path itself")
    return HTTPTransport(address, timeout, {**(headers or {}), **HEADERS}, context)


def target_of(path: str) -> str:
    """A Proxy's path at a socket. Raises ValueError where it is none."""
    if not path.startswith("/"):
        raise ValueError(f"the path of the Proxy begins with '/', as in Client(address, '/status/rpc'): {path!r}")
    return path


class SocketTransport:
    """FastCGI, as the front end speaks it."""

    def __init__(
        self, address: str, target: str, timeout: float, headers: Mapping[str, str], params: Mapping[str, str]
    ) -> None:
        import fastcore.client

        self.where = address
        self._target = target
        self._headers = headers
        self._params = params
        self._client = fastcore.client.Client(address, timeout)

    def post(self, body: bytes) -> Reply:
        params = socket_params(self._target, self._headers, self._params, len(body))
        return _SocketReply(self._client.stream(params, body))

    def close(self) -> None:
        self._client.close()


def socket_params(target: str, headers: Mapping[str, str], more: Mapping[str, str], length: int) -> dict[str, str]:
    """The CGI parameters of a call."""
    from fastcore.client import cgi_params

    return {**cgi_params("POST", target, headers, body_length=length, software="framework.rpc"), **more}


class _SocketReply:
    def __init__(self, response: fastcore.client.StreamedResponse) -> None:
        self._response = response
        self.status = response.status
        self.content_type = response.header("Content-Type") or ""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._response)

    def close(self) -> None:
        self._response.close()


class HTTPTransport:
    """HTTP/1.1; the connection is kept while the server keeps it."""

    def __init__(self, url: str, timeout: float, headers: Mapping[str, str], context: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        if not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError(f"the URL of a Proxy is http(s)://host/path, not {url!r}")
        self.where = url
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path or "/"
        self._is_secure = parts.scheme == "https"
        self._timeout = timeout
        self._headers = {**headers, "Accept-Encoding": "identity"}
        self._context = context
        self._idle: http.client.HTTPConnection | None = None

    def post(self, body: bytes) -> Reply:
        return self.posting().run(body)

    def posting(self) -> Posting:
        """A POST that another thread can give up."""
        return Posting(self, self._take(), self._path, self._headers)

    def _take(self) -> http.client.HTTPConnection:
        connection, self._idle = self._idle, None
        if connection is not None:
            if _is_fresh(connection.sock):
                return connection
            connection.close()
        from http.client import HTTPConnection, HTTPSConnection

        if not self._is_secure:
            return HTTPConnection(self._host, self._port, timeout=self._timeout)
        if self._context is None:
            from ssl import create_default_context

            self._context = create_default_context()
        return HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._context)

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection whose answer was read."""
        if self._idle is None:
            self._idle = connection
        else:
            connection.close()

    def close(self) -> None:
        if self._idle is not None:
            self._idle.close()
            self._idle = None


def _is_fresh(sock: socket.socket | None) -> bool:
    """Whether a kept connection is still there: nothing has come on it, not even its end."""
    if sock is None:
        return False
    from select import POLLIN, poll

    poller = poll()
    poller.register(sock, POLLIN)
    return not poller.poll(0)


class Posting:
    """One POST by HTTP: `run` waits for the answer's head; `abort`, by another thread, ends that."""

    def __init__(
        self, transport: HTTPTransport, connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str]
    ) -> None:
        self._transport = transport
        self._connection = connection
        self._path = path
        self._headers = headers
        self._is_given_up = False

    def run(self, body: bytes) -> Reply:
        """The answer's head. Raises what the network raises."""
        connection = self._connection
        try:
            if connection.sock is None:
                connection.connect()
            if self._is_given_up:
                raise ConnectionAbortedError
            connection.request("POST", self._path, body, self._headers)
            return _HTTPReply(self._transport, connection, connection.getresponse())
        except BaseException:
            connection.close()
            raise

    def abort(self) -> None:
        """End `run`: at once where it is connected, else when it is."""
        self._is_given_up = True
        shut(self._connection.sock)


def shut(sock: socket.socket | None) -> None:
    """End what another thread does with a socket."""
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


class _HTTPReply:
    def __init__(
        self, transport: HTTPTransport, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> None:
        self._transport = transport
        self._connection: http.client.HTTPConnection | None = connection
        self._sock = connection.sock
        self._response = response
        self.status = response.status
        self.content_type = response.getheader("Content-Type") or ""

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._response.read1(PIECE):
            yield piece
        if self._response.length:  # read1() does not tell
            raise ConnectionResetError("the answer ended early")

    def abort(self) -> None:
        """End a read that another thread waits in."""
        shut(self._sock)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._response.isclosed() and not self._response.will_close:
            self._transport.give_back(connection)
        else:
            self._response.close()
            connection.close()
