from fastcore.compiled.request cimport Pair, Request


cdef class Response:
    cdef readonly int status
    cdef readonly str reason
    cdef readonly object headers
    cdef readonly object body
    cdef readonly bint committed    # the first piece of body is on its way: the head can no longer be replaced
    cdef object written             # file of what write() was given; None where it was not used
    cpdef commit(self, bytes first, others)


cdef class Template:
    cdef bytes raw                  # the parameters that `environ` shows
    cdef Pair* pairs
    cdef Py_ssize_t count
    cdef dict environ
    cdef bint follow(self, Request request) except -1
    cdef int change(self, Request request, Pair* pair) except -1


cdef class WSGIAdapter:
    cdef object application
    cdef bint multiprocess
    cdef list templates
    cpdef dict environ(self, Request request)
    cdef Template template_for(self, Request request)
    cdef Response call(self, Request request)
