"""The head of a CGI response: header lines up to an empty one (RFC 3875 §6).

Only ProtocolError escapes; what is kept is bounded. No sockets here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastcore.client.limits import DEFAULT_CLIENT_LIMITS, ClientLimits
from fastcore.errors import ProtocolError

__all__ = ["Head", "HeadParser", "parse_head"]

_END = re.compile(rb"\n\r?\n")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS = re.compile(rb"([1-9][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Head:
    """Status and header lines of an answer; ``headers`` in their order, without ``Status``, decoded as latin-1."""

    status: int
    headers: list[tuple[str, str]]


class HeadParser:
    """Collects a head that comes in pieces. One parser a request."""

    def __init__(self, limits: ClientLimits = DEFAULT_CLIENT_LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> tuple[Head, bytes] | None:
        """Add what has come: (head, first bytes of the body) when it is complete, else None.

        Raises ProtocolError for what is no head, or one over the limits.
        """
        searched = max(len(self._buffer) - 2, 0)
        self._buffer += data
        if self._buffer.startswith((b"\n", b"\r")):
            raise ProtocolError("the answer begins with an empty line instead of a header such as Content-Type")
        end = _END.search(self._buffer, searched)
        if (end.end() if end else len(self._buffer)) > self._limits.head:
            raise ProtocolError(f"the head of the answer is longer than {self._limits.head} bytes")
        if end is None:
            return None
        head = parse_head(bytes(self._buffer[: end.start()]), self._limits)
        return head, bytes(self._buffer[end.end() :])

    @property
    def pending(self) -> bytes:
        """What has come of an incomplete head: for messages."""
        return bytes(self._buffer)


def parse_head(data: bytes, limits: ClientLimits = DEFAULT_CLIENT_LIMITS) -> Head:
    """Read header lines, without the empty line that ends them; lines may end in LF or CRLF.

    The status is that of ``Status:``; without it 302 where there is a ``Location:``, else 200 (RFC 3875 §6.2).
    Raises ProtocolError. Example: ``parse_head(b"Status: 404 Not Found\\nContent-Type: text/plain").status == 404``.
    """
    status: int | None = None
    headers: list[tuple[str, str]] = []
    lines = data.split(b"\n")
    if len(lines) > limits.header_count:
        raise ProtocolError(f"the answer has more than {limits.header_count} header lines")
    for line in lines:
        name, value = _parse_line(line.removesuffix(b"\r"))
        if name.lower() != b"status":
            headers.append((name.decode("latin-1"), value.decode("latin-1")))
        elif status is not None:
            raise ProtocolError("the answer has more than one Status header")
        else:
            status = _parse_status(value)
    if status is None:
        status = 302 if any(name.lower() == "location" for name, _ in headers) else 200
    return Head(status, headers)


def _parse_line(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name):
        raise ProtocolError(f"not a header line in the head of the answer: {line[:80]!r}")
    value = value.strip(b" \t")
    if _BAD_VALUE.search(value):
        raise ProtocolError(f"a control character in the header {name[:80].decode()}")
    return name, value


def _parse_status(value: bytes) -> int:
    match = _STATUS.fullmatch(value)
    if match is None:
        raise ProtocolError(f"not a status in the head of the answer: {value[:80]!r}")
    return int(match[1])
