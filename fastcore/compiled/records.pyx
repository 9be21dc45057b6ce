"""Record headers and name-value pairs (FastCGI 1.0 §3.3, §3.4): bytes to values and back.

Only ProtocolError escapes a parse_ function. No state and no sockets here. The twin is fastcore.pure.records.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from fastcore.compiled.buffer cimport Buffer, buffer_free, buffer_length, buffer_put, buffer_reserve
from fastcore.compiled.cursor cimport Cursor, cursor_over, take, take_pair_length, take_u16, take_u8
from fastcore.compiled cimport protocol

from fastcore.errors import ProtocolError

MAX_PAIR_LENGTH = 0x7FFFFFFF  # bytes; the four-byte form carries 31 bits


cdef int read_header(const uint8_t* data, Py_ssize_t length, Header* header) except -1:
    """Fill `header` from eight bytes."""
    cdef Cursor cursor = cursor_over(data, length)
    cdef int version
    if length < protocol.HEADER_LENGTH:
        raise ProtocolError("a record header needs 8 bytes")
    version = take_u8(&cursor)
    if version != protocol.VERSION_1:
        raise ProtocolError(f"FastCGI version {version} instead of 1")
    header.type = take_u8(&cursor)
    header.request_id = take_u16(&cursor)
    header.content_length = take_u16(&cursor)
    header.padding_length = take_u8(&cursor)
    return 0


def parse_header(data: bytes, offset: int = 0) -> tuple[int, int, int, int]:
    """Read the eight bytes of a record header at `offset`: (type, request id, content length, padding length).

    Lengths are bytes; the reserved byte is ignored. Raises ProtocolError for another version than 1, or where eight
    bytes are not there. Example: ``parse_header(b"\\1\\5\\0\\1\\0\\4\\4\\0") == (5, 1, 4, 4)``. FastCGI 1.0 §3.3.
    """
    cdef Header header
    cdef Py_ssize_t start = offset if 0 <= offset <= len(data) else len(data)
    cdef Cursor cursor = cursor_over(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    take(&cursor, start)
    read_header(cursor.at, cursor.left, &header)
    return header.type, header.request_id, header.content_length, header.padding_length


cdef int put_header(Buffer* out, int record_type, int request_id, Py_ssize_t content_length) except -1:
    """The header of a record without padding; its numbers are known to fit."""
    cdef uint8_t* at
    buffer_reserve(out, protocol.HEADER_LENGTH)
    at = out.data + out.end
    at[0] = protocol.VERSION_1
    at[1] = record_type
    at[2] = request_id >> 8
    at[3] = request_id & 255
    at[4] = content_length >> 8
    at[5] = content_length & 255
    at[6] = 0
    at[7] = 0
    out.end += protocol.HEADER_LENGTH
    return 0


cdef int put_stream(Buffer* out, int record_type, int request_id, const uint8_t* data, Py_ssize_t length) except -1:
    """The records that carry `data`, split at 65535 bytes; none for empty data."""
    cdef Cursor cursor = cursor_over(data, length)
    cdef Py_ssize_t size
    while cursor.left:
        size = min(cursor.left, <Py_ssize_t>protocol.MAX_CONTENT_LENGTH)
        buffer_reserve(out, protocol.HEADER_LENGTH + size)
        put_header(out, record_type, request_id, size)
        buffer_put(out, take(&cursor, size), size)
    return 0


cdef int put_end_request(Buffer* out, int request_id, uint32_t app_status, int protocol_status) except -1:
    """END_REQUEST (§5.5)."""
    cdef uint8_t[8] content
    content[0] = app_status >> 24
    content[1] = (app_status >> 16) & 255
    content[2] = (app_status >> 8) & 255
    content[3] = app_status & 255
    content[4] = protocol_status
    content[5] = content[6] = content[7] = 0
    put_header(out, protocol.END_REQUEST, request_id, 8)
    return buffer_put(out, content, 8)


cdef bytes taken(Buffer* out):
    """What is in a buffer, as bytes; frees it."""
    try:
        if not buffer_length(out):
            return b""
        return PyBytes_FromStringAndSize(<char*>out.data + out.start, buffer_length(out))
    finally:
        buffer_free(out)


cdef int check_numbers(record_type, request_id, content_length, padding_length) except -1:
    if not 0 <= record_type <= 255:
        raise ValueError(f"record type {record_type} does not fit one byte")
    if not 0 <= request_id <= 65535:
        raise ValueError(f"request id {request_id} does not fit two bytes")
    if not 0 <= content_length <= protocol.MAX_CONTENT_LENGTH:
        raise ValueError(f"content length {content_length} is over 65535 bytes")
    if not 0 <= padding_length <= 255:
        raise ValueError(f"padding length {padding_length} does not fit one byte")
    return 0


def build_header(record_type: int, request_id: int, content_length: int, padding_length: int = 0) -> bytes:
    """The eight bytes of a record header. Raises ValueError for a number that does not fit its field."""
    cdef Buffer out = Buffer(NULL, 0, 0, 0)
    check_numbers(record_type, request_id, content_length, padding_length)
    put_header(&out, record_type, request_id, content_length)
    out.data[6] = padding_length
    return taken(&out)


def build_record(record_type: int, request_id: int, content: bytes = b"", padding_length: int = 0) -> bytes:
    """One whole record. Raises ValueError where the content is over 65535 bytes: build_stream() splits."""
    return build_header(record_type, request_id, len(content), padding_length) + content + bytes(padding_length)


def build_stream(record_type: int, request_id: int, data: bytes) -> bytes:
    """The records that carry `data` on a stream, split at 65535 bytes; none for empty data, which would end it."""
    cdef Buffer out = Buffer(NULL, 0, 0, 0)
    if not data:
        return b""
    check_numbers(record_type, request_id, 0, 0)
    try:
        put_stream(
            &out, record_type, request_id, <const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
        )
    except BaseException:
        buffer_free(&out)
        raise
    return taken(&out)


def build_begin_request(request_id: int, role: int, keep_connection: bool = False) -> bytes:
    """BEGIN_REQUEST (§5.1)."""
    if not 0 <= role <= 65535:
        raise ValueError(f"role {role} does not fit two bytes")
    flags = protocol.KEEP_CONN if keep_connection else 0
    return build_record(protocol.BEGIN_REQUEST, request_id, bytes((role >> 8, role & 255, flags, 0, 0, 0, 0, 0)))


def build_end_request(request_id: int, app_status: int, protocol_status: int) -> bytes:
    """END_REQUEST (§5.5). `app_status` is the application's exit code, 32 bits."""
    cdef Buffer out = Buffer(NULL, 0, 0, 0)
    if not 0 <= protocol_status <= 255:
        raise ValueError(f"protocol status {protocol_status} does not fit one byte")
    check_numbers(0, request_id, 0, 0)
    put_end_request(&out, request_id, app_status & 0xFFFFFFFF, protocol_status)
    return taken(&out)


