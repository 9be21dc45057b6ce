"""One request: its parameters, decoded when read, and its body. No wire format beyond the pairs, no sockets here."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING

from fastcore.constants import AUTHORIZER, FILTER, RESPONDER, ROLE_NAMES
from fastcore.limits import DEFAULT_LIMITS, Limits
from fastcore.pure.body import BodyStore
from fastcore.pure.records import parse_pairs
from fastcore.pure.stream import StreamBody

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any, BinaryIO

BODILESS_METHODS = (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"TRACE")


def parse_content_length(value: bytes) -> int:
    """CONTENT_LENGTH as bytes of body; -1 where it is empty, -2 where it is nonsense (RFC 3875 §4.1.2: only digits)."""
    if not value:
        return -1
    if len(value) > 18 or not value.isdigit():
        return -2
    return int(value)


class Request:
    """What one client asked for. Applications of the native interface get this object.

    `request_id`, `role` and `keep_connection` come from BEGIN_REQUEST; `content_length` is CONTENT_LENGTH, or the
    number of bytes received where the client named none; `body` is a binary file at position 0. Where the body is
    shorter than `content_length`, the client broke it off. `undeclared` says that there is a body to read of which no
    length was named: CONTENT_LENGTH is missing, empty or "-1".

    A filter (FastCGI 1.0 §6.4) has a file besides: `data` like `body`, `data_received` bytes of it; the front end
    announces `data_length` bytes, last changed at `data_last_modified` (seconds since 1970), each -1 where it does not.
    An authorizer (§6.3) has no body.

    Example::

        def application(request):
            return 200, [("Content-Type", "text/plain")], request.get("PATH_INFO", "").encode("latin-1")
    """

    def __init__(self, request_id: int, role: int, keep_connection: bool, raw_params: bytes) -> None:
        """`raw_params` is the complete PARAMS stream; raises ProtocolError where its pairs are malformed."""
        self.request_id = request_id
        self.role = role
        self.keep_connection = keep_connection
        self.params: tuple[tuple[bytes, bytes], ...] = tuple(
            pair
            for pair in parse_pairs(raw_params)
            if pair[0] != b"HTTP_PROXY"  # CVE-2016-5385: a header never sets a proxy
        )
        declared = self._find(b"CONTENT_LENGTH") or b""
        # Caddy's way to say that it does not know: a chunked upload, or any request over HTTP/3 without a length
        says_unknown = declared == b"-1" and role != AUTHORIZER
        self.content_length = -1 if says_unknown else parse_content_length(declared)
        self.data_length = self.data_last_modified = -1
        if role == AUTHORIZER:
            self.content_length = 0
        elif role == FILTER:
            self.data_length = parse_content_length(self._find(b"FCGI_DATA_LENGTH") or b"")
            self.data_last_modified = max(parse_content_length(self._find(b"FCGI_DATA_LAST_MOD") or b""), -1)
        self.waits_for_body = says_unknown or self._waits_for_body()
        self.undeclared = self.waits_for_body and self.content_length < 0
        self._environ: dict[str, str] | None = None
        self._body: Any = None
        self._data: Any = None
        self.arriving: StreamBody | None = None  # the stream that the application reads as it comes
        self._body_store: BodyStore | None = None
        self._data_store: BodyStore | None = None
        self._errors = bytearray()
        self.error_limit = DEFAULT_LIMITS.stderr_bytes  # bytes; set by the connection

    def _find(self, name: bytes) -> bytes | None:
        for key, value in reversed(self.params):
            if key == name:
                return value
        return None

    def _waits_for_body(self) -> bool:
        """Whether STDIN is worth waiting for. Some clients send no terminator where there is no body (HAProxy 2.6)."""
        if self.content_length >= 0:
            return self.content_length > 0
        if self._find(b"HTTP_TRANSFER_ENCODING"):
            return True
        method = self._find(b"REQUEST_METHOD")
        return method is not None and method not in BODILESS_METHODS

    def get(self, name: str, default: str | None = None) -> str | None:
        """One CGI parameter as latin-1 text (PEP 3333), or `default`. The last of duplicates wins."""
        try:
            value = self._find(name.encode("latin-1"))
        except UnicodeEncodeError:
            return default
        return default if value is None else value.decode("latin-1")

    @property
    def environ(self) -> dict[str, str]:
        """All parameters as text, built when first read, then kept. The last of duplicates wins.

        In another role than the responder's, FCGI_ROLE says in which: AUTHORIZER or FILTER, as libfcgi has it.
        """
        if self._environ is None:
            self._environ = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.params}
            if self.role != RESPONDER and self.role in ROLE_NAMES:
                self._environ["FCGI_ROLE"] = ROLE_NAMES[self.role]
        return self._environ

    @property
    def body(self) -> BinaryIO:
        """The body as a binary file: in memory, or an unnamed temporary file where it is long.

        In the streaming mode it is a StreamBody, which is read once, forwards, and waits for what has not come.
        """
        if self._body is None:
            self._body = io.BytesIO()
        body: BinaryIO = self._body
        return body

    def stream(self) -> AsyncIterator[bytes]:
        """The body in chunks as it comes, for `async for`: nobody else waits meanwhile."""
        from fastcore.chunks import iterate

        return iterate(self.body)

    def stream_body(self, arriving: StreamBody) -> None:
        """The body, or a filter's file, will be read as it comes."""
        self.arriving = arriving
        if self.role == FILTER:
            self._data = arriving
        else:
            self._body = arriving

    def store_body(self, data: bytes, limits: Limits, directory: str | None = None) -> None:
        """Append a piece of the body; past `limits.body_memory` bytes it moves to a file in `directory`, once.

        Raises OSError where that has no room.
        """
        if self._body_store is None:
            self._body_store = BodyStore(limits.body_memory, directory)
        self._body_store.put(data)

    def finish_body(self) -> None:
        """The body is complete: count it where no length was declared, and make the file of it."""
        if self.arriving is not None and self._body is self.arriving:
            self.arriving.end()
            self.content_length = self.arriving.received if self.content_length < 0 else self.content_length
            return
        if self._body_store is None:
            self.content_length = max(self.content_length, 0)
            return
        if self.content_length < 0:
            self.content_length = self._body_store.received
        self._body = self._body_store.finish()

    @property
    def data(self) -> BinaryIO:
        """A filter's file (FCGI_DATA) as a binary file, as `body`; empty in other roles."""
        if self._data is None:
            self._data = io.BytesIO()
        data: BinaryIO = self._data
        return data

    @property
    def data_received(self) -> int:
        """Bytes of `data` that have come; another number than `data_length` says that the front end has erred."""
        source = self.arriving if self._data is self.arriving else self._data_store
        return 0 if source is None else source.received

    def store_data(self, data: bytes, limits: Limits, directory: str | None = None) -> None:
        """Append a piece of a filter's file, as store_body() does of a body."""
        if self._data_store is None:
            self._data_store = BodyStore(limits.body_memory, directory)
        self._data_store.put(data)

    def finish_data(self) -> None:
        """A filter's file is complete."""
        if self.arriving is not None:
            self.arriving.end()
        elif self._data_store is not None:
            self._data = self._data_store.finish()

    def write_error(self, text: str) -> None:
        """Send text to the front end's error log (FCGI_STDERR). Over the limit it is cut."""
        room = self.error_limit - len(self._errors)
        if room > 0:
            self._errors += text.encode("utf-8", "backslashreplace")[:room]

    def take_errors(self) -> bytes:
        """The error text written since the last call."""
        errors = bytes(self._errors)
        self._errors.clear()
        return errors

    def close(self) -> None:
        """Free the body, unless somebody holds on to its memory, or there is no room for what is not written yet."""
        for owned in (self._body, self._data, self._body_store, self._data_store):
            if owned is not None:
                with suppress(Exception):
                    owned.close()
