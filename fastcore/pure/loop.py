"""The worker loop: one thread, one listener, epoll; when which connection has its turn, and when all is over.

A peer is checked before a byte of it is read (see acceptor). What comes is read and answered by service, whose class is
this one's base. With the first answer that has to be awaited the loop goes on inside asyncio (see
fastcore.asynchronous).
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from fastcore.addresses import LOOPBACK
from fastcore.constants import RESPONDER
from fastcore.limits import DEFAULT_LIMITS, Limits
from fastcore.log import stderr_log
from fastcore.pure.acceptor import Acceptor
from fastcore.pure.channel import BODY_OVERDUE, OVERDUE, RETIRED, Channel
from fastcore.pure.connection import Overload
from fastcore.pure.exchange import NativeApplication
from fastcore.pure.peers import Peers
from fastcore.pure.service import Service

if TYPE_CHECKING:
    from fastcore.asynchronous import EventLoopName
    from fastcore.log import Log
    from fastcore.pure.scoreboard import Page

DRAIN_GRACE = 1.0  # seconds that a kept connection may still bring the request that was on its way when a drain began
MAX_WAIT = 3600.0  # seconds of one epoll_wait()


class WorkerLoop(Service):
    """Serves one native application on one listening socket until drain() or stop() is called.

    Example::

        loop = WorkerLoop(listener, application)
        signal.signal(signal.SIGTERM, lambda *_: loop.drain())
        signal.set_wakeup_fd(loop.wakeup_fd)
        loop.run()
    """

    def __init__(
        self,
        listener: socket.socket,
        application: NativeApplication,
        *,
        limits: Limits = DEFAULT_LIMITS,
        allow_uids: Collection[int] | None = None,
        allow_hosts: Collection[str] = LOOPBACK,
        workers: int = 1,
        lifeline: int = -1,
        log: Log = stderr_log,
        roles: Collection[int] = (RESPONDER,),
        overload: Overload = "protocol",
        spool_directory: str | None = None,
        event_loop: EventLoopName = "auto",
        stream_body: bool = False,
        scoreboard: Page | None = None,
        pulse: tuple[int, Callable[[], object]] | None = None,
    ) -> None:
        """What to serve, and to whom.

        Args:
            listener: a listening socket; it is made non-blocking and stays the caller's.
            application: a native application (fastcore.wsgi.WSGIAdapter makes one of a WSGI application).
            limits: what is accepted before it is refused.
            allow_uids: who may connect to a unix socket (SO_PEERCRED); None for everyone that its mode lets in.
            allow_hosts: the numeric addresses that may connect over TCP.
            workers: how many processes share the listener.
            lifeline: a descriptor that becomes readable when the parent process is gone: then drain; -1 for none.
            log: takes one text without a newline.
            roles: what is served (numbers of fastcore.constants); others get FCGI_UNKNOWN_ROLE.
            overload: "protocol" or "page", see Connection.
            spool_directory: where the temporary files of long bodies are made; None for the usual place.
            event_loop: in which coroutines run: "asyncio", "uvloop", or "auto" for uvloop where it is installed.
            stream_body: call the application when the parameters are complete; it reads its body as it comes.
            scoreboard: where it writes what it does, for others to see; None for nowhere.
            pulse: a descriptor, such as a timer's, and what is called whenever it is readable, by the loop itself: so
                not while a call is stuck.
        """
        super().__init__(application, limits, log, event_loop, stream_body, scoreboard)
        self._acceptor = Acceptor(listener, Peers(allow_uids, allow_hosts, self._complain), self._complain)
        self._workers = workers
        self._lifeline = lifeline
        self._pulse = pulse
        self._roles = frozenset(roles)
        self._overload = overload
        self._spool_directory = spool_directory
        self._next_sweep = 0.0
        self._sweep_period: float = min(
            limits.header_timeout,
            limits.body_timeout,
            limits.idle_timeout,
            limits.write_timeout,
            limits.linger_timeout,
        )
        self._draining = False
        self._wakeup, self._wakeup_write = socket.socketpair()
        for sock in (self._wakeup, self._wakeup_write, listener):
            sock.setblocking(False)

    @property
    def wakeup_fd(self) -> int:
        """A descriptor for signal.set_wakeup_fd(): a byte written to it makes the loop look at drain() and stop()."""
        return self._wakeup_write.fileno()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._channels)

    def drain(self) -> None:
        """Stop accepting, answer what has begun, then return from run(). Safe in a signal handler."""
        self._draining = True
        self._wake()

    def stop(self) -> None:
        """Return from run() now; unfinished answers are closed, tasks cancelled, and their connections dropped."""
        self._stopping = True
        self._wake()

    def _wake(self) -> None:
        """An event loop may have put a descriptor of its own in the place of `wakeup_fd`."""
        try:
            self._wakeup_write.send(b"\0")
        except OSError:  # full: it wakes up anyway
            pass

    def run(self) -> None:
        """Serve. Returns after drain() or stop(), with all connections closed; the listener stays open.

        Raises RuntimeError where it runs already. A KeyboardInterrupt comes out, and it may be run again after it.
        """
        if self._epoll is not None:
            raise RuntimeError("the loop runs already")
        self._epoll = select.epoll()
        try:
            self._epoll.register(self._wakeup, select.EPOLLIN)
            if self._lifeline >= 0:
                self._epoll.register(self._lifeline, select.EPOLLIN)
            if self._pulse is not None:
                self._epoll.register(self._pulse[0], select.EPOLLIN)
            self._acceptor.begin(self._epoll)
            while not self.is_over():
                if self._host is not None:
                    self._host.run()
                    break
                self.step(self.wait_time())
        finally:
            self._close_all()

    def fileno(self) -> int:
        """The epoll descriptor while it runs, for another event loop to watch; -1 otherwise."""
        return -1 if self._epoll is None else self._epoll.fileno()

    def step(self, timeout: float) -> None:
        """Wait at most `timeout` seconds (negative: without end) for events, act on them and on what is due."""
        if self._epoll is None:
            return
        for fd, events in self._epoll.poll(timeout):
            if self._stopping:
                break
            self._on_event(fd, events)
        self._run_runnable()
        self._sweep()
        if self._scoreboard is not None:
            self._scoreboard.rest(self._channels, self._draining)

    def is_over(self) -> bool:
        """Whether there is nothing more to do after drain() or stop()."""
        if self._draining and not self._stopping:
            self._drain_idle()
        return self._stopping or (self._draining and not self._channels)

    def _drain_idle(self) -> None:
        """Retire the kept connections: what their clients have sent before they knew is answered, then they are closed.

        A connection that waits for a request, the next or the first, is not closed at once: it may be on its way, and
        many clients (nginx, HAProxy) repeat no POST. It is answered and closed, or closed after DRAIN_GRACE seconds.
        """
        self._acceptor.leave()
        for channel in list(self._channels.values()):
            if not channel.closing:
                channel.retiring = not channel.active_requests or channel.asked_values
                channel.announce_end()
                channel.since = time.monotonic()
                self._sweep_period = min(self._sweep_period, DRAIN_GRACE)
                self._next_sweep = min(self._next_sweep, channel.since + DRAIN_GRACE)
                self._settle(channel)

    def wait_time(self) -> float:
        """Seconds until something is due; -1 for never: an idle worker does not wake up."""
        if self._runnable:
            return 0
        due = []
        if self._channels:
            due.append(self._next_sweep)
        if self._acceptor.again:
            due.append(self._acceptor.again)
        return min(max(min(due) - time.monotonic(), 0) + 0.001, MAX_WAIT) if due else -1

    def _on_event(self, fd: int, events: int) -> None:
        if fd == self._acceptor.fd:
            self._accept()
            if events & (select.EPOLLERR | select.EPOLLHUP):
                self._acceptor.pause("the listener was shut down")  # accept() may say no more than "try again"
            return
        if fd == self._wakeup.fileno():
            try:
                self._wakeup.recv(4096)
            except BlockingIOError:
                pass
            return
        if fd == self._lifeline and self._epoll is not None:
            self._epoll.unregister(fd)
            self.drain()
            return
        channel = self._channels.get(fd)
        if channel is None:
            if self._pulse is not None and fd == self._pulse[0]:
                self._pulse[1]()
            return
        if events & (select.EPOLLERR | select.EPOLLHUP):
            self._close(channel)
            return
        if events & select.EPOLLIN:
            self._read(channel)
        if events & select.EPOLLOUT and not channel.closed:
            self._flush(channel)
            if not channel.closed:
                self._pump(channel)

    # Accepting

    def _accept(self) -> None:
        for _ in range(self._acceptor.batch):
            if self._stopping or self._draining or len(self._channels) + self._orphans >= self.limits.connections:
                self._acceptor.leave()
                return
            sock = self._acceptor.take()
            if sock is None:
                return
            self._open(sock)
        self._acceptor.note_more()

    def _open(self, sock: socket.socket) -> None:
        channel = Channel(sock, self.limits, self._workers, self._roles, self._overload)
        channel.spool_directory = self._spool_directory
        if self._stream_body:
            channel.waiter = self
        self._channels[channel.fd] = channel
        if len(self._channels) == 1:
            self._next_sweep = channel.since + self._sweep_period
        # PERF: most clients have sent their request by now; a connection that ends here never enters epoll.
        self._read(channel)
        if not channel.closed:
            self.watch(channel)

    def _accept_on(self) -> None:
        if not self._draining and not self._stopping:
            self._acceptor.watch()

    def _close_all(self) -> None:
        try:
            for channel in list(self._channels.values()):
                self._close(channel)
        finally:
            try:
                self._acceptor.end()
            finally:
                if self._epoll is not None:
                    self._epoll.close()
                    self._epoll = None
                host, self._host = self._host, None
                if host is not None:
                    host.close()

    # Time

    def _sweep(self) -> None:
        """Look for what has waited too long, once in a while and only if there is a connection."""
        now = time.monotonic()
        if self._acceptor.again:
            self._acceptor.try_again(now)
        if not self._channels or now < self._next_sweep:
            return
        self._next_sweep = now + self._sweep_period
        for channel in list(self._channels.values()):
            verdict = channel.judge(now - channel.since)
            if verdict == OVERDUE:
                self._close(channel)
            elif verdict == BODY_OVERDUE:
                channel.refuse_bodies(408)
                self._pump(channel)
            elif verdict == RETIRED and now - channel.since > DRAIN_GRACE:
                self._close_retired(channel)


def release_memory() -> None:
    """Give memory that is free inside the process back to the system: Python has no call for it, so nothing is done."""
