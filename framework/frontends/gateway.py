"""The development gateway: an ASGI application that stands where the real front end stands in production.

It routes by host and longest prefix, serves static folders, and passes requests to the back ends over FastCGI with the
CGI parameters that lighttpd would send. Bodies stream both ways. It trusts nothing that a client says about itself: no
X-Forwarded-*, no Proxy, no header whose name could pass for another's. It is made for one developer on one machine:
no access log, no compression, no ranges.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from fastcore.client.aio import AsyncClient, AsyncStreamedResponse
from fastcore.client.errors import CannotConnect, ConnectionLost, TimeoutError
from fastcore.client.params import cgi_params
from fastcore.errors import FastCGIError
from framework.errors import ErrorPage, HTTPError, style_hash
from framework.files import CHUNK_BYTES, content_type_of, open_regular
from framework.site.mounts import Mount
from framework.site.tree import SiteTree

if TYPE_CHECKING:
    from framework.site.schema import Host, Site

__all__ = ["Gateway", "Trouble", "normalise_path"]

SOFTWARE: Final = "sitectl-dev"
SPOOL_BYTES: Final = 256 * 1024
"""Bytes of a body without a Content-Length kept in memory; what is longer waits in an unnamed file."""
INDEX_NAMES: Final = ("index.xhtml", "index.html")
MAX_PATH_BYTES: Final = 8192

HOP_BY_HOP: Final = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""Headers that belong to one connection (RFC 9110 §7.6.1)."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[str, str]]


class Trouble(NamedTuple):
    """Why a back end cannot answer: a sentence, and what it printed."""

    text: str
    detail: str = ""


class _Incomplete(Exception):
    """The answer cannot be completed after its head was sent: the connection to the browser is closed instead."""


class _Request(NamedTuple):
    """One HTTP request, checked."""

    method: str
    scheme: str
    authority: str
    path: str
    raw_target: str
    query: str
    headers: Headers
    server: tuple[str, int]
    client: tuple[str, int]

    def header(self, name: str) -> str:
        """All headers of that name, joined."""
        return ", ".join(value for key, value in self.headers if key == name)


class Gateway:
    """ASGI application in front of the back ends of a site.

    ``sockets`` are the addresses of the back ends by name. ``trouble`` tells, by a back end's name, why it cannot
    answer now; None where it can. ``report`` takes a line for each answer that went wrong. ``timeout`` is the longest
    wait for a back end, in seconds.

    >>> Gateway(site, {name: f"unix:{site.socket_path(name)}" for name in site.backends})  # doctest: +SKIP
    """

    def __init__(
        self,
        site: Site,
        sockets: Mapping[str, str],
        *,
        trouble: Callable[[str], Trouble | None] = lambda name: None,
        report: Callable[[str], None] = lambda text: None,
        timeout: float = 30.0,
    ) -> None:
        self.trouble = trouble
        self.report = report
        self.timeout = timeout
        self._clients: dict[str, AsyncClient] = {}
        self.use(site, sockets)

    def use(self, site: Site, sockets: Mapping[str, str]) -> None:
        """Serve this site from now on; for a site file that has changed."""
        self.site = site
        self.tree = SiteTree.of(site)
        self._hosts = {name: host for host in site.hosts for name in host.names}
        self._clients = {name: AsyncClient(address, self.timeout) for name, address in sockets.items()}

    async def close(self) -> None:
        """Close the kept connections to the back ends."""
        for client in self._clients.values():
            await client.close()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = self.site.default_host
        try:
            request = _read_request(scope)
            host = self._host_of(request.authority)
            await self._answer(request, host, receive, send)
        except HTTPError as error:
            await _send_error(send, host.headers, error.status, error.text, headers=error.headers)
        except _Incomplete as error:  # an answer without its end: the server closes the connection
            if str(error):
                self.report(f"{scope['method']} {printable(scope['path'])}: {error}")

    def _host_of(self, authority: str) -> Host:
        found = self.tree.host_of(authority)
        return self._hosts[found.names[0]] if found is not None else self.site.default_host

    async def _answer(self, request: _Request, host: Host, receive: Receive, send: Send) -> None:
        name = static_name(host, request.path)
        mount = self.tree.find(request.authority, request.path)
        if name is not None and (host.static_prefix or mount is None):
            await _send_file(request, host, name, send)
        elif request.path == "/" and host.home and (mount is None or mount[0].prefix):
            location = [("Location", host.home), *host.headers.items()]
            await _send_whole(send, 302, location, b"")
        elif mount is None:
            raise HTTPError(404, "Nothing is mounted at this address.")
        else:
            await self._forward(request, host, mount[0], receive, send)

    # --- to a back end

    async def _forward(self, request: _Request, host: Host, mount: Mount, receive: Receive, send: Send) -> None:
        if mount.backend in self.site.foreign:
            text = f"The back end {mount.backend} is started by somebody else, and is not driven here."
            await _send_error(send, host.headers, 503, text, "")
            return
        trouble = self.trouble(mount.backend)
        if trouble is not None:
            await _send_error(send, host.headers, 503, trouble.text, trouble.detail)
            return
        length = _content_length(request.header("content-length"), self.site.max_request_size)
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
            all_read = asyncio.Event()
            body: AsyncIterator[bytes] | IO[bytes] = spool
            if length:
                body = _body(receive, all_read)
            elif length is None and request.header("transfer-encoding"):
                length = await self._spool(_body(receive, all_read), spool)
            else:
                all_read.set()
            params = self._params(request, host, mount, length or 0)
            exchange = asyncio.create_task(self._exchange(host, mount, params, body, send))
            leaving = asyncio.create_task(_until_client_leaves(receive, all_read))
            await _first_of(exchange, leaving)

    async def _spool(self, body: AsyncIterator[bytes], spool: IO[bytes]) -> int:
        """Keep a body of unknown length, so that the back end can be told its length as lighttpd tells it."""
        length = 0
        async for piece in body:
            length += len(piece)
            if length > self.site.max_request_size:
                raise _too_large(self.site.max_request_size)
            spool.write(piece)
        spool.seek(0)
        return length

    def _params(self, request: _Request, host: Host, mount: Mount, length: int) -> dict[str, str]:
        target = quote(request.path.encode("latin-1"), safe="/:@!$&'()*+,;=~")
        try:
            params = cgi_params(
                request.method,
                f"{target}?{request.query}" if request.query else target,
                _passed_headers(request.headers),
                body_length=length,
                script_name=mount.prefix,
                scheme=request.scheme,
                server_name=host.name,
                server_port=request.server[1],
                server_addr=request.server[0],
                remote_addr=request.client[0],
                remote_port=request.client[1],
                document_root=str(self.site.frontend_directory / "nothing"),
                software=SOFTWARE,
            )
        except ValueError as error:
            raise HTTPError(400, f"This request cannot be passed on: {error}.") from None
        return params | {"REQUEST_URI": request.raw_target}

    async def _exchange(
        self,
        host: Host,
        mount: Mount,
        params: dict[str, str],
        body: AsyncIterator[bytes] | IO[bytes],
        send: Send,
    ) -> None:
        try:
            async with self._clients[mount.backend].stream(params, body) as response:
                if response.status < 200:
                    raise _Refused(f"it answered with the status {response.status}")
                await self._relay(response, params["REQUEST_METHOD"], host, mount, send)
        except (FastCGIError, _Refused) as error:
            self.report(f"{mount.backend}: {printable(str(error))}")
            trouble = self.trouble(mount.backend) or _explain(mount.backend, error)
            status = 504 if isinstance(error, TimeoutError) else 502
            errors: bytes = getattr(error, "errors", b"")
            detail = trouble.detail or errors.decode("utf-8", "replace")
            await _send_error(send, host.headers, status, trouble.text, detail if self.site.development else "")

    async def _relay(self, response: AsyncStreamedResponse, method: str, host: Host, mount: Mount, send: Send) -> None:
        """Pass an answer on. What is not whole, or not as long as its Content-Length, ends without an end."""
        headers = [(name, value) for name, value in response.headers if name.lower() not in HOP_BY_HOP]
        left = _declared_length(response, method)
        await _send_head(send, response.status, with_host_headers(headers, host.headers))
        try:
            async for chunk in response:
                if left is not None:
                    left -= len(chunk)
                    if left < 0:
                        raise _Refused("its body is longer than its Content-Length")
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if left:
                raise _Refused("its body is shorter than its Content-Length")
            if response.app_status:
                raise _Refused(f"it failed after the head of its answer (appStatus {response.app_status})")
        except (FastCGIError, _Refused) as error:
            raise _Incomplete(f"the answer of {mount.backend} was cut: {printable(str(error))}") from error
        await send({"type": "http.response.body", "body": b""})


class _Refused(Exception):
    """An answer of a back end that cannot be passed on."""


class _ClientLeft(Exception):
    """The browser has closed the connection."""


async def _first_of(exchange: asyncio.Task[None], leaving: asyncio.Task[None]) -> None:
    """Run the exchange; give it up, which closes the connection to the back end, when the browser leaves."""
    tasks = (exchange, leaving)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    if exchange.cancelled():
        raise _Incomplete
    try:
        exchange.result()
    except _ClientLeft:
        raise _Incomplete from None


async def _until_client_leaves(receive: Receive, all_read: asyncio.Event) -> None:
    """Wait until the browser closes the connection; who reads the body sees it while there is one."""
    await all_read.wait()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive, all_read: asyncio.Event) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        more = message.get("more_body", False)
        if message.get("body"):
            yield message["body"]
    all_read.set()


def _declared_length(response: AsyncStreamedResponse, method: str) -> int | None:
    """Bytes that the body is to have by its Content-Length; None where nothing is said, or no body follows."""
    text = response.header("Content-Length")
    if text is None or method == "HEAD" or response.status in (204, 304):
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        raise _Refused("its Content-Length is not a number")
    return int(text)


def printable(text: str) -> str:
    """Text of a client or a back end, safe on a terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _explain(backend: str, error: Exception) -> Trouble:
    """What to tell the person at the browser; the name of the back end always, its address never."""
    name = f"The back end “{backend}”"
    if isinstance(error, CannotConnect):
        return Trouble(f"{name} cannot be reached: it does not run, or its socket is not open to the gateway.")
    if isinstance(error, ConnectionLost):
        return Trouble(f"{name} ended before its answer was complete.")
    if isinstance(error, TimeoutError):
        return Trouble(f"{name} did not answer in time.")
    if isinstance(error, _Refused):
        return Trouble(f"{name} sent an answer that cannot be passed on: {error}.")
    return Trouble(f"{name} sent an answer that is no valid one: {str(error).partition(': ')[2]}.")


