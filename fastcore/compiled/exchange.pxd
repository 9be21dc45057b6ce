from fastcore.compiled.request cimport Request
from fastcore.compiled.sendfile cimport FileRecord
from fastcore.compiled.wsgi cimport Response


cdef enum:
    CHUNK_SIZE = 65535 - 7        # bytes: one record, its length a multiple of eight
    WHOLE_SIZE = 2 * (65535 - 7)  # bytes: an application's piece up to this is handed out as it is, without a copy


cdef class Exchange:
    cdef readonly Request request
    cdef public int app_status       # what END_REQUEST should carry
    cdef readonly bint broken        # the answer that was begun is not whole
    cdef readonly bint finished
    cdef readonly bint waiting       # for its task
    cdef public bint aborted         # by the client: END_REQUEST waits for the end of the task
    cdef public object task          # what the loop keeps of it; None where there is none
    cdef readonly object context     # contextvars.Context of this request
    cdef object application
    cdef object log
    cdef object awaited              # what the application returned, until its task takes it; then the body
    cdef bint streaming              # `awaited` is an asynchronous body
    cdef public object timer         # a CallTimer where a limit for it is set, else None
    cdef public double begun         # seconds (monotonic): when its request was complete; only where there is a scoreboard
    cdef bytes head                  # not handed out yet; None afterwards
    cdef bytes piece                 # body waiting to be handed out, from `offset` on; None where there is none
    cdef Py_ssize_t offset
    cdef object iterator
    cdef Response uncommitted        # its head may still be replaced; None otherwise
    cdef object file                 # the body, read from `fd` at `at` up to `stop` (-1: to its end); None otherwise
    cdef int fd
    cdef long long at, stop
    cdef FileRecord record           # of the file, where one was begun; None otherwise
    cdef object close_body
    cdef readonly long long left              # bytes of body still to come by Content-Length; -1: not declared
    cdef bint silent                 # HEAD, 204, 304: the body is not sent

    cdef int setup(self, Request request, application, log) except -1
    cpdef start(self)
    cdef int call(self) except -1
    cdef int take(self, result) except -1
    cdef int take_wsgi(self) except -1
    cdef int take_uncommitted(self, Response response) except -1
    cdef int take_body(self, status, headers, str reason, body) except -1
    cdef int take_whole(self, status, headers, str reason, bytes body) except -1
    cpdef bytes next_chunk(self)
    cdef int advance(self) except -1
    cdef object pull(self)
    cdef int commit(self, bytes first) except -1
    cdef object read_file(self)
    cdef FileRecord next_record(self)
    cdef bytes cut(self, bytes piece)
    cdef int finish(self) except -1
    cdef int fail_answer(self) except -1
    cdef int report(self) except -1
    cdef int use_error_page(self, int status) except -1
    cpdef log_failure(self, str what)
    cpdef close(self)
    cpdef fail(self)
    cpdef end(self)


cdef Exchange new_exchange(Request request, application, log)
