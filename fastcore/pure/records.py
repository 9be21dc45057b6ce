"""Record headers and name-value pairs (FastCGI 1.0 §3.3, §3.4): bytes to values and back.

Only ProtocolError escapes a parse_ function. No state and no sockets here.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastcore.constants import (
    BEGIN_REQUEST,
    END_REQUEST,
    HEADER_LENGTH,
    KEEP_CONN,
    MAX_CONTENT_LENGTH,
    UNKNOWN_TYPE,
    VERSION_1,
)
from fastcore.errors import ProtocolError

MAX_PAIR_LENGTH = 0x7FFFFFFF  # bytes; the four-byte form carries 31 bits


def parse_header(data: bytes, offset: int = 0) -> tuple[int, int, int, int]:
    """Read the eight bytes of a record header at `offset`: (type, request id, content length, padding length).

    Lengths are bytes; the reserved byte is ignored. Raises ProtocolError for another version than 1, or where eight
    bytes are not there. Example: ``parse_header(b"\\1\\5\\0\\1\\0\\4\\4\\0") == (5, 1, 4, 4)``. FastCGI 1.0 §3.3.
    """
    if offset < 0 or len(data) - offset < HEADER_LENGTH:
        raise ProtocolError("a record header needs 8 bytes")
    if data[offset] != VERSION_1:
        raise ProtocolError(f"FastCGI version {data[offset]} instead of 1")
    return (
        data[offset + 1],
        data[offset + 2] << 8 | data[offset + 3],
        data[offset + 4] << 8 | data[offset + 5],
        data[offset + 6],
    )


def build_header(record_type: int, request_id: int, content_length: int, padding_length: int = 0) -> bytes:
    """The eight bytes of a record header. Raises ValueError for a number that does not fit its field."""
    if not 0 <= record_type <= 255:
        raise ValueError(f"record type {record_type} does not fit one byte")
    if not 0 <= request_id <= 65535:
        raise ValueError(f"request id {request_id} does not fit two bytes")
    if not 0 <= content_length <= MAX_CONTENT_LENGTH:
        raise ValueError(f"content length {content_length} is over 65535 bytes")
    if not 0 <= padding_length <= 255:
        raise ValueError(f"padding length {padding_length} does not fit one byte")
    return bytes(
        (
            VERSION_1,
            record_type,
            request_id >> 8,
            request_id & 255,
            content_length >> 8,
            content_length & 255,
            padding_length,
            0,
        )
    )


def build_record(record_type: int, request_id: int, content: bytes = b"", padding_length: int = 0) -> bytes:
    """One whole record. Raises ValueError where the content is over 65535 bytes: build_stream() splits."""
    return build_header(record_type, request_id, len(content), padding_length) + content + bytes(padding_length)


def build_stream(record_type: int, request_id: int, data: bytes) -> bytes:
    """The records that carry `data` on a stream, split at 65535 bytes; none for empty data, which would end it."""
    return b"".join(
        build_record(record_type, request_id, data[start : start + MAX_CONTENT_LENGTH])
        for start in range(0, len(data), MAX_CONTENT_LENGTH)
    )


def build_begin_request(request_id: int, role: int, keep_connection: bool = False) -> bytes:
    """BEGIN_REQUEST (§5.1)."""
    if not 0 <= role <= 65535:
        raise ValueError(f"role {role} does not fit two bytes")
    flags = KEEP_CONN if keep_connection else 0
    return build_record(BEGIN_REQUEST, request_id, bytes((role >> 8, role & 255, flags, 0, 0, 0, 0, 0)))


def build_end_request(request_id: int, app_status: int, protocol_status: int) -> bytes:
    """END_REQUEST (§5.5). `app_status` is the application's exit code, 32 bits."""
    if not 0 <= protocol_status <= 255:
        raise ValueError(f"protocol status {protocol_status} does not fit one byte")
    content = (app_status & 0xFFFFFFFF).to_bytes(4, "big") + bytes((protocol_status, 0, 0, 0))
    return build_record(END_REQUEST, request_id, content)


def build_unknown_type(record_type: int) -> bytes:
    """UNKNOWN_TYPE (§4.2): the answer to a management record whose type is not known."""
    if not 0 <= record_type <= 255:
        raise ValueError(f"record type {record_type} does not fit one byte")
    return build_record(UNKNOWN_TYPE, 0, bytes((record_type, 0, 0, 0, 0, 0, 0, 0)))


def _parse_length(data: bytes, offset: int) -> tuple[int, int]:
    if offset >= len(data):
        raise ProtocolError("name-value pairs end within a length")
    first = data[offset]
    if first < 128:
        return first, offset + 1
    if len(data) - offset < 4:
        raise ProtocolError("name-value pairs end within a length")
    return int.from_bytes(data[offset : offset + 4], "big") & MAX_PAIR_LENGTH, offset + 4


def parse_pairs(data: bytes) -> list[tuple[bytes, bytes]]:
    """All name-value pairs of a complete stream (§3.4), in their order, duplicates kept.

    Raises ProtocolError where a length or its bytes are not all there.
    Example: ``parse_pairs(b"\\1\\2Aok") == [(b"A", b"ok")]``.
    """
    pairs = []
    offset = 0
    end = len(data)
    while offset < end:
        name_length, offset = _parse_length(data, offset)
        value_length, offset = _parse_length(data, offset)
        if name_length + value_length > end - offset:
            raise ProtocolError("a name-value pair is longer than its stream")
        value_at = offset + name_length
        pairs.append((data[offset:value_at], data[value_at : value_at + value_length]))
        offset = value_at + value_length
    return pairs


def _build_length(length: int) -> bytes:
    if length < 128:
        return bytes((length,))
    if length > MAX_PAIR_LENGTH:
        raise ValueError(f"{length} bytes do not fit a name-value pair")
    return (length | 0x80000000).to_bytes(4, "big")


def build_pairs(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Name-value pairs as the bytes of a stream; the inverse of parse_pairs()."""
    return b"".join(_build_length(len(name)) + _build_length(len(value)) + name + value for name, value in pairs)