# --- what a client sent


def _read_request(scope: Mapping[str, Any]) -> _Request:
    """The request in a scope. Raises HTTPError 400 for what is no sound request."""
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    query: bytes = scope.get("query_string", b"")
    hosts = [value for name, value in headers if name == "host"]
    if len(hosts) > 1:
        raise HTTPError(400, "This request has more than one Host header.")
    authority = hosts[0] if hosts else ""
    absolute = re.fullmatch(rb"https?://([^/?#]*)(/.*)?", raw, re.DOTALL | re.IGNORECASE)
    if absolute:  # RFC 9112 §3.2.2: the target's host wins
        authority, raw = absolute[1].decode("latin-1"), absolute[2] or b"/"
    if not re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(?::[0-9]{0,5})?", authority):
        raise HTTPError(400, "This request has a malformed Host header.")
    server, client = scope.get("server") or ("127.0.0.1", 80), scope.get("client") or ("127.0.0.1", 0)
    return _Request(
        method=scope["method"],
        scheme=scope.get("scheme", "http"),
        authority=authority.lower(),
        path=normalise_path(raw),
        raw_target=(raw + (b"?" + query if query else b"")).decode("latin-1"),
        query=query.decode("latin-1"),
        headers=[("host", authority.lower()), *((name, value) for name, value in headers if name != "host")],
        server=(server[0], server[1] or 80),
        client=(client[0], client[1]),
    )


