# The system calls of the worker loop, as the C library declares them.

from libc.stdint cimport uint32_t
from posix.types cimport off_t

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLLEXCLUSIVE
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
        EPOLL_CLOEXEC
    ctypedef union epoll_data_t:
        int fd
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int count, int timeout)

cdef extern from "<errno.h>" nogil:
    enum:
        EHOSTDOWN
        ENONET

cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_UNIX
        SOCK_CLOEXEC
        SOCK_NONBLOCK
        SOL_SOCKET
        SO_PEERCRED
        SHUT_RD
        SHUT_WR
        MSG_NOSIGNAL
        MSG_DONTWAIT
        MSG_MORE
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_storage:
        unsigned short ss_family
    int accept4(int fd, sockaddr* address, socklen_t* length, int flags)
    ssize_t recv(int fd, void* data, size_t length, int flags)
    ssize_t send(int fd, const void* data, size_t length, int flags)
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* length)
    int setsockopt(int fd, int level, int name, const void* value, socklen_t length)
    int shutdown(int fd, int how)

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/socket.h>
    #include <sys/types.h>
    #include <netdb.h>
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    typedef struct { int pid; unsigned int uid; unsigned int gid; } fastcore_peer;  /* struct ucred, unix(7) */
    """
    enum:
        IPPROTO_TCP
        TCP_NODELAY
        NI_NUMERICHOST
        NI_MAXHOST
    ctypedef struct fastcore_peer:
        int pid
        unsigned int uid
        unsigned int gid
    int getnameinfo(const sockaddr* address, socklen_t length, char* host, socklen_t host_length,
                    char* service, socklen_t service_length, int flags) nogil

cdef extern from "<poll.h>" nogil:
    enum:
        POLLIN
        POLLOUT
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* fds, unsigned long count, int timeout)


cdef inline void await_ready(int fd, bint writable, double seconds) noexcept nogil:
    """Wait until there is input, or room for output where that is asked for, or the time is over, or a signal came."""
    cdef pollfd wanted
    wanted.fd = fd
    wanted.events = POLLIN | (POLLOUT if writable else 0)
    poll(&wanted, 1, <int>(seconds * 1000) + 1)


cdef inline bint has_input(int fd) noexcept nogil:
    """Whether there is input now: bytes, or on a listening socket a connection."""
    cdef pollfd wanted
    wanted.fd = fd
    wanted.events = POLLIN
    return poll(&wanted, 1, 0) > 0

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t sendfile(int socket, int fd, off_t* offset, size_t count)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)
    ssize_t pread(int fd, void* data, size_t length, off_t offset)
    ssize_t write(int fd, const void* data, size_t length)

cdef extern from * nogil:
    """
    #include <stdlib.h>
    #ifdef __GLIBC__
    #include <malloc.h>
    #define fastcore_malloc_trim() malloc_trim(0)
    #else
    #define fastcore_malloc_trim() 0
    #endif
    """
    int malloc_trim "fastcore_malloc_trim"()

cdef extern from "<time.h>" nogil:
    enum:
        CLOCK_MONOTONIC
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec* time)


cdef inline double now() noexcept nogil:
    """Seconds on the monotonic clock."""
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec + time.tv_nsec * 1e-9
