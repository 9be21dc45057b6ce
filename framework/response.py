"""What a handler gives back: status, headers, body; and the ways to make one.

A Response is never changed by being sent, so one may be kept and returned again (not one with a file or stream). No
negotiation here beyond the facts that it needs: `framework.finish` makes of a Response what is sent.
"""

from __future__ import annotations

import os
import re
from types import CoroutineType
from typing import TYPE_CHECKING

from framework.files import FileBody, content_type_of, open_regular
from framework.headers import check_header, http_date
from framework.pending import Pending, pend

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
    from typing import Any, Protocol

    from framework.cookies import Cookie

    class Page(Protocol):
        """A document that can be sent as one of several media types, in the server's order of preference."""

        @property
        def media_types(self) -> tuple[str, ...]:
            """Such as ("application/xhtml+xml", "text/html")."""

        def encode(self) -> bytes:
            """The document's bytes."""


TEXT = ("Content-Type", "text/plain; charset=utf-8")
JSON = ("Content-Type", "application/json")
BYTES = ("Content-Type", "application/octet-stream")

_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]*:"
MAX_JSON_DEPTH = 200
"""Levels of lists and dicts in which surrogates are looked for; orjson itself has a limit, too."""

_REDIRECTS = (301, 302, 303, 307, 308)


class SiteURL(str):
    """An address that `request.get_url` made: it is of this site, so `Response.redirect` takes it as it is.

    With a query or fragment added (``url + "?page=2"``) it still is one, with anything else it is plain text.
    """

    __slots__ = ()

    def __add__(self, other: str) -> str:
        added = str.__add__(self, other)
        return SiteURL(added) if other[:1] in ("", "?", "#") else added


