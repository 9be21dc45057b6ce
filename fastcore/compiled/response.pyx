"""The head of a CGI response (RFC 3875 §6) as bytes, checked: nothing can smuggle in a header. No bodies here.

The twin is fastcore.pure.response. What cannot be sent is refused by the twin's own code, so that the words are the same.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_1BYTE_DATA, PyUnicode_1BYTE_KIND, PyUnicode_GET_LENGTH, PyUnicode_KIND
from libc.stdint cimport uint8_t
from libc.stdio cimport snprintf

from fastcore.compiled.buffer cimport Buffer, buffer_free, buffer_length, buffer_put
from fastcore.compiled.cursor cimport Cursor, cursor_over, take_u8

from fastcore.errors import ResponseError
from fastcore.pure.response import REASONS, check_header, check_status, has_body
from fastcore.pure.response import build_head as build_head_or_explain

cdef enum:
    NAME_CHARACTER = 1   # may stand in a header's name (RFC 9110 §5.6.2)
    VALUE_CHARACTER = 2  # may stand in a header's value
    MAX_LENGTH_DIGITS = 18

cdef uint8_t[256] CHARACTERS
cdef int code
for code in range(256):
    CHARACTERS[code] = VALUE_CHARACTER if code >= 32 and code != 127 or code == 9 else 0
for code in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ":
    CHARACTERS[code] |= NAME_CHARACTER

cdef list STATUS_LINES = [None] * 1000
for code in range(200, 1000):
    STATUS_LINES[code] = f"Status: {code} {REASONS.get(code, '')}".encode()


cdef Cursor text_cursor(str text) noexcept:
    """The characters of a latin-1 text; `left` is -1 where it is wider."""
    if PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND:
        return cursor_over(NULL, -1)
    return cursor_over(<const uint8_t*>PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text))


cdef bint all_are(Cursor cursor, int kind) noexcept:
    cdef int character
    if cursor.left < 0:
        return False
    while cursor.left:
        character = take_u8(&cursor)
        if not CHARACTERS[character] & kind:
            return False
    return True


cdef bint equals_lowered(Cursor cursor, const char* lowered, Py_ssize_t length) noexcept:
    """Whether the text is this one, whatever its case; `lowered` has `length` lower-case characters."""
    cdef Cursor expected = cursor_over(<const uint8_t*>lowered, length)
    if cursor.left != length:
        return False
    while cursor.left:
        if take_u8(&cursor) | 0x20 != take_u8(&expected):
            return False
    return True


cdef Py_ssize_t read_length(Cursor cursor) noexcept:
    """Decimal digits as a number of bytes; -1 where they are none."""
    cdef Py_ssize_t length = 0
    cdef int digit
    if not 0 < cursor.left <= MAX_LENGTH_DIGITS:
        return -1
    while cursor.left:
        digit = take_u8(&cursor) - 48
        if not 0 <= digit <= 9:
            return -1
        length = length * 10 + digit
    return length


cdef int put_headers(Buffer* out, object headers, Py_ssize_t* declared) except -1:
    """The lines of all headers. Returns 1 where one of them cannot be sent, or needs the twin to say so; else 0."""
    cdef Cursor name, value
    cdef Py_ssize_t length
    for pair in headers:
        if type(pair) is not tuple or len(<tuple>pair) != 2:
            return 1
        name_text, value_text = <tuple>pair
        if type(name_text) is not str or type(value_text) is not str:
            return 1
        name = text_cursor(<str>name_text)
        value = text_cursor(<str>value_text)
        if name.left < 1 or not all_are(name, NAME_CHARACTER) or not all_are(value, VALUE_CHARACTER):
            return 1
        if equals_lowered(name, b"status", 6):
            return 1
        if equals_lowered(name, b"content-length", 14):
            length = read_length(value)
            if length < 0 or (declared[0] >= 0 and declared[0] != length):
                return 1
            declared[0] = length
        buffer_put(out, b"\r\n", 2)
        buffer_put(out, name.at, name.left)
        buffer_put(out, b": ", 2)
        buffer_put(out, value.at, value.left)
    return 0


cpdef tuple build_head(object status, object headers, str reason="", Py_ssize_t body_length=-1):
    """`Status: …`, the headers and the empty line, as bytes; and the length of body that they declare.

    Args:
        status: 200 to 999.
        headers: pairs of text, latin-1; a `Status` header is refused, it is made here.
        reason: the reason phrase; the registered one where it is empty.
        body_length: bytes of the whole body where that is known: declared if the headers do not; else -1.

    Returns the head and the declared Content-Length, -1 where there is none. Raises ResponseError for what cannot be
    sent.
    """
    cdef Buffer out = Buffer(NULL, 0, 0, 0)
    cdef Py_ssize_t declared = -1
    cdef char[48] text
    cdef bytes line
    cdef int size
    if type(headers) is not list and type(headers) is not tuple:
        headers = list(headers)
    if type(status) is not int or reason or not 200 <= status <= 999:
        return build_head_or_explain(status, headers, reason, body_length)
    line = STATUS_LINES[<int>status]
    try:
        buffer_put(&out, <const char*>line, len(line))
        if put_headers(&out, headers, &declared):
            return build_head_or_explain(status, headers, reason, body_length)
        if declared < 0 <= body_length and has_body(status):
            declared = body_length
            size = snprintf(text, sizeof(text), b"\r\nContent-Length: %zd", body_length)
            buffer_put(&out, text, size)
        buffer_put(&out, b"\r\n\r\n", 4)
        return PyBytes_FromStringAndSize(<char*>out.data + out.start, buffer_length(&out)), declared
    finally:
        buffer_free(&out)
