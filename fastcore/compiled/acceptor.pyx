"""The queue of new connections, which other processes may share. The twin is fastcore.pure.acceptor."""

from libc.errno cimport (
    EAGAIN, ECONNABORTED, EHOSTUNREACH, EINTR, ENETDOWN, ENETUNREACH, ENOPROTOOPT, EPERM, EPROTO, ETIMEDOUT, errno,
)

from fastcore.compiled.peers cimport Peers
from fastcore.compiled.system cimport (
    AF_UNIX, EHOSTDOWN, ENONET, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLEXCLUSIVE, EPOLLIN, IPPROTO_TCP, SOCK_CLOEXEC,
    SHUT_WR, SOCK_NONBLOCK, TCP_NODELAY, accept4, close, epoll_ctl, epoll_event, has_input, now, setsockopt, shutdown,
    sockaddr, sockaddr_storage, socklen_t,
)

import os

cdef enum:
    MOST_AT_ONCE = 64
    FULL_TURNS_BEFORE = 8

ACCEPT_PAUSE = 1.0  # seconds without accepting where it fails: the system is out of descriptors or memory
ACCEPT_BATCH = MOST_AT_ONCE  # connections taken at most before the others are looked at
FULL_TURNS = FULL_TURNS_BEFORE  # in which all that were to be taken were there, before more are taken at once


cdef class Acceptor:
    """Takes connections off one listening socket, of peers that may speak, while the loop has room for them."""

    def __init__(self, listener, Peers peers not None, complain):
        self.listener = listener
        self.fd = listener.fileno()
        self.peers = peers
        self.complain = complain
        self.epoll = -1
        self.batch = 1

    cdef int begin(self, int epoll) except -1:
        """Be told of connections by this epoll descriptor."""
        self.epoll = epoll
        return self.watch()

    cdef int watch(self) except -1:
        """Be told of connections (again), unless it was exhausted a moment ago."""
        cdef epoll_event event
        if self.accepting or self.again or self.epoll < 0:
            return 0
        event.events = EPOLLIN | EPOLLEXCLUSIVE
        event.data.fd = self.fd
        if epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        self.accepting = True
        return 0

    cdef int leave(self) except -1:
        """Be told of no more connections, nor try again; of one that waits already, the other processes are told.

        With EPOLLEXCLUSIVE this process alone may have been told of it. To shut down the sending side of a listening
        socket, which never sends, has one effect: all that wait for it look again.
        """
        cdef epoll_event event
        self.again = 0.0
        if not self.accepting:
            return 0
        self.accepting = False
        if epoll_ctl(self.epoll, EPOLL_CTL_DEL, self.fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        if has_input(self.fd):
            shutdown(self.fd, SHUT_WR)
        return 0

    cdef int take(self, bint* remote) except -2:
        """One connection, non-blocking, whether over TCP in `remote`; NONE_WAITS where epoll has to tell of the next."""
        cdef sockaddr_storage address
        cdef socklen_t length = sizeof(address)
        cdef int on = 1
        cdef int fd = accept4(self.fd, <sockaddr*>&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0:
            if errno not in (  # accept(2): the trouble of one connection, not of the listener or the system
                EAGAIN, ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, EINTR, ENETDOWN, ENETUNREACH, ENONET, ENOPROTOOPT,
                EPERM, EPROTO, ETIMEDOUT,
            ):
                self.pause(os.strerror(errno))
            self.batch = 1
            self.full_turns = 0
            return NONE_WAITS
        if not self.peers.allow(fd, &address, length):
            close(fd)
            return NONE_WAITS
        remote[0] = address.ss_family != AF_UNIX
        if remote[0]:
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
        return fd

    cdef void note_more(self) noexcept:
        """A whole batch was there. PERF: to find the queue empty costs as much as a connection, so it is tried rarely:
        one connection a turn, and twice as many after some turns in a row that found all they were to take.
        """
        self.full_turns += 1
        if self.full_turns == FULL_TURNS_BEFORE:
            self.full_turns = 0
            self.batch = min(2 * self.batch, <int>MOST_AT_ONCE)

    cdef int pause(self, str reason) except -1:
        """Leave it for a while: try_again() ends the pause."""
        if self.accepting:
            self.complain(f"cannot accept a connection: {reason}; trying again in {ACCEPT_PAUSE:g} s")
            self.leave()
            self.again = now() + ACCEPT_PAUSE
        return 0

    cdef int try_again(self, double time) except -1:
        """End a pause that is over."""
        if time >= self.again:
            self.again = 0.0
            self.watch()
        return 0

    cdef int end(self) except -1:
        """The epoll descriptor goes."""
        try:
            self.leave()
        finally:
            self.epoll = -1
        return 0
