"""A WSGI environ with the surface of `fastcore.Request`, so that `framework.Request` has one kind of source.

Only what the framework reads of it: `get`, `params`, `environ`, `body`, `content_length`, `write_error`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any


class EnvironSource:
    """One WSGI request (PEP 3333) seen as a native one. `params` leaves out the keys of WSGI itself;
    `content_length` is -2 where the header is no number, -1 where nobody knows it and the input ends with the body."""

    __slots__ = ("_body", "content_length", "environ", "get")

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ = environ
        self.get = environ.get
        length = environ.get("CONTENT_LENGTH")
        if length in (None, "", "-1") and environ.get("wsgi.input_terminated"):  # Caddy's word for "unknown"
            self.content_length = -1
        elif not length:
            self.content_length = 0
        else:
            valid = length.isascii() and length.isdigit() and len(length) <= 18
            self.content_length = int(length) if valid else -2
        self._body: LimitedInput | None = None

    @property
    def params(self) -> tuple[tuple[bytes, bytes], ...]:
        """The CGI parameters as bytes."""
        return tuple(
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in self.environ.items()
            if isinstance(value, str) and "." not in name and name != "HTTP_PROXY"
        )

    @property
    def body(self) -> LimitedInput:
        """`wsgi.input`, cut at `content_length` bytes where that is known."""
        if self._body is None:
            length = sys.maxsize if self.content_length == -1 else max(self.content_length, 0)
            self._body = LimitedInput(self.environ["wsgi.input"], length)
        return self._body

    def write_error(self, text: str) -> None:
        """A line to `wsgi.errors`."""
        self.environ["wsgi.errors"].write(text)


class LimitedInput:
    """The first `length` bytes of an input stream; a client that keeps its connection sends no end of file."""

    __slots__ = ("_input", "_left")

    def __init__(self, stream: Any, length: int) -> None:
        self._input = stream
        self._left = length

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, all that are left where it is negative; fewer where the client broke off."""
        if size < 0 or size > self._left:
            size = self._left
        pieces = []
        while size > 0:
            piece = self._input.read(size)
            if not piece:
                self._left = 0
                break
            size -= len(piece)
            self._left -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def readline(self, size: int = -1) -> bytes:
        """One line with its end, at most `size` bytes of it."""
        if size < 0 or size > self._left:
            size = self._left
        if size == 0:
            return b""
        line: bytes = self._input.readline(size)
        self._left = self._left - len(line) if line else 0
        return line

    def readlines(self, hint: int = -1) -> list[bytes]:
        """The lines that are left, at least `hint` bytes of them."""
        lines, total = [], 0
        for line in self:
            lines.append(line)
            total += len(line)
            if 0 <= hint <= total and hint:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line