def normalise_path(raw: bytes) -> str:
    """A request's path decoded, without empty, ``.`` and ``..`` segments: as latin-1 text, one character a byte.

    Nothing that looks for ``..`` further on can be deceived by an encoding of it. Raises HTTPError 400 for what is
    no path: a broken percent-encoding, a control character, no slash at its beginning.

    >>> normalise_path(b"/a/%2e%2e/b//c/./d/")
    '/b/c/d/'
    """
    if not raw.startswith(b"/") or len(raw) > MAX_PATH_BYTES or re.search(rb"%(?![0-9A-Fa-f]{2})", raw):
        raise HTTPError(400, "This request has a malformed path.")
    decoded = unquote_to_bytes(raw)
    if re.search(rb"[\x00-\x1f\x7f]", decoded):
        raise HTTPError(400, "The path of this request holds a control character.")
    segments: list[bytes] = []
    parts = decoded.split(b"/")
    for part in parts:
        if part == b"..":
            del segments[-1:]
        elif part not in (b"", b"."):
            segments.append(part)
    is_folder = parts[-1] in (b"", b".", b"..") and bool(segments)
    return ("/" + b"/".join(segments).decode("latin-1")) + ("/" if is_folder else "")


def _passed_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """The headers that a back end gets: none of this connection's, none whose name could pass for another's.

    A name with an underscore is left out, as nginx does: as a CGI parameter X_User would be X-User.
    """
    fields = list(headers)
    named = ",".join(value for name, value in fields if name == "connection").lower().split(",")
    dropped = HOP_BY_HOP | {name.strip() for name in named} | {"proxy"}
    return [(name, value) for name, value in fields if name not in dropped and "_" not in name]


