"""The head of a CGI response (RFC 3875 §6) as bytes, checked: nothing can smuggle in a header. No bodies here.

The twin is fastcore.pure.response. What cannot be sent as it is goes to the twin's own code, so that the words are the same.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_1BYTE_DATA, PyUnicode_1BYTE_KIND, PyUnicode_GET_LENGTH, PyUnicode_KIND
from libc.stdint cimport uint8_t, uintptr_t

from fastcore.compiled.buffer cimport Buffer, buffer_free, buffer_length, buffer_put, buffer_reserve
from fastcore.compiled.cursor cimport Cursor, cursor_over, take_u8

from fastcore.errors import ResponseError
from fastcore.pure.response import build_head as build_head_or_explain
from fastcore.pure.response import check_header, check_status, has_body
from fastcore.statuses import REASONS

cdef enum:
    NAME_CHARACTER = 1   # may stand in a header's name (RFC 9110 §5.6.2)
    VALUE_CHARACTER = 2  # may stand in a header's value
    MAX_LENGTH_DIGITS = 18
    STATUS_CODE_BYTES = 12  # "Status: 200 "
    HEAD_BYTES = 512        # room taken at first
    LINES = 64              # headers kept as lines
    LINE_CHARACTERS = 200   # of the longest of them

cdef uint8_t[256] CHARACTERS
cdef int code
for code in range(256):
    CHARACTERS[code] = VALUE_CHARACTER if code >= 32 and code != 127 or code == 9 else 0
for code in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ":
    CHARACTERS[code] |= NAME_CHARACTER

cdef list STATUS_LINES = [None] * 1000
for code in range(200, 1000):
    STATUS_LINES[code] = f"Status: {code} {REASONS.get(code, '')}".encode()


@cython.final
cdef class Line:
    """A header that was sent more than once, checked and as bytes. It is found by the very objects of its texts."""

    cdef str name, value
    cdef bytes line
    cdef long long declared  # by Content-Length; -1 in others


cdef list KEPT_LINES = [None] * LINES
cdef uintptr_t[LINES] SEEN_VALUES  # addresses of the last that had no line, by slot; only compared, they may be gone


cdef inline int slot_of(str name, str value) noexcept:
    """Where the line of this header is kept: texts that live on have an address of their own."""
    return ((<uintptr_t><void*>name >> 4) * 31 + (<uintptr_t><void*>value >> 4)) % LINES


cdef int keep_line(int slot, str name, str value, const void* line, Py_ssize_t length, long long declared) except -1:
    """Keep a header that comes a second time; what is made anew for each answer is not worth it."""
    cdef Line kept
    if SEEN_VALUES[slot] != <uintptr_t><void*>value:
        SEEN_VALUES[slot] = <uintptr_t><void*>value
    elif length <= LINE_CHARACTERS:
        kept = Line.__new__(Line)
        kept.name = name
        kept.value = value
        kept.line = PyBytes_FromStringAndSize(<const char*>line, length)
        kept.declared = declared
        KEPT_LINES[slot] = kept
    return 0


cdef inline Cursor text_cursor(str text) noexcept:
    """The characters of a latin-1 text; `left` is -1 where it is wider."""
    if PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND:
        return cursor_over(NULL, -1)
    return cursor_over(<const uint8_t*>PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text))


cdef inline bint all_are(Cursor cursor, int kind) noexcept:
    cdef uint8_t character
    if cursor.left < 0:
        return False
    for character in cursor.at[: cursor.left]:
        if not CHARACTERS[character] & kind:
            return False
    return True


cdef inline bint equals_lowered(Cursor cursor, const char* lowered, Py_ssize_t length) noexcept:
    """Whether the text is this one, whatever its case; `lowered` has `length` lower-case characters."""
    cdef Cursor expected = cursor_over(<const uint8_t*>lowered, length)
    if cursor.left != length:
        return False
    while cursor.left:
        if take_u8(&cursor) | 0x20 != take_u8(&expected):
            return False
    return True


cdef inline bint is_of_connection(Cursor name) noexcept:
    """Whether it is a header that only the front end can send (RFC 9110 §7.6.1)."""
    return (
        equals_lowered(name, b"connection", 10)
        or equals_lowered(name, b"keep-alive", 10)
        or equals_lowered(name, b"proxy-connection", 16)
        or equals_lowered(name, b"te", 2)
        or equals_lowered(name, b"transfer-encoding", 17)
        or equals_lowered(name, b"upgrade", 7)
    )


cdef long long read_length(Cursor cursor) noexcept:
    """Decimal digits as a number of bytes; -1 where they are none."""
    cdef long long length = 0
    cdef int digit
    if not 0 < cursor.left <= MAX_LENGTH_DIGITS:
        return -1
    while cursor.left:
        digit = take_u8(&cursor) - 48
        if not 0 <= digit <= 9:
            return -1
        length = length * 10 + digit
    return length


cdef int put_headers(Buffer* out, object headers, long long* declared) except -1:
    """The lines of all headers. Returns 1 where one of them cannot be sent, or needs the twin to say so; else 0.

    PERF: applications send the same headers again and again; those are copied from their kept lines.
    """
    cdef Cursor name, value
    cdef long long length
    cdef Line kept
    cdef Py_ssize_t start
    cdef int slot
    for pair in headers:
        if type(pair) is not tuple or len(<tuple>pair) != 2:
            return 1
        name_text, value_text = <tuple>pair
        if type(name_text) is not str or type(value_text) is not str:
            return 1
        slot = slot_of(<str>name_text, <str>value_text)
        kept = <Line>KEPT_LINES[slot]
        if kept is not None and kept.name is name_text and kept.value is value_text:
            if kept.declared >= 0:
                if declared[0] >= 0 and declared[0] != kept.declared:
                    return 1
                declared[0] = kept.declared
            buffer_put(out, PyBytes_AS_STRING(kept.line), PyBytes_GET_SIZE(kept.line))
            continue
        length = -1
        start = buffer_length(out)
        name = text_cursor(<str>name_text)
        value = text_cursor(<str>value_text)
        if name.left < 1 or not all_are(name, NAME_CHARACTER) or not all_are(value, VALUE_CHARACTER):
            return 1
        if equals_lowered(name, b"status", 6) or is_of_connection(name):
            return 1  # the twin refuses the one, and leaves the others out
        if equals_lowered(name, b"content-length", 14):
            length = read_length(value)
            if length < 0 or (declared[0] >= 0 and declared[0] != length):
                return 1
            declared[0] = length
        buffer_put(out, b"\r\n", 2)
        buffer_put(out, name.at, name.left)
        buffer_put(out, b": ", 2)
        buffer_put(out, value.at, value.left)
        keep_line(slot, <str>name_text, <str>value_text, out.data + out.start + start, buffer_length(out) - start, length)
    return 0


@cython.cdivision(True)
cdef int put_content_length(Buffer* out, long long length) except -1:
    cdef uint8_t[20] digits
    cdef int at = 20
    while True:
        at -= 1
        digits[at] = 48 + length % 10
        length = length // 10
        if not length:
            break
    buffer_put(out, b"\r\nContent-Length: ", 18)
    return buffer_put(out, digits + at, 20 - at)


cdef bytes make_head(object status, object headers, str reason, long long body_length, long long* declared):
    """build_head() for a caller in C."""
    cdef Buffer out = Buffer(NULL, 0, 0, 0)
    cdef Cursor phrase
    cdef bytes line
    declared[0] = -1
    if reason is None:
        reason = ""
    if type(headers) is not list and type(headers) is not tuple:
        headers = list(headers)
    try:
        if type(status) is int and 200 <= status <= 999:
            buffer_reserve(&out, HEAD_BYTES)
            line = STATUS_LINES[<int>status]
            phrase = text_cursor(reason)
            if phrase.left == 0:
                buffer_put(&out, PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
            elif all_are(phrase, VALUE_CHARACTER):
                buffer_put(&out, PyBytes_AS_STRING(line), STATUS_CODE_BYTES)
                buffer_put(&out, phrase.at, phrase.left)
            if (
                (phrase.left == 0 or all_are(phrase, VALUE_CHARACTER))
                and not put_headers(&out, headers, declared)
                and not (declared[0] >= 0 and <int>status == 204)  # the twin leaves it out
            ):
                if declared[0] < 0 <= body_length and <int>status != 204 and <int>status != 304:
                    declared[0] = body_length
                    put_content_length(&out, body_length)
                buffer_put(&out, b"\r\n\r\n", 4)
                return PyBytes_FromStringAndSize(<char*>out.data + out.start, buffer_length(&out))
    finally:
        buffer_free(&out)
    head, length = build_head_or_explain(status, headers, reason, body_length)
    declared[0] = length
    return head


cpdef tuple build_head(object status, object headers, str reason="", long long body_length=-1):
    """`Status: …`, the headers and the empty line, as bytes; and the length of body that they declare.

    Args:
        status: 200 to 999. With 204 there is no Content-Length, though the headers declare one (RFC 9110 §8.6).
        headers: pairs of text, latin-1. `Status`, which is made here, is refused. Those about a connection (RFC 9110
            §7.6.1, PEP 3333) are left out: Connection, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding, Upgrade.
        reason: the reason phrase; the registered one where it is empty.
        body_length: bytes of the whole body where that is known: declared if the headers do not; else -1.

    Returns the head and the declared Content-Length, -1 where there is none. Raises ResponseError for what cannot be
    sent.
    """
    cdef long long declared
    cdef bytes head = make_head(status, headers, reason, body_length, &declared)
    return head, declared


def error_page(int status):
    """Head and body of an answer that names the status and nothing else."""
    text = f"{status} {REASONS[status]}\n".encode()
    return build_head(status, [("Content-Type", "text/plain; charset=utf-8")], "", len(text))[0], text
