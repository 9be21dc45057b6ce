"""WSGI (PEP 3333) on the native interface: a WSGI application becomes a native one. No FastCGI here.

The twin is fastcore.pure.wsgi. PERF: the environment of a request is a copy of a template, the environment of an earlier
request whose parameters had the same names in the same order; only values that differ are decoded again. With 26
parameters that takes 3,000 instructions instead of 20,000 (bench/instructions.py).
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.dict cimport PyDict_Copy, PyDict_SetItem
from cpython.unicode cimport PyUnicode_DecodeLatin1
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from fastcore.compiled cimport protocol
from fastcore.compiled.request cimport Pair, Request

import io
import itertools

from fastcore.constants import ROLE_NAMES
from fastcore.errors import ResponseError
from fastcore.files import FileBody, FileWrapper, blocks_of
from fastcore.pure.wsgi import WRITE_MEMORY, _Body, _parse_status

cdef enum:
    TEMPLATES = 8            # kept by one adapter
    TEMPLATE_BYTES = 16384   # parameters longer than this are not kept
    CHANGES = 32             # values that differ; with more a template is of no use

cdef tuple WSGI_VERSION = (1, 0)
cdef dict STATUS_TEXTS = {}  # status text → (code, reason), for a few texts
cdef enum:
    STATUS_TEXTS_KEPT = 100


@cython.freelist(16)
cdef class ErrorStream:
    """`wsgi.errors`: text for the front end's error log."""

    cdef Request request

    def __init__(self, Request request not None):
        self.request = request

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        self.request.write_error(text)
        return len(text)

    def writelines(self, lines) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        pass


@cython.freelist(16)
cdef class Response:
    """What start_response() was told, and the body: the native interface's answer."""

    def __call__(self, status: str, headers: list, exc_info=None):
        """`start_response` of PEP 3333."""
        cdef Write write = Write.__new__(Write)
        if exc_info is not None:
            try:
                if self.committed:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status:
            raise AssertionError("start_response() was called a second time without exc_info (PEP 3333)")
        known = STATUS_TEXTS.get(status) if type(status) is str else None
        if known is None:
            known = _parse_status(status)
            if len(STATUS_TEXTS) < STATUS_TEXTS_KEPT:
                STATUS_TEXTS[status] = known
        self.status, self.reason = <tuple>known
        self.headers = list(headers)
        write.response = self
        return write

    def write(self, data: bytes) -> None:
        """The legacy write(): kept in order before what the iterable gives; long output goes to a temporary file."""
        if not isinstance(data, bytes):
            raise TypeError(f"write() takes bytes, not {type(data).__name__}")
        if self.written is None:
            import tempfile

            self.written = tempfile.SpooledTemporaryFile(WRITE_MEMORY)
        self.written.write(data)

    cpdef commit(self, bytes first, others):
        """The head is settled: `first` is to be sent. Returns all pieces, what write() was given before them."""
        require_started(self)
        self.committed = True
        pieces = itertools.chain((first,), others) if first else others
        return pieces if self.written is None else itertools.chain(self.take_written(), pieces)

    def take_written(self):
        """What write() was given, in blocks."""
        return () if self.written is None else blocks_of(self.written)


@cython.final
@cython.freelist(16)
cdef class Write:
    """What start_response() returns: the `write` of its Response. PERF: made for less than a bound method."""

    cdef Response response

    def __call__(self, data: bytes) -> None:
        self.response.write(data)


cdef class Template:
    """The environment of an earlier request, private to the adapter, and the parameters it was made of."""

    def __cinit__(self, Request request not None, dict environ not None):
        self.pairs = <Pair*>malloc(request.count * sizeof(Pair) + 1)
        if self.pairs == NULL:
            raise MemoryError()
        memcpy(self.pairs, request.pairs, request.count * sizeof(Pair))
        self.count = request.count
        self.raw = request.raw
        self.environ = environ

    def __dealloc__(self):
        free(self.pairs)

    cdef bint follow(self, Request request) except -1:
        """Make `environ` show this request's values, where it has the same names in the same order; else False."""
        cdef const char* mine = PyBytes_AS_STRING(self.raw)
        cdef const char* theirs = PyBytes_AS_STRING(request.raw)
        cdef Py_ssize_t[CHANGES] changed
        cdef Py_ssize_t count = self.count
        cdef Py_ssize_t changes = 0
        cdef Py_ssize_t index
        cdef Pair* a = self.pairs
        cdef Pair* b = request.pairs
        if count != request.count:
            return False
        for index in range(count):
            if (
                a.name_length != b.name_length
                or a.value_length != b.value_length
                or memcmp(mine + a.name_at, theirs + b.name_at, a.name_length + a.value_length) != 0
            ):
                if (
                    changes == CHANGES
                    or a.name_length != b.name_length
                    or memcmp(mine + a.name_at, theirs + b.name_at, a.name_length) != 0
                ):
                    return False
                changed[changes] = index
                changes += 1
            a += 1
            b += 1
        if changes:
            self.count = -1  # fits nothing, should the memory end in the middle of a change
            for index in range(changes):
                self.change(request, &request.pairs[changed[index]])
            memcpy(self.pairs, request.pairs, count * sizeof(Pair))
            self.raw = request.raw
            self.count = count
        return True

    cdef int change(self, Request request, Pair* pair) except -1:
        """One value that differs."""
        cdef const char* start = PyBytes_AS_STRING(request.raw) + pair.name_at
        name = PyUnicode_DecodeLatin1(start, pair.name_length, NULL)
        value = PyUnicode_DecodeLatin1(start + pair.name_length, pair.value_length, NULL)
        self.environ[name] = value
        if name == "HTTPS":
            self.environ["wsgi.url_scheme"] = scheme_of(value)
        return 0


