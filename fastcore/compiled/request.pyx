"""One request: its parameters, decoded when read, and its body. No wire format beyond the pairs, no sockets here.

The twin is fastcore.pure.request. The parameters stay the bytes that came; a table of offsets says where each one is.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport (
    PyUnicode_1BYTE_DATA,
    PyUnicode_1BYTE_KIND,
    PyUnicode_DecodeLatin1,
    PyUnicode_GET_LENGTH,
    PyUnicode_KIND,
)
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy

from fastcore.compiled cimport protocol
from fastcore.compiled.body cimport BodyStore, new_store
from fastcore.compiled.cursor cimport Cursor, cursor_over, take, take_pair_length, take_u8
from fastcore.compiled.stream cimport StreamBody

from io import BytesIO

from fastcore.constants import ROLE_NAMES
from fastcore.errors import ProtocolError
from fastcore.limits import DEFAULT_LIMITS

BODILESS_METHODS = (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"TRACE")

cdef Py_ssize_t ERROR_LIMIT = DEFAULT_LIMITS.stderr_bytes
cdef enum:
    MAX_LENGTH_DIGITS = 18


cdef long long content_length_of(Cursor value) noexcept:
    """CONTENT_LENGTH as bytes of body; -1 where it is empty, -2 where it is nonsense (RFC 3875 §4.1.2: only digits)."""
    cdef long long length = 0
    cdef int digit
    if value.left <= 0:
        return -1
    if value.left > MAX_LENGTH_DIGITS:
        return -2
    while value.left:
        digit = take_u8(&value) - 48
        if not 0 <= digit <= 9:
            return -2
        length = length * 10 + digit
    return length


def parse_content_length(value: bytes) -> int:
    """CONTENT_LENGTH as bytes of body; -1 where it is empty, -2 where it is nonsense (RFC 3875 §4.1.2: only digits)."""
    return content_length_of(cursor_over(<const uint8_t*>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)))


@cython.freelist(32)
cdef class Request:
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

    def __cinit__(self):
        self.pairs = self.first_pairs

    def __init__(self, int request_id, int role, bint keep_connection, bytes raw_params not None):
        """`raw_params` is the complete PARAMS stream; raises ProtocolError where its pairs are malformed."""
        self.setup(request_id, role, keep_connection, raw_params)

    def __dealloc__(self):
        if self.pairs != self.first_pairs:
            free(self.pairs)

    cdef int setup(self, int request_id, int role, bint keep_connection, bytes raw) except -1:
        cdef Cursor declared
        cdef bint says_unknown = False
        self.request_id = request_id
        self.role = role
        self.keep_connection = keep_connection
        self.count = 0
        self.error_limit = ERROR_LIMIT
        self.raw = raw
        self.length_index = self.method_index = self.coding_index = -1
        self.read_pairs()
        declared = self.value_at(self.length_index)
        self.content_length = content_length_of(declared)
        # Caddy's way to say that it does not know: a chunked upload, or any request over HTTP/3 without a length
        if self.content_length == -2 and declared.left == 2 and memcmp(declared.at, b"-1", 2) == 0:
            self.content_length = -1
            says_unknown = role != protocol.AUTHORIZER
        self.data_length = self.data_last_modified = -1
        if role != protocol.RESPONDER:
            self.setup_role()
        self.waits_for_body = self.wants_body() or says_unknown
        self.undeclared = self.waits_for_body and self.content_length < 0
        return 0

    cdef int setup_role(self) except -1:
        if self.role == protocol.AUTHORIZER:
            self.content_length = 0
        elif self.role == protocol.FILTER:
            self.data_length = content_length_of(self.find(b"FCGI_DATA_LENGTH", 16))
            self.data_last_modified = max(content_length_of(self.find(b"FCGI_DATA_LAST_MOD", 18)), -1)
        return 0

    cdef int read_pairs(self) except -1:
        """Fill the table of offsets, and note where those are that decide how the request is received."""
        cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(self.raw)
        cdef Cursor cursor = cursor_over(start, PyBytes_GET_SIZE(self.raw))
        cdef Py_ssize_t room = FIRST_PAIRS
        cdef Py_ssize_t name_length, value_length
        cdef const uint8_t* name
        cdef Pair* pairs = self.pairs
        while cursor.left:
            name_length = take_pair_length(&cursor)
            value_length = take_pair_length(&cursor) if name_length >= 0 else -1
            if value_length < 0:
                raise ProtocolError("name-value pairs end within a length")
            if name_length > cursor.left or value_length > cursor.left - name_length:
                raise ProtocolError("a name-value pair is longer than its stream")
            name = take(&cursor, name_length)
            take(&cursor, value_length)
            if name_length == 14:
                if memcmp(name, b"CONTENT_LENGTH", 14) == 0:
                    self.length_index = self.count
                elif memcmp(name, b"REQUEST_METHOD", 14) == 0:
                    self.method_index = self.count
            elif name_length == 22:
                if memcmp(name, b"HTTP_TRANSFER_ENCODING", 22) == 0:
                    self.coding_index = self.count
            elif name_length == 10 and memcmp(name, b"HTTP_PROXY", 10) == 0:
                continue  # CVE-2016-5385: a header never sets a proxy
            if self.count == room:
                pairs = self.more_pairs()
                room *= 2
            pairs[self.count] = Pair(name - start, name_length, value_length)
            self.count += 1
        return 0

    cdef Pair* more_pairs(self) except NULL:
        """Double the room of the table, which is full."""
        cdef Pair* pairs
        if self.pairs == self.first_pairs:
            pairs = <Pair*>malloc(2 * self.count * sizeof(Pair))
            if pairs != NULL:
                memcpy(pairs, self.pairs, self.count * sizeof(Pair))
        else:
            pairs = <Pair*>realloc(self.pairs, 2 * self.count * sizeof(Pair))
        if pairs == NULL:
            raise MemoryError()
        self.pairs = pairs
        return pairs

    cdef Cursor find(self, const char* name, Py_ssize_t length):
        """The value of a parameter, the last of duplicates; `left` is -1 where there is none."""
        cdef const char* start = PyBytes_AS_STRING(self.raw)
        cdef Py_ssize_t index = self.count
        cdef Pair* pair
        while index > 0:
            index -= 1
            pair = &self.pairs[index]
            if pair.name_length == length and memcmp(start + pair.name_at, name, length) == 0:
                return cursor_over(<const uint8_t*>start + pair.name_at + length, pair.value_length)
        return cursor_over(NULL, -1)

    cdef Cursor value_at(self, Py_ssize_t index):
        """The value of a pair of the table; `left` is -1 for the index -1."""
        cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(self.raw)
        cdef Pair* pair
        if index < 0:
            return cursor_over(NULL, -1)
        pair = &self.pairs[index]
        return cursor_over(start + pair.name_at + pair.name_length, pair.value_length)

    cdef bint wants_body(self):
        """Whether STDIN is worth waiting for. Some clients send no terminator where there is no body (HAProxy 2.6)."""
        cdef Cursor method = self.value_at(self.method_index)
        self.is_head = method.left == 4 and memcmp(method.at, b"HEAD", 4) == 0
        if self.content_length >= 0:
            return self.content_length > 0
        if self.value_at(self.coding_index).left > 0:
            return True
        if method.left < 0 or (method.left == 3 and memcmp(method.at, b"GET", 3) == 0):
            return False
        return PyBytes_FromStringAndSize(<const char*>method.at, method.left) not in BODILESS_METHODS

    @property
    def params(self):
        """All parameters as pairs of bytes, in the order received."""
        cdef const char* start = PyBytes_AS_STRING(self.raw)
        cdef list found = []
        cdef Py_ssize_t index
        cdef Pair* pair
        for index in range(self.count):
            pair = &self.pairs[index]
            found.append(
                (
                    PyBytes_FromStringAndSize(start + pair.name_at, pair.name_length),
                    PyBytes_FromStringAndSize(start + pair.name_at + pair.name_length, pair.value_length),
                )
            )
        return tuple(found)

    def get(self, str name not None, default=None):
        """One CGI parameter as latin-1 text (PEP 3333), or `default`. The last of duplicates wins."""
        cdef Cursor value
        if PyUnicode_KIND(name) != PyUnicode_1BYTE_KIND:
            return default
        value = self.find(<const char*>PyUnicode_1BYTE_DATA(name), PyUnicode_GET_LENGTH(name))
        if value.left < 0:
            return default
        return PyUnicode_DecodeLatin1(<const char*>value.at, value.left, NULL)

    @property
    def environ(self):
        """All parameters as text, built when first read, then kept. The last of duplicates wins.

        In another role than the responder's, FCGI_ROLE says in which: AUTHORIZER or FILTER, as libfcgi has it.
        """
        cdef const char* start
        cdef Py_ssize_t index
        cdef Pair* pair
        cdef dict environ
        if self.made_environ is None:
            environ = {}
            start = PyBytes_AS_STRING(self.raw)
            for index in range(self.count):
                pair = &self.pairs[index]
                environ[PyUnicode_DecodeLatin1(start + pair.name_at, pair.name_length, NULL)] = PyUnicode_DecodeLatin1(
                    start + pair.name_at + pair.name_length, pair.value_length, NULL
                )
            if self.role != protocol.RESPONDER and self.role in ROLE_NAMES:
                environ["FCGI_ROLE"] = ROLE_NAMES[self.role]
            self.made_environ = environ
        return self.made_environ

    @property
    def body(self):
        """The body as a binary file: in memory, or an unnamed temporary file where it is long.

        In the streaming mode it is a StreamBody, which is read once, forwards, and waits for what has not come.
        """
        if type(self.made_body) is BodyStore:
            return BytesIO()
        if self.made_body is None:
            self.made_body = BytesIO()
        return self.made_body

    def stream(self):
        """The body in chunks as it comes, for `async for`: nobody else waits meanwhile."""
        from fastcore.chunks import iterate

        return iterate(self.body)

    cdef StreamBody get_arriving(self):
        """The stream that the application reads as it comes, or None."""
        cdef object arriving = self.made_data if self.role == protocol.FILTER else self.made_body
        return <StreamBody>arriving if type(arriving) is StreamBody else None

    @property
    def arriving(self):
        """The stream that the application reads as it comes, or None."""
        return self.get_arriving()

    cpdef stream_body(self, StreamBody arriving):
        """The body, or a filter's file, will be read as it comes."""
        if self.role == protocol.FILTER:
            self.made_data = arriving
        else:
            self.made_body = arriving

    def store_body(self, bytes data not None, limits, str directory=None):
        """Append a piece of the body; past `limits.body_memory` bytes it moves to a file in `directory`, once.

        Raises OSError where that has no room.
        """
        self.add_body(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), limits.body_memory, directory)

    cdef int add_body(self, const uint8_t* data, Py_ssize_t length, long long memory, str directory) except -1:
        """store_body() for a caller in C."""
        if type(self.made_body) is not BodyStore:
            self.made_body = new_store(memory, self.content_length, directory)
        return (<BodyStore>self.made_body).put_bytes(data, length)

    cpdef finish_body(self):
        """The body is complete: count it where no length was declared, and make the file of it."""
        if type(self.made_body) is StreamBody:
            (<StreamBody>self.made_body).end()
            if self.content_length < 0:
                self.content_length = (<StreamBody>self.made_body).received
        elif type(self.made_body) is BodyStore:
            if self.content_length < 0:
                self.content_length = (<BodyStore>self.made_body).received
            self.made_body = (<BodyStore>self.made_body).finish()
        else:
            self.content_length = max(self.content_length, 0)

    @property
    def data(self):
        """A filter's file (FCGI_DATA) as a binary file, as `body`; empty in other roles."""
        if type(self.made_data) is BodyStore:
            return BytesIO()
        if self.made_data is None:
            self.made_data = BytesIO()
        return self.made_data

    @property
    def data_received(self) -> int:
        """Bytes of `data` that have come; another number than `data_length` says that the front end has erred."""
        if type(self.made_data) is BodyStore:
            return (<BodyStore>self.made_data).received
        if type(self.made_data) is StreamBody:
            return (<StreamBody>self.made_data).received
        return self.data_count

    def store_data(self, bytes data not None, limits, str directory=None):
        """Append a piece of a filter's file, as store_body() does of a body."""
        self.add_data(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), limits.body_memory, directory)

    cdef int add_data(self, const uint8_t* data, Py_ssize_t length, long long memory, str directory) except -1:
        """store_data() for a caller in C."""
        if type(self.made_data) is not BodyStore:
            self.made_data = new_store(memory, self.data_length, directory)
        return (<BodyStore>self.made_data).put_bytes(data, length)

    cpdef finish_data(self):
        """A filter's file is complete."""
        if type(self.made_data) is StreamBody:
            (<StreamBody>self.made_data).end()
        elif type(self.made_data) is BodyStore:
            self.data_count = (<BodyStore>self.made_data).received
            self.made_data = (<BodyStore>self.made_data).finish()

    def write_error(self, str text not None):
        """Send text to the front end's error log (FCGI_STDERR). Over the limit it is cut."""
        cdef Py_ssize_t room
        if self.errors is None:
            self.errors = bytearray()
        room = self.error_limit - len(self.errors)
        if room > 0:
            self.errors += text.encode("utf-8", "backslashreplace")[:room]

    cpdef bytes take_errors(self):
        """The error text written since the last call."""
        cdef bytes errors
        if self.errors is None:
            return b""
        errors = bytes(self.errors)
        self.errors = None
        return errors

    cpdef close(self):
        """Free the body, unless somebody holds on to its memory, or there is no room for what is not written yet."""
        if self.made_body is not None:
            close_quietly(self.made_body)
        if self.made_data is not None:
            close_quietly(self.made_data)


cdef int close_quietly(owned) except -1:
    if owned is not None:
        try:
            owned.close()
        except Exception:
            pass
    return 0


cdef Request new_request(int request_id, int role, bint keep_connection, bytes raw_params):
    """`Request(…)` without a call through Python."""
    cdef Request request = Request.__new__(Request)
    request.setup(request_id, role, keep_connection, raw_params)
    return request
