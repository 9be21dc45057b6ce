"""The head of a CGI response (RFC 3875 §6) as bytes, checked: nothing can smuggle in a header. No bodies here."""

from __future__ import annotations

from fastcore.errors import ResponseError
from fastcore.statuses import REASONS

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable

# RFC 9110 §5.6.2
_NAME_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_FORBIDDEN = frozenset(chr(code) for code in range(32) if code != 9) | {"\x7f"}
_CONNECTION_HEADERS = frozenset(("connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"))
"""RFC 9110 §7.6.1: about the front end's connection with its client, of which an answer over FastCGI knows nothing."""


def check_header(name: str, value: str) -> None:
    """Raise ResponseError where a header cannot be sent: a name that is no token, a value with a control character."""
    if type(name) is not str or type(value) is not str:
        raise ResponseError(f"a header is a pair of str, not ({name!r}, {value!r})")
    if not name or not _NAME_CHARACTERS.issuperset(name):
        raise ResponseError(f"header name {name!r} is not a token (RFC 9110 section 5.6.2)")
    if not _FORBIDDEN.isdisjoint(value):
        raise ResponseError(f"the value of header {name!r} has a control character: {value!r}")
    if not value.isascii():
        try:
            value.encode("latin-1")
        except UnicodeEncodeError:
            raise ResponseError(f"the value of header {name!r} is not latin-1: {value!r}") from None


def check_status(status: int) -> None:
    """Raise ResponseError where `status` is not an int from 200 to 999 (1xx cannot be a final answer)."""
    if type(status) is not int:
        raise ResponseError(f"a status is an int, not {status!r}")
    if 100 <= status < 200:
        raise ResponseError(
            f"status {status} is informational: an answer needs a final one, 200 to 999 (RFC 9110 §15.2)"
        )
    if not 200 <= status <= 999:
        raise ResponseError(f"status {status} is outside 200 to 999")


def has_body(status: int) -> bool:
    """Whether a response of this status may have a body (RFC 9110 §6.4.1)."""
    return status not in (204, 304)


def _declared_length(value: str, before: int) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise ResponseError(f"Content-Length {value!r} is not a number of bytes")
    length = int(value)
    if before >= 0 and before != length:
        raise ResponseError(f"two different Content-Length headers: {before} and {length}")
    return length


def build_head(
    status: int, headers: Iterable[tuple[str, str]], reason: str = "", body_length: int = -1
) -> tuple[bytes, int]:
    """`Status: …`, the headers and the empty line, as bytes; and the length of body that they declare.

    Args:
        status: 200 to 999. With 204 there is no Content-Length, though the headers declare one (RFC 9110 §8.6).
        headers: pairs of text, latin-1. `Status`, which is made here, is refused. Those about a connection (RFC 9110
            §7.6.1, PEP 3333) are left out: Connection, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding, Upgrade.
        reason: the reason phrase; the registered one where it is empty.
        body_length: bytes of the whole body where that is known: declared if the headers do not; else -1.

    Returns the head and the declared Content-Length, -1 where there is none. Raises ResponseError for what cannot be
    sent.
    Example: ``build_head(204, []) == (b"Status: 204 No Content\\r\\n\\r\\n", -1)``.
    """
    check_status(status)
    if reason:
        check_header("Status", reason)
    lines = [f"Status: {status} {reason or REASONS.get(status, '')}"]
    declared = -1
    for name, value in headers:
        check_header(name, value)
        lowered = name.lower()
        if lowered == "status":
            raise ResponseError("the status is given as a number, not as a 'Status' header")
        if lowered in _CONNECTION_HEADERS:
            continue
        if lowered == "content-length":
            declared = _declared_length(value, declared)
            if status == 204:
                continue
        lines.append(f"{name}: {value}")
    if status == 204:
        declared = -1
    elif declared < 0 <= body_length and has_body(status):
        declared = body_length
        lines.append(f"Content-Length: {body_length}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1"), declared


def error_page(status: int) -> tuple[bytes, bytes]:
    """Head and body of an answer that names the status and nothing else."""
    text = f"{status} {REASONS[status]}\n".encode()
    return build_head(status, [("Content-Type", "text/plain; charset=utf-8")], "", len(text))[0], text
