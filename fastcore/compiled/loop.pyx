"""The worker loop: one thread, one listener, epoll; when which connection has its turn, and when all is over.

A peer is checked before a byte of it is read (see acceptor). What comes is read and answered by service, whose class is
this one's base. With the first answer that has to be awaited the loop goes on inside asyncio (see
fastcore.asynchronous). The twin is fastcore.pure.loop; this one calls the system itself.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint32_t

from fastcore.compiled.acceptor cimport NONE_WAITS, Acceptor
from fastcore.compiled.channel cimport BODY_OVERDUE, OVERDUE, RETIRED, Channel
from fastcore.compiled.peers cimport Peers
from fastcore.compiled.scoreboard cimport Page
from fastcore.compiled.service cimport Service
from fastcore.compiled.system cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, close, epoll_create1,
    epoll_event, epoll_wait, malloc_trim, now,
)

import os
from _socket import socketpair

from fastcore.addresses import LOOPBACK
from fastcore.constants import RESPONDER
from fastcore.limits import DEFAULT_LIMITS
from fastcore.log import stderr_log

cdef enum:
    EVENTS = 64              # taken from epoll at once
    MAX_WAIT = 3600          # seconds of one epoll_wait()

DRAIN_GRACE = 1.0  # seconds that a kept connection may still bring the request that was on its way when a drain began


cdef class WorkerLoop(Service):
    """Serves one native application on one listening socket until drain() or stop() is called.

    Example::

        loop = WorkerLoop(listener, application)
        signal.signal(signal.SIGTERM, lambda *_: loop.drain())
        signal.set_wakeup_fd(loop.wakeup_fd)
        loop.run()
    """

    cdef Acceptor acceptor
    cdef int workers
    cdef int lifeline
    cdef object pulse
    cdef int roles                        # bit 1 << role for each that is served
    cdef bint overload_page
    cdef str spool_directory
    cdef double next_sweep
    cdef double sweep_period
    cdef bint draining
    cdef object wakeup, wakeup_write
    cdef int wakeup_read_fd
    cdef Py_ssize_t max_connections

    def __init__(
        self,
        listener,
        application,
        *,
        limits=DEFAULT_LIMITS,
        allow_uids=None,
        allow_hosts=LOOPBACK,
        workers: int = 1,
        lifeline: int = -1,
        log=stderr_log,
        roles=(RESPONDER,),
        overload="protocol",
        spool_directory=None,
        event_loop="auto",
        bint stream_body=False,
        Page scoreboard=None,
        pulse=None,
    ):
        """What to serve, and to whom; fastcore.pure.loop describes each argument."""
        Service.__init__(self, application, limits, log, event_loop, stream_body, scoreboard)
        self.acceptor = Acceptor(listener, Peers(allow_uids, allow_hosts, self.complain), self.complain)
        self.workers = workers
        self.lifeline = lifeline
        self.pulse = pulse
        for role in roles:
            self.roles |= 1 << role
        self.overload_page = overload == "page"
        self.spool_directory = spool_directory
        self.max_connections = limits.connections
        self.sweep_period = min(
            limits.header_timeout, limits.body_timeout, limits.idle_timeout, limits.write_timeout, limits.linger_timeout
        )
        self.wakeup, self.wakeup_write = socketpair()
        self.wakeup_read_fd = self.wakeup.fileno()
        for sock in (self.wakeup, self.wakeup_write, listener):
            sock.setblocking(False)

    @property
    def wakeup_fd(self) -> int:
        """A descriptor for signal.set_wakeup_fd(): a byte written to it makes the loop look at drain() and stop()."""
        return self.wakeup_write.fileno()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self.channels)

    def drain(self) -> None:
        """Stop accepting, answer what has begun, then return from run(). Safe in a signal handler."""
        self.draining = True
        self.wake()

    def stop(self) -> None:
        """Return from run() now; unfinished answers are closed, tasks cancelled, and their connections dropped."""
        self.stopping = True
        self.wake()

    cdef int wake(self) except -1:
        """An event loop may have put a descriptor of its own in the place of `wakeup_fd`."""
        try:
            self.wakeup_write.send(b"\0")
        except OSError:  # full: it wakes up anyway
            pass
        return 0

    def run(self) -> None:
        """Serve. Returns after drain() or stop(), with all connections closed; the listener stays open.

        Raises RuntimeError where it runs already. A KeyboardInterrupt comes out, and it may be run again after it.
        """
        if self.epoll >= 0:
            raise RuntimeError("the loop runs already")
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, os.strerror(errno))
        try:
            self.control(EPOLL_CTL_ADD, self.wakeup_read_fd, EPOLLIN)
            if self.lifeline >= 0:
                self.control(EPOLL_CTL_ADD, self.lifeline, EPOLLIN)
            if self.pulse is not None:
                self.control(EPOLL_CTL_ADD, self.pulse[0], EPOLLIN)
            self.acceptor.begin(self.epoll)
            while not self.over():
                if self.host is not None:
                    self.host.run()
                    break
                self.wait_and_act(self.timeout())
        finally:
            self.close_all()

    def fileno(self) -> int:
        """The epoll descriptor while it runs, for another event loop to watch; -1 otherwise."""
        return self.epoll

    def step(self, double timeout) -> None:
        """Wait at most `timeout` seconds (negative: without end) for events, act on them and on what is due."""
        if self.epoll >= 0:
            self.wait_and_act(-1 if timeout < 0 else <int>(min(timeout, <double>MAX_WAIT) * 1000))

    cdef int wait_and_act(self, int timeout) except -1:
        """step() with a time-out in milliseconds."""
        cdef epoll_event[EVENTS] events
        cdef int count, index, error
        with nogil:
            count = epoll_wait(self.epoll, events, EVENTS, timeout)
            error = errno
        PyErr_CheckSignals()
        if count < 0 and error != EINTR:
            raise OSError(error, os.strerror(error))
        for index in range(count):  # -1 after a signal
            if self.stopping:
                break
            self.on_event(events[index].data.fd, events[index].events)
        self.run_runnable()
        self.sweep()
        return 0 if self.scoreboard is None else self.scoreboard.rest(self.channels, self.draining)

    def is_over(self) -> bool:
        """Whether there is nothing more to do after drain() or stop()."""
        return self.over()

    cdef bint over(self) except -1:
        if self.draining and not self.stopping:
            self.drain_idle()
        return self.stopping or (self.draining and not self.channels)

    cdef int drain_idle(self) except -1:
        """Retire the kept connections: what their clients have sent before they knew is answered, then they are closed."""
        cdef Channel channel
        self.acceptor.leave()
        for channel in list(self.channels.values()):
            if not channel.closing:
                channel.retiring = not channel.inbound or channel.asked_values
                channel.announce_end()
                channel.since = now()
                self.sweep_period = min(self.sweep_period, DRAIN_GRACE)
                self.next_sweep = min(self.next_sweep, channel.since + DRAIN_GRACE)
                self.settle(channel)
        return 0

    def wait_time(self) -> float:
        """Seconds until something is due; -1 for never: an idle worker does not wake up."""
        cdef int timeout = self.timeout()
        return -1.0 if timeout < 0 else timeout / 1000.0

    cdef int timeout(self) except -2:
        """Milliseconds until something is due; -1 for never: an idle worker does not wake up."""
        cdef double due = 0
        if self.runnable:
            return 0
        if self.channels:
            due = self.next_sweep
        if self.acceptor.again and (not due or self.acceptor.again < due):
            due = self.acceptor.again
        if not due:
            return -1
        return <int>(min(max(due - now(), 0.0), <double>MAX_WAIT) * 1000) + 1

    cdef int on_event(self, int fd, uint32_t events) except -1:
        cdef Channel channel
        if fd == self.acceptor.fd:
            self.accept()
            if events & (EPOLLERR | EPOLLHUP):
                self.acceptor.pause("the listener was shut down")  # accept4() may say no more than "try again"
            return 0
        if fd == self.wakeup_read_fd:
            try:
                self.wakeup.recv(4096)
            except BlockingIOError:
                pass
            return 0
        if fd == self.lifeline:
            self.control(EPOLL_CTL_DEL, fd, 0)
            self.draining = True
            return 0
        channel = self.channels.get(fd)
        if channel is None:
            if self.pulse is not None and fd == self.pulse[0]:
                self.pulse[1]()
            return 0
        if events & (EPOLLERR | EPOLLHUP):
            return self.close(channel)
        if events & EPOLLIN:
            self.read(channel)
        if events & EPOLLOUT and not channel.closed:
            self.flush(channel)
            if not channel.closed:
                self.pump(channel)
        return 0

    # Accepting

    cdef int accept(self) except -1:
        cdef int fd
        cdef bint remote
        for _ in range(self.acceptor.batch):
            if self.stopping or self.draining or len(self.channels) + self.orphans >= self.max_connections:
                return self.acceptor.leave()
            fd = self.acceptor.take(&remote)
            if fd == NONE_WAITS:
                return 0
            self.open(fd, remote)
        self.acceptor.note_more()
        return 0

    cdef int open(self, int fd, bint remote) except -1:
        cdef Channel channel = Channel(fd, self.limits, self.workers)
        channel.roles = self.roles
        channel.overload_page = self.overload_page
        channel.spool_directory = self.spool_directory
        channel.remote = remote
        if self.stream_body:
            channel.waiter = self
        self.channels[fd] = channel
        if len(self.channels) == 1:
            self.next_sweep = channel.since + self.sweep_period
        # PERF: most clients have sent their request by now; a connection that ends here never enters epoll.
        self.read(channel)
        if not channel.closed:
            self.watch(channel)
        return 0

    cdef int accept_on(self) except -1:
        return 0 if self.draining or self.stopping else self.acceptor.watch()

    cdef int close_all(self) except -1:
        cdef Channel channel
        try:
            for channel in list(self.channels.values()):
                self.close(channel)
        finally:
            try:
                self.acceptor.end()
            finally:
                if self.epoll >= 0:
                    close(self.epoll)
                    self.epoll = -1
                host, self.host = self.host, None
                if host is not None:
                    host.close()
        return 0

    # Time

    cdef int sweep(self) except -1:
        """Look for what has waited too long, once in a while and only if there is a connection."""
        cdef Channel channel
        cdef double time
        cdef int verdict
        if not self.channels and not self.acceptor.again:
            return 0
        time = now()
        if self.acceptor.again:
            self.acceptor.try_again(time)
        if not self.channels or time < self.next_sweep:
            return 0
        self.next_sweep = time + self.sweep_period
        for channel in list(self.channels.values()):
            verdict = channel.judge(time - channel.since)
            if verdict == OVERDUE:
                self.close(channel)
            elif verdict == BODY_OVERDUE:
                channel.refuse_bodies(408)
                self.pump(channel)
            elif verdict == RETIRED and time - channel.since > DRAIN_GRACE:
                self.close_retired(channel)
        return 0


def release_memory():
    """Give memory that is free inside the process back to the system: what imports have left behind (malloc_trim(3))."""
    malloc_trim()
