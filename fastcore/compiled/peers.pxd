from fastcore.compiled.system cimport sockaddr_storage, socklen_t


cdef class Peers:
    cdef object uids
    cdef object hosts
    cdef object complain

    cdef bint allow(self, int fd, sockaddr_storage* address, socklen_t length) except -1