def build_unknown_type(record_type: int) -> bytes:
    """UNKNOWN_TYPE (§4.2): the answer to a management record whose type is not known."""
    if not 0 <= record_type <= 255:
        raise ValueError(f"record type {record_type} does not fit one byte")
    return build_record(protocol.UNKNOWN_TYPE, 0, bytes((record_type, 0, 0, 0, 0, 0, 0, 0)))


cpdef list parse_pairs(bytes data):
    """All name-value pairs of a complete stream (§3.4), in their order, duplicates kept.

    Raises ProtocolError where a length or its bytes are not all there.
    Example: ``parse_pairs(b"\\1\\2Aok") == [(b"A", b"ok")]``.
    """
    cdef Cursor cursor
    cdef Py_ssize_t name_length, value_length
    cdef const uint8_t* name
    cdef const uint8_t* value
    cdef list pairs = []
    if data is None:
        raise TypeError("name-value pairs are bytes, not None")
    cursor = cursor_over(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    while cursor.left:
        name_length = take_pair_length(&cursor)
        value_length = take_pair_length(&cursor) if name_length >= 0 else -1
        if value_length < 0:
            raise ProtocolError("name-value pairs end within a length")
        if name_length > cursor.left or value_length > cursor.left - name_length:
            raise ProtocolError("a name-value pair is longer than its stream")
        name = take(&cursor, name_length)
        value = take(&cursor, value_length)
        pairs.append(
            (
                PyBytes_FromStringAndSize(<const char*>name, name_length),
                PyBytes_FromStringAndSize(<const char*>value, value_length),
            )
        )
    return pairs


cdef bytes build_length(Py_ssize_t length):
    if length < 128:
        return bytes((length,))
    if length > 0x7FFFFFFF:
        raise ValueError(f"{length} bytes do not fit a name-value pair")
    return (length | 0x80000000).to_bytes(4, "big")


cpdef bytes build_pairs(object pairs):
    """Name-value pairs as the bytes of a stream; the inverse of parse_pairs()."""
    return b"".join([build_length(len(name)) + build_length(len(value)) + name + value for name, value in pairs])