class Response:
    """Status, header fields and body.

    `body` is bytes or an iterable of bytes, whose `close()` is called when it was sent or given up. `headers` is a
    list of (name, value); use `set_header` and `add_header`, which refuse line breaks. `media_types` is set for pages
    only: the client's Accept header then chooses the Content-Type.

    Example: ``Response.text("Done.", status=201)``.
    """

    __slots__ = ("body", "conditional", "cookies", "headers", "media_types", "status")

    def __init__(
        self,
        body: Any = b"",
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (),
        content_type: str = "application/octet-stream",
    ) -> None:
        """`body` is bytes or an iterable of bytes, `status` 200 to 599; an empty body has no `content_type`."""
        if type(status) is not int or not 200 <= status <= 599:
            raise ValueError(f"the status of a Response is from 200 to 599, not {status!r}")
        if type(body) is str:
            raise TypeError("the body of a Response is bytes; Response.text(...) makes one of str")
        self.status = status
        self.headers = [check_header(name, value) for name, value in headers]
        self.body: bytes | Iterable[bytes] = body
        self.media_types: tuple[str, ...] | None = None
        self.cookies: list[Cookie] | None = None
        self.conditional = False
        if body != b"" and self.get_header("Content-Type") is None:
            self.headers.append(check_header("Content-Type", content_type))

    @classmethod
    def _of(cls, body: bytes | Iterable[bytes], status: int, headers: list[tuple[str, str]]) -> Response:
        """As the constructor, for headers that are known to be right."""
        self = cls.__new__(cls)
        if type(status) is not int or not 200 <= status <= 599:
            raise ValueError(f"the status of a Response is from 200 to 599, not {status!r}")
        self.status = status
        self.headers = headers
        self.body = body
        self.media_types = None
        self.cookies = None
        self.conditional = False
        return self

    @classmethod
    def text(cls, text: str, status: int = 200) -> Response:
        """Plain text in UTF-8; a lone surrogate (of a file name, say) becomes "?"."""
        try:
            return cls._of(text.encode(), status, [TEXT])
        except UnicodeEncodeError:
            return cls._of(text.encode("utf-8", "replace"), status, [TEXT])

    @classmethod
    def page(cls, page: Page, status: int = 200, *, stream: bool = False) -> Response:
        """A page: an XHTML document, element, or any object with `media_types` and `encode()`.

        The client's Accept header chooses the media type (and the answer says ``Vary: Accept``). With `stream` the
        page is iterated and sent while it is made.
        """
        self = cls._of(_Encoded(page) if stream else page.encode(), status, [])
        self.media_types = tuple(page.media_types)
        return self

    @classmethod
    def json(cls, value: Any, status: int = 200, *, content_type: str = "application/json") -> Response:
        """`value` as JSON; see `encode_json`. Raises TypeError for what JSON cannot carry."""
        body = encode_json(value)
        header = JSON if content_type == "application/json" else check_header("Content-Type", content_type)
        return cls._of(body, status, [header])

    @classmethod
    def redirect(cls, location: str, status: int = 303, *, external: bool = False) -> Response:
        """Send the client to another address: 303 (see other, by GET) unless `status` says 301, 302, 307 or 308.

        Args:
            location: a path within this host, or what `request.get_url` gave.
            external: also take an http(s) URL of any host. Never with a text that came from a client.

        Raises ValueError for anything that would lead elsewhere: ``//host``, ``javascript:``, backslashes, line breaks.
        """
        if status not in _REDIRECTS:
            raise ValueError(f"the status of a redirect is one of {_REDIRECTS}, not {status!r}")
        check_location(location, external=external or isinstance(location, SiteURL))
        return cls._of(b"", status, [check_header("Location", encode_location(location))])

    @classmethod
    def file(
        cls, path: str | os.PathLike[str], *, content_type: str | None = None, download: str | None = None
    ) -> Response:
        """A file with Last-Modified and ETag; the App answers 304 where the client has it already.

        Args:
            path: of a regular file, chosen by the programmer; `safe_join` makes one of a client's text.
            content_type: by the file's name, where it is not given.
            download: the name under which a browser stores it instead of showing it.

        Raises HTTPError 404 where there is no such file.
        """
        file, facts = open_regular(path)
        try:
            headers = [
                check_header("Content-Type", content_type or content_type_of(os.fspath(path))),
                ("Last-Modified", http_date(facts.st_mtime)),
                ("ETag", f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'),
                ("Content-Length", str(facts.st_size)),
                ("X-Content-Type-Options", "nosniff"),
            ]
            if download is not None:
                headers.append(check_header("Content-Disposition", attachment(download)))
        except BaseException:
            file.close()
            raise
        self = cls._of(FileBody(file, 0, facts.st_size), 200, headers)
        self.conditional = True
        return self

    @classmethod
    def stream(
        cls,
        chunks: Iterable[bytes | str] | AsyncIterable[bytes | str],
        status: int = 200,
        *,
        content_type: str = "text/plain; charset=utf-8",
    ) -> Response:
        """An answer sent while it is made: each chunk (text is UTF-8) goes out as the client takes it.

        An asynchronous iterable is awaited, and its `aclose()` when the client has gone (docs/async.md).
        """
        body: Any = _AsyncEncoded(chunks) if hasattr(chunks, "__aiter__") else _Encoded(chunks)
        return cls._of(body, status, [check_header("Content-Type", content_type)])

    @classmethod
    def empty(cls, status: int = 204) -> Response:
        """No body."""
        return cls._of(b"", status, [])

    def get_header(self, name: str) -> str | None:
        """The value of the first field of this name, in any case."""
        lowered = name.lower()
        return next((value for key, value in self.headers if key.lower() == lowered), None)

    def set_header(self, name: str, value: str) -> None:
        """Replace all fields of this name by one. Raises ValueError for line breaks and other control characters."""
        check_header(name, value)
        lowered = name.lower()
        self.headers[:] = [pair for pair in self.headers if pair[0].lower() != lowered]
        self.headers.append((name, value))

    def add_header(self, name: str, value: str) -> None:
        """Add a field; others of this name stay. Raises ValueError as `set_header` does."""
        self.headers.append(check_header(name, value))

    def set_etag(self, tag: str) -> None:
        """Name this version of the resource; the App then answers 304 to a client that has it."""
        if '"' in tag:
            raise ValueError(f"an ETag has no quotes inside: {tag!r}")
        self.set_header("ETag", f'"{tag}"')
        self.conditional = True

    def set_cookie(
        self,
        name: str,
        value: str = "",
        *,
        max_age: int | None = None,
        path: str | None = None,
        domain: str | None = None,
        secure: bool = True,
        http_only: bool = True,
        same_site: str = "Lax",
    ) -> None:
        """Set a cookie for this back end's prefix; see `framework.cookies.Cookie` for the arguments.

        Browsers take a `secure` cookie over HTTPS and from localhost only: ``secure=request.scheme == "https"`` where
        the site is plain HTTP. Raises ValueError for what no browser takes.
        """
        from framework.cookies import Cookie

        cookie = Cookie(
            name,
            value,
            max_age=max_age,
            path=path,
            domain=domain,
            secure=secure,
            http_only=http_only,
            same_site=same_site,
        )
        if self.cookies is None:
            self.cookies = []
        self.cookies.append(cookie)

    def delete_cookie(
        self, name: str, *, path: str | None = None, domain: str | None = None, secure: bool = True
    ) -> None:
        """Make the browser forget a cookie; `path`, `domain` and `secure` as it was set with."""
        self.set_cookie(name, "", max_age=0, path=path, domain=domain, secure=secure)

    def close(self) -> None:
        """Give the body up: its file or iterator is closed."""
        close = getattr(self.body, "close", None)
        if close is not None:
            close()

    def __await__(self) -> Generator[None, None, Response]:
        """Itself, at once: a middleware may await what `next` gives it without knowing what is inside."""
        yield from ()
        return self

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.get_header('Content-Type') or self.media_types or ''}>"