cdef str scheme_of(https):
    return "https" if https.lower() in ("on", "1") else "http"


cdef int declare_length(dict environ, Request request) except -1:
    """What has come whole is counted: many applications read no more than CONTENT_LENGTH says."""
    if request.content_length >= 0:
        environ["CONTENT_LENGTH"] = str(request.content_length)
    else:
        environ.pop("CONTENT_LENGTH", None)
    return 0


cdef int add_role(dict environ, Request request) except -1:
    """What an authorizer or a filter has besides."""
    if request.role in ROLE_NAMES:
        environ["FCGI_ROLE"] = ROLE_NAMES[request.role]
    if request.role == protocol.FILTER:
        environ["fastcore.data"] = request.data
    return 0


cdef class WSGIAdapter:
    """Makes a WSGI application callable as `adapter(request)`.

    `multiprocess` is told to the application as `wsgi.multiprocess`. There are no threads.
    Example: ``WorkerLoop(listener, WSGIAdapter(application))``.
    """

    def __init__(self, application, *, bint multiprocess=False):
        self.application = application
        self.multiprocess = multiprocess
        self.templates = []

    cpdef dict environ(self, Request request):
        """The environment of PEP 3333 for one request; the caller's to keep and change."""
        cdef Template template
        cdef dict environ
        cdef ErrorStream errors = ErrorStream.__new__(ErrorStream)
        if request is None:
            raise TypeError("an environment needs a request, not None")
        errors.request = request
        for template in self.templates:
            if template.follow(request):
                break
        else:
            template = self.template_for(request)
        environ = PyDict_Copy(template.environ)
        PyDict_SetItem(environ, "wsgi.input", request.body)
        PyDict_SetItem(environ, "wsgi.errors", errors)
        if request.undeclared:
            declare_length(environ, request)
        if request.role != protocol.RESPONDER:
            add_role(environ, request)
        return environ

    cdef Template template_for(self, Request request):
        """A new template, kept where that is of use; the oldest goes."""
        cdef dict environ = request.environ.copy()
        cdef bint is_odd = len(environ) != request.count  # duplicates, or names that are not the client's to choose
        cdef Template template
        for name in environ:
            is_odd = is_odd or name.startswith("wsgi.")
        environ.setdefault("SCRIPT_NAME", "")
        environ.setdefault("PATH_INFO", "")
        environ.setdefault("REQUEST_METHOD", "GET")
        environ.setdefault("SERVER_NAME", "localhost")
        environ.setdefault("SERVER_PORT", "80")
        environ.setdefault("SERVER_PROTOCOL", "HTTP/1.0")
        environ["wsgi.version"] = WSGI_VERSION
        environ["wsgi.url_scheme"] = scheme_of(environ.get("HTTPS", "off"))
        environ["wsgi.input"] = None
        environ["wsgi.input_terminated"] = True
        environ["wsgi.errors"] = None
        environ["wsgi.multithread"] = False
        environ["wsgi.multiprocess"] = bool(self.multiprocess)
        environ["wsgi.run_once"] = False
        environ["wsgi.file_wrapper"] = FileWrapper
        template = Template(request, environ)
        if not is_odd and len(request.raw) <= TEMPLATE_BYTES:
            if len(self.templates) == TEMPLATES:
                del self.templates[0]
            self.templates.append(template)
        return template

    def __call__(self, Request request not None):
        return self.call(request)

    cdef Response call(self, Request request):
        """Call the application; its answer has a settled head."""
        cdef Response response = Response.__new__(Response)
        result = self.application(self.environ(request), response)
        try:
            if response.written is None and (
                type(result) is list or type(result) is tuple or type(result) is FileWrapper or type(result) is FileBody
            ):
                require_started(response)
                response.body = result
                response.committed = True
            else:
                response.body = _Body(iter(result), result)
        except BaseException:
            close = getattr(result, "close", None)
            if close is not None:
                close()
            raise
        return response


cdef int require_started(Response response) except -1:
    if not response.status:
        raise ResponseError("the application returned without calling start_response()")
    return 0
