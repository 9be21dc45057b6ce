"""The queue of new connections, which other processes may share."""

from __future__ import annotations

import errno
import select
import socket
import time

from fastcore.pure.peers import Peers

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from fastcore.log import Log

ACCEPT_PAUSE = 1.0  # seconds without accepting where it fails: the system is out of descriptors or memory
ACCEPT_BATCH = 64  # connections taken at most before the others are looked at
FULL_TURNS = 8  # in which all that were to be taken were there, before more are taken at once
EPOLLEXCLUSIVE = 1 << 28

# accept(2): the trouble of one connection, not of the listener or the system
_ITS_TROUBLE = (
    errno.EAGAIN,
    errno.ECONNABORTED,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENONET,
    errno.ENOPROTOOPT,
    errno.EPERM,
    errno.EPROTO,
    errno.ETIMEDOUT,
)


class Acceptor:
    """Takes connections off one listening socket, of peers that may speak, while the loop has room for them."""

    def __init__(self, listener: socket.socket, peers: Peers, complain: Log) -> None:
        self._listener = listener
        self.fd = listener.fileno()
        self._peers = peers
        self._complain = complain
        self._epoll: select.epoll | None = None  # there while the loop runs
        self._accepting = False  # epoll watches the listener for us
        self.batch = 1  # connections to take before the others are looked at
        self._full_turns = 0
        self.again = 0.0  # seconds (monotonic): when to try again after exhaustion; 0 for not at all

    def begin(self, epoll: select.epoll) -> None:
        """Be told of connections by this epoll object."""
        self._epoll = epoll
        self.watch()

    def watch(self) -> None:
        """Be told of connections (again), unless it was exhausted a moment ago."""
        if not self._accepting and not self.again and self._epoll is not None:
            self._epoll.register(self.fd, select.EPOLLIN | EPOLLEXCLUSIVE)
            self._accepting = True

    def leave(self) -> None:
        """Be told of no more connections, nor try again; of one that waits already, the other processes are told.

        With EPOLLEXCLUSIVE this process alone may have been told of it. To shut down the sending side of a listening
        socket, which never sends, has one effect: all that wait for it look again.
        """
        self.again = 0.0
        if self._accepting and self._epoll is not None:
            self._accepting = False
            self._epoll.unregister(self.fd)
            poll = select.poll()
            poll.register(self.fd, select.POLLIN)
            if poll.poll(0):
                try:
                    self._listener.shutdown(socket.SHUT_WR)
                except OSError:  # it is no listening socket any more
                    pass

    def take(self) -> socket.socket | None:
        """One connection, non-blocking; None where epoll has to tell of the next."""
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            if error.errno not in _ITS_TROUBLE:
                self.pause(error.strerror or str(error))
            self.batch, self._full_turns = 1, 0
            return None
        sock.setblocking(False)
        if not self._peers.allow(sock):
            sock.close()
            return None
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def note_more(self) -> None:
        """A whole batch was there. PERF: to find the queue empty costs as much as a connection, so it is tried rarely:
        one connection a turn, and twice as many after some turns in a row that found all they were to take.
        """
        self._full_turns += 1
        if self._full_turns == FULL_TURNS:
            self._full_turns = 0
            self.batch = min(2 * self.batch, ACCEPT_BATCH)

    def pause(self, reason: str) -> None:
        """Leave it for a while: try_again() ends the pause."""
        if self._accepting:
            self._complain(f"cannot accept a connection: {reason}; trying again in {ACCEPT_PAUSE:g} s")
            self.leave()
            self.again = time.monotonic() + ACCEPT_PAUSE

    def try_again(self, now: float) -> None:
        """End a pause that is over."""
        if now >= self.again:
            self.again = 0.0
            self.watch()

    def end(self) -> None:
        """The epoll object goes."""
        try:
            self.leave()
        finally:
            self._epoll = None