class _Encoded:
    """Chunks of text or bytes as bytes, one iteration; `close` reaches the iterator or what it came from."""

    __slots__ = ("_chunks", "_iterator")

    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._iterator is None:
            self._iterator = iter(self._chunks)
        chunk = next(self._iterator)
        return chunk.encode("utf-8", "replace") if isinstance(chunk, str) else chunk

    def close(self) -> None:
        for source in (self._iterator, self._chunks):
            close: Callable[[], object] | None = getattr(source, "close", None)
            if close is not None:
                close()
                return


class _AsyncEncoded:
    """Chunks of text or bytes that are awaited, as bytes; `aclose()` reaches what makes them."""

    __slots__ = ("_chunks", "_iterator")

    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks
        self._iterator: Any = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._iterator is None:
            self._iterator = aiter(self._chunks)
        chunk = await anext(self._iterator)
        return chunk.encode("utf-8", "replace") if isinstance(chunk, str) else chunk

    async def aclose(self) -> None:
        for source in (self._iterator, self._chunks):
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()
                return


def check_location(location: str, *, external: bool) -> None:
    """Raise ValueError where a redirect to `location` would leave this host (or, with `external`, the web)."""
    if any(ord(character) < 33 or ord(character) == 127 for character in location):
        raise ValueError(f"a redirect has no spaces or control characters: {location!r}")
    if "\\" in location:
        raise ValueError(f"browsers read a backslash as a slash, so a redirect has none: {location!r}")
    scheme = re.match(_SCHEME, location)
    if scheme is None and not location.startswith("//"):
        return
    if not external:
        raise ValueError(f"this redirect leaves the host; say external=True where that is meant: {location!r}")
    if not location.lower().startswith(("http://", "https://")):
        raise ValueError(f"a redirect goes to http or https only: {location!r}")


def encode_location(location: str) -> str:
    """`location` with what is not ASCII percent-encoded as UTF-8."""
    if location.isascii():
        return location
    from urllib.parse import quote

    return quote(location, safe="!#$%&'()*+,/:;=?@[]~", errors="replace")


def attachment(name: str) -> str:
    """A Content-Disposition that stores under `name` (RFC 6266): plain for old clients, UTF-8 for the others."""
    name = "".join(c if c.isprintable() and c not in '/\\"' else "_" for c in name) or "download"
    plain = name.encode("ascii", "replace").decode().replace("?", "_").replace("%", "_")
    if plain == name:
        return f'attachment; filename="{name}"'
    from urllib.parse import quote

    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def encode_json(value: Any, default: Callable[[Any], Any] | None = None, options: int = 0) -> bytes:
    """What orjson takes (dict, list, str, numbers, dataclass, datetime, UUID, Enum, ...) as JSON.

    Keys of a dict may be numbers, dates and the like. A lone surrogate (of a file name, say) becomes "?". `default`
    makes something known of other values, or raises TypeError, as this does for them and for integers beyond 64 bits.
    `options` are orjson's.
    """
    from orjson import OPT_NON_STR_KEYS, JSONEncodeError, dumps

    try:
        return dumps(value, default, options)
    except JSONEncodeError:
        pass
    options |= OPT_NON_STR_KEYS
    try:
        return dumps(value, default, options)
    except JSONEncodeError as error:
        if "surrogates" not in str(error):
            raise
    cleaned = None if default is None else lambda inner: _without_surrogates(default(inner))
    return dumps(_without_surrogates(value), cleaned, options)


def _without_surrogates(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if depth > MAX_JSON_DEPTH:
        raise TypeError("the value is nested too deeply for JSON")
    if isinstance(value, list | tuple):
        return [_without_surrogates(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item, depth + 1) for key, item in value.items()}
    return value


def _of_str(result: Any) -> Response:
    return Response.text(result)


def _of_bytes(result: Any) -> Response:
    return Response._of(result, 200, [BYTES])


def _of_json(result: Any) -> Response:
    return Response.json(result)


def _of_none(_: Any) -> Response:
    return Response.empty()


_MAKERS: dict[type, Callable[[Any], Response | Pending]] = {
    str: _of_str,
    bytes: _of_bytes,
    dict: _of_json,
    list: _of_json,
    type(None): _of_none,
    CoroutineType: pend,
    Pending: pend,
}


def to_response(result: Any) -> Response | Pending:
    """What a handler returned, as a Response: a page, str, bytes, dict, list, None (204), or a Response itself.

    A Pending, to be awaited, of what an `async def` handler returned. Raises TypeError for anything else.
    """
    if isinstance(result, Response):
        return result
    maker = _MAKERS.get(type(result))
    if maker is not None:
        return maker(result)
    if getattr(result, "media_types", None) and hasattr(result, "encode"):
        return Response.page(result)
    for kind, maker in _MAKERS.items():
        if isinstance(result, kind):
            return maker(result)
    if hasattr(result, "__await__"):
        return pend(result)
    raise TypeError(
        f"a handler returned {type(result).__name__}; it returns a Response, a page, str, bytes, dict, list or None"
        " (Response.stream(...) takes an iterable, Response.json(...) other values)"
    )
