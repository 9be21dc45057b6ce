from posix.types cimport off_t


cdef enum:
    PAGE_BYTES = 4096
    FILE_CONTENT_SIZE = 15 * 4096  # bytes of one record: one page less than what the pipe inside sendfile(2) holds

cdef enum:                         # what send() says
    NOTHING_SENT = 0
    SENT = 1
    GONE = 2                       # the client


cdef class FileRecord:
    cdef readonly Py_ssize_t left  # bytes of content still to come
    cdef readonly bint failed      # its content was not to be had
    cdef readonly bint refused     # by the system: it does not send from this file so
    cdef object file, complain
    cdef int fd
    cdef off_t at
    cdef bytes rest                # of the content from `offset` on, where it is not taken from the file
    cdef Py_ssize_t offset

    cdef int begin(self, long long at, Py_ssize_t length) except -1
    cdef int waive(self) except -1
    cdef int send(self, int socket) except -1
    cdef ssize_t send_from_file(self, int socket) except -2
    cdef ssize_t read(self) except -2
    cdef ssize_t send_rest(self, int socket) except -2
    cdef ssize_t fail(self, str what) except -2