def _content_length(text: str, limit: int) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        raise HTTPError(400, "This request has a malformed Content-Length.")
    if int(text) > limit:
        raise _too_large(limit)
    return int(text)


def _too_large(limit: int) -> HTTPError:
    return HTTPError(413, f"The body of this request is over {limit} bytes, the limit of this site.")


# --- answers


async def _send_head(send: Send, status: int, headers: Iterable[tuple[str, str]]) -> None:
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def _send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await _send_head(send, status, [*headers, ("Content-Length", str(len(body)))])
    await send({"type": "http.response.body", "body": body})


async def _send_error(
    send: Send,
    host_headers: Mapping[str, str],
    status: int,
    text: str,
    detail: str = "",
    headers: Iterable[tuple[str, str]] = (),
) -> None:
    own = {"Content-Security-Policy": f"default-src 'none'; style-src {style_hash()}", "Cache-Control": "no-store"}
    fields = with_host_headers([("Content-Type", "text/html; charset=utf-8"), *headers], {**host_headers, **own})
    await _send_whole(send, status, fields, ErrorPage(status, text, traceback=detail).encode())


def with_host_headers(headers: Headers, extra: Mapping[str, str]) -> Headers:
    """`headers` with those of the site file, which take the place of others of the same name."""
    names = {name.lower() for name in extra}
    return [(name, value) for name, value in headers if name.lower() not in names] + list(extra.items())


# --- static files


def static_name(host: Host, path: str) -> str | None:
    """The part of a path that names a file of the host's static folder; None where the path lies outside of it."""
    if host.static is None or not path.startswith(f"{host.static_prefix}/"):
        return None
    return path[len(host.static_prefix) + 1 :]


def _find_file(folder: Path, name: str) -> Path:
    """The file below a folder. Symbolic links are not followed, hidden files not shown. Raises HTTPError."""
    parts = name.encode("latin-1").decode("utf-8", "surrogateescape").split("/")
    if any(part.startswith(".") for part in parts if part != ".well-known"):
        raise HTTPError(403, "Hidden files are not served.")
    path = folder
    for part in filter(None, parts):
        path = path / part
        if path.is_symlink():
            raise HTTPError(403, "Symbolic links are not followed.")
    return path


async def _send_file(request: _Request, host: Host, name: str, send: Send) -> None:
    if request.method not in ("GET", "HEAD"):
        raise HTTPError(405, "A static file can only be read.", [("Allow", "GET, HEAD")])
    path = _find_file(host.static or Path(), name)
    caching = {"Cache-Control": f"public, max-age={host.static_max_age}" if host.static_max_age else "no-cache"}
    if path.is_dir():
        if not request.path.endswith("/"):
            location = quote(request.path.encode("latin-1")) + "/" + (f"?{request.query}" if request.query else "")
            await _send_whole(send, 301, [("Location", location), *{**host.headers, **caching}.items()], b"")
            return
        path = next((path / index for index in INDEX_NAMES if (path / index).is_file()), path)
        if path.is_dir():
            raise HTTPError(403, "This is a folder, and folders are not listed.")
    try:
        file, facts = open_regular(path)
    except PermissionError:
        raise HTTPError(403, "The gateway may not read this file.") from None
    with file:
        await _send_open_file(request, {**host.headers, **caching}, path, file, facts, send)


async def _send_open_file(
    request: _Request, extra: Mapping[str, str], path: Path, file: IO[bytes], facts: Any, send: Send
) -> None:
    etag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
    headers = [("ETag", etag), ("Last-Modified", formatdate(facts.st_mtime, usegmt=True))]
    if _is_unchanged(request, etag, facts.st_mtime):
        await _send_head(send, 304, with_host_headers(headers, extra))
        await send({"type": "http.response.body", "body": b""})
        return
    headers += [("Content-Type", content_type_of(path.name)), ("Content-Length", str(facts.st_size))]
    await _send_head(send, 200, with_host_headers(headers, extra))
    left = facts.st_size if request.method == "GET" else 0
    while left > 0:
        chunk = await asyncio.to_thread(file.read, min(left, CHUNK_BYTES))
        if not chunk:
            raise _Incomplete  # it was cut while it was sent
        left -= len(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _is_unchanged(request: _Request, etag: str, modified: float) -> bool:
    """Whether the browser has this very file (RFC 9110 §13.1.2, §13.1.3)."""
    known = request.header("if-none-match")
    if known:
        return known.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in known.split(","))
    since = request.header("if-modified-since")
    try:
        return bool(since) and parsedate_to_datetime(since).timestamp() >= int(modified)
    except (ValueError, OverflowError, TypeError):
        return False
