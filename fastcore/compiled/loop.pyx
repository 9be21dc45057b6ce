"""The worker loop: one thread, one listener, epoll. The only server code that reads and writes sockets.

A peer is checked before a byte of it is read. Applications run here, one after the other; their iterators are advanced
only while their reader keeps up. With the first answer that has to be awaited the loop goes on inside asyncio (see
fastcore.asynchronous). No record is parsed here (see connection) and no answer is made (see exchange). The twin is
fastcore.pure.loop; this one calls the system itself.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport (
    EAGAIN, ECONNABORTED, EHOSTUNREACH, EINTR, ENETDOWN, ENETUNREACH, ENOPROTOOPT, EPERM, EPROTO, ETIMEDOUT, errno,
)
from libc.stdint cimport uint8_t, uint32_t

from fastcore.compiled.buffer cimport buffer_drop, buffer_free, buffer_length
from fastcore.compiled.channel cimport BODY_OVERDUE, NOT_WATCHED, OVERDUE, READ_BYTES, RETIRED, Channel, Waiter, has_gone
from fastcore.compiled.direct cimport DIRECT_LEAST, is_direct, send_direct
from fastcore.compiled.exchange cimport Exchange, new_exchange
from fastcore.compiled.peers cimport Peers
from fastcore.compiled.request cimport Request
from fastcore.compiled.system cimport (
    AF_UNIX, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLEXCLUSIVE, EPOLLHUP,
    EPOLLIN, EPOLLOUT, EHOSTDOWN, ENONET, IPPROTO_TCP, MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_RD, SHUT_WR, SOCK_CLOEXEC,
    SOCK_NONBLOCK, TCP_NODELAY, accept4, close, epoll_create1, epoll_ctl, epoll_event, epoll_wait, malloc_trim, now,
    recv, send, setsockopt, shutdown, sockaddr, sockaddr_storage, socklen_t,
)

import os
import socket

from fastcore.addresses import LOOPBACK
from fastcore.constants import RESPONDER
from fastcore.errors import ProtocolError
from fastcore.limits import DEFAULT_LIMITS
from fastcore.log import LimitedLog, stderr_log, unfailing

cdef enum:
    EVENTS = 64              # taken from epoll at once
    ACCEPTS = 64             # connections taken before the others are looked at
    CHUNKS = 16              # sent on one connection before the others are looked at
    KEPT_BYTES = 1 << 17     # of memory for output that an idle connection keeps
    REPLY_BYTES = 1 << 20    # of management answers waiting for a peer that does not read
    MAX_WAIT = 3600          # seconds of one epoll_wait()
    PHASE_IDLE = 0
    PHASE_PARAMS = 1
    PHASE_BODY = 2

READ_SIZE = READ_BYTES
ACCEPT_BATCH = ACCEPTS
PUMP_BATCH = CHUNKS
MAX_REPLY_BYTES = REPLY_BYTES
DRAIN_GRACE = 1.0  # seconds that a kept connection may still bring the request that was on its way when a drain began
DIRECT_BYTES = DIRECT_LEAST
ACCEPT_PAUSE = 1.0  # seconds without accepting where it fails: the system is out of descriptors or memory


cdef class WorkerLoop(Waiter):
    """Serves one native application on one listening socket until drain() or stop() is called.

    Example::

        loop = WorkerLoop(listener, application)
        signal.signal(signal.SIGTERM, lambda *_: loop.drain())
        signal.set_wakeup_fd(loop.wakeup_fd)
        loop.run()
    """

    cdef readonly object limits
    cdef readonly long long requests      # answered since the start
    cdef object listener
    cdef int listener_fd
    cdef object application
    cdef Peers peers
    cdef int workers
    cdef int lifeline
    cdef int roles                        # bit 1 << role for each that is served
    cdef bint overload_page
    cdef str spool_directory
    cdef bint stream_body
    cdef object log, complain, event_loop
    cdef object host                      # fastcore.asynchronous.Host, there from the first coroutine on
    cdef Py_ssize_t orphans               # tasks whose connection is gone
    cdef object timer                     # a CallTimer where limits.request_timeout is set, else None
    cdef int epoll
    cdef dict channels                    # by descriptor
    cdef dict runnable                    # by descriptor: more to send, and the reader keeps up
    cdef bint accepting
    cdef double accept_again              # seconds (monotonic): when to try again after exhaustion
    cdef double next_sweep
    cdef double sweep_period
    cdef bint draining
    cdef object wakeup, wakeup_write
    cdef int wakeup_read_fd
    cdef Py_ssize_t output_buffer, max_connections
    cdef uint8_t[READ_BYTES] input        # what recv() fills; it is parsed before the next call

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
    ):
        """What to serve, and to whom; fastcore.pure.loop describes each argument."""
        self.epoll = -1
        self.limits = limits
        self.listener = listener
        self.listener_fd = listener.fileno()
        self.application = application
        self.workers = workers
        self.lifeline = lifeline
        for role in roles:
            self.roles |= 1 << role
        self.overload_page = overload == "page"
        self.spool_directory = spool_directory
        self.stream_body = stream_body
        self.log = unfailing(log)
        self.complain = LimitedLog(self.log)
        self.peers = Peers(allow_uids, allow_hosts, self.complain)
        self.event_loop = event_loop
        self.channels = {}
        self.runnable = {}
        self.output_buffer = limits.output_buffer
        self.max_connections = limits.connections
        if limits.request_timeout:
            from fastcore.calltimer import CallTimer

            self.timer = CallTimer(limits.request_timeout, self.log)
        self.sweep_period = min(
            limits.header_timeout, limits.body_timeout, limits.idle_timeout, limits.write_timeout, limits.linger_timeout
        )
        self.wakeup, self.wakeup_write = socket.socketpair()
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
            self.watch_listener(True)
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
        return self.sweep()

    cdef int control(self, int operation, int fd, uint32_t interest) except -1:
        cdef epoll_event event
        event.events = interest
        event.data.fd = fd
        if epoll_ctl(self.epoll, operation, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        return 0

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
        self.watch_listener(False)
        for channel in list(self.channels.values()):
            if not channel.closing:
                channel.retiring = channel.current_phase() == PHASE_IDLE or channel.asked_values
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
        if self.accept_again and (not due or self.accept_again < due):
            due = self.accept_again
        if not due:
            return -1
        return <int>(min(max(due - now(), 0.0), <double>MAX_WAIT) * 1000) + 1

    cdef int on_event(self, int fd, uint32_t events) except -1:
        cdef Channel channel
        if fd == self.listener_fd:
            self.accept()
            if events & (EPOLLERR | EPOLLHUP) and self.accepting:
                self.pause_accepting("the listener was shut down")  # accept() may say no more than "try again"
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

    cdef int watch_listener(self, bint accepting) except -1:
        if accepting == self.accepting or self.epoll < 0:
            return 0
        if accepting:
            self.control(EPOLL_CTL_ADD, self.listener_fd, EPOLLIN | EPOLLEXCLUSIVE)
        else:
            self.control(EPOLL_CTL_DEL, self.listener_fd, 0)
        self.accepting = accepting
        return 0

    cdef int accept(self) except -1:
        cdef int fd
        cdef sockaddr_storage address
        cdef socklen_t length
        for _ in range(ACCEPTS):
            if self.stopping or self.draining or len(self.channels) + self.orphans >= self.max_connections:
                return self.watch_listener(False)
            length = sizeof(address)
            fd = accept4(self.listener_fd, <sockaddr*>&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                self.open(fd, &address, length)
            elif errno == EAGAIN:
                return 0
            elif errno not in (  # accept(2): the trouble of one connection, not of the listener or the system
                ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, EINTR, ENETDOWN, ENETUNREACH, ENONET, ENOPROTOOPT, EPERM, EPROTO,
                ETIMEDOUT,
            ):
                return self.pause_accepting(os.strerror(errno))
        return 0

    cdef int pause_accepting(self, str reason) except -1:
        self.complain(f"cannot accept a connection: {reason}; trying again in {ACCEPT_PAUSE:g} s")
        self.watch_listener(False)
        self.accept_again = now() + ACCEPT_PAUSE
        return 0

    cdef int open(self, int fd, sockaddr_storage* address, socklen_t length) except -1:
        cdef Channel channel
        cdef int on = 1
        if not self.peers.allow(fd, address, length):
            close(fd)
            return 0
        if address.ss_family != AF_UNIX:
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
        channel = Channel(fd, self.limits, self.workers)
        channel.roles = self.roles
        channel.overload_page = self.overload_page
        channel.spool_directory = self.spool_directory
        channel.remote = address.ss_family != AF_UNIX
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

    # One connection

    cdef int watch(self, Channel channel) except -1:
        """Tell epoll what this channel waits for: input, unless a body has no room for it, and room for waiting output."""
        cdef int interest = (0 if channel.eof or channel.held is not None else EPOLLIN) | (EPOLLOUT if buffer_length(&channel.output) else 0)
        if interest == channel.interest or self.epoll < 0:
            return 0
        self.control(EPOLL_CTL_ADD if channel.interest == NOT_WATCHED else EPOLL_CTL_MOD, channel.fd, interest)
        channel.interest = interest
        return 0

    cdef int read(self, Channel channel) except -1:
        """Take what has come, act on it, and answer."""
        cdef ssize_t length = recv(channel.fd, self.input, READ_BYTES, MSG_DONTWAIT)
        if length > 0:
            if not channel.lingering and not channel.failed:
                self.feed(channel, length)
        elif length == 0:
            self.on_eof(channel)
        elif errno != EAGAIN and errno != EINTR:
            self.close(channel)
        return 0

    cdef int feed(self, Channel channel, Py_ssize_t length) except -1:
        self.take(channel, length)
        return 0 if channel.closed else self.pump(channel)

    cdef int take(self, Channel channel, Py_ssize_t length) except -1:
        """Act on what has come, except that nothing is answered yet."""
        try:
            channel.feed(self.input, length)
        except ProtocolError as error:
            self.complain(f"closed a connection that does not speak FastCGI: {error}")
            return self.close(channel)
        except BaseException:  # a time-out or a signal in the middle of it: where the next record begins is lost
            self.close(channel)
            raise
        if buffer_length(&channel.output) > REPLY_BYTES + self.output_buffer:
            self.complain("closed a connection that asks on and on and reads no answers")
            return self.close(channel)
        return self.note_progress(channel)

    cdef bint read_waiting(self, Channel channel) except -1:
        """Take what has come without answering yet, or the connection's end; False where there is nothing."""
        cdef ssize_t length = recv(channel.fd, self.input, READ_BYTES, MSG_DONTWAIT)
        if length > 0:
            self.take(channel, length)
        elif length < 0 and (errno == EAGAIN or errno == EINTR):
            return False
        else:
            channel.eof = True
            self.close(channel)
        return True

    cdef int on_eof(self, Channel channel) except -1:
        """The peer sends no more. It may still read: a half-close aborts only a request that can never be whole."""
        cdef int phase = channel.current_phase()
        channel.eof = True
        if channel.lingering or phase == PHASE_PARAMS or phase == PHASE_BODY:
            return self.close(channel)
        channel.closing = True
        if channel.remote and channel.waiting:  # over TCP the end of input is all that is seen of a peer that has gone
            return self.close(channel)
        return self.settle(channel)

    cdef int pump(self, Channel channel) except -1:
        """Answer the connection's requests, in turn and a chunk at a time, while its reader keeps up."""
        cdef Exchange exchange
        cdef bint is_new
        for _ in range(CHUNKS):
            if self.stopping or buffer_length(&channel.output) >= self.output_buffer:
                break
            is_new = channel.ready.first is not None
            if is_new:
                exchange = new_exchange(<Request>channel.ready.take(), self.application, self.log)
                if self.timer is not None:
                    exchange.timer = self.timer
            elif channel.answering.first is not None:
                exchange = <Exchange>channel.answering.take()
            else:
                break
            try:
                if is_new:
                    exchange.start()
                self.advance(channel, exchange)
            except BaseException:  # KeyboardInterrupt: it is closed with the connection
                channel.answering.put(exchange)
                raise
            if exchange.waiting:
                self.wait(channel, exchange)
                if channel.closed:
                    return 0
            elif not exchange.finished:
                channel.answering.put(exchange)
            if not channel.closed:
                self.flush(channel)
            if channel.closed:
                return 0
        return self.settle(channel)

    cdef int advance(self, Channel channel, Exchange exchange) except -1:
        """One chunk of one answer into the connection's output."""
        cdef Request request = exchange.request
        cdef bytes chunk = exchange.next_chunk()
        if self.stream_body and has_gone(exchange, channel):
            return 0
        if request.errors is not None:
            channel.send_stderr(request.request_id, request.take_errors())
        cdef bint direct = chunk is not None and is_direct(chunk, &channel.output)
        if chunk is not None and not direct:
            channel.send_stdout(request.request_id, chunk)
        if exchange.finished:
            if exchange.broken:
                self.break_off(channel, exchange)
            else:
                channel.end_request(request.request_id, exchange.app_status)
            request.close()
            self.requests += 1
        if direct and send_direct(channel.fd, &channel.output, request.request_id, chunk):
            channel.since = now()
        return 0

    cdef int break_off(self, Channel channel, Exchange exchange) except -1:
        """End an answer that is not whole, and its connection, unless that harms another request on it.

        Where a length was declared, the client sees that bytes are missing. HAProxy waits for them unless the
        connection ends, and mod_fcgid would fill them with an error page if it ended without END_REQUEST. A request
        whose body still comes after its answer counts as another: HAProxy would go on to use the ended connection."""
        cdef Request request = exchange.request
        cdef bint is_alone
        cdef ssize_t length = 0
        if request.keep_connection:  # another may have come meanwhile
            length = recv(channel.fd, self.input, READ_BYTES, MSG_DONTWAIT)
        if length > 0:
            try:
                channel.feed(self.input, length)
            except ProtocolError:
                pass
        if not channel.is_active(request.request_id):
            return 0  # what came was its ABORT
        is_alone = len(channel.inbound) == 1 and not channel.draining
        if is_alone and exchange.left < 0:
            channel.break_off(request.request_id)
        else:
            channel.end_request(request.request_id, exchange.app_status)
            channel.closing = channel.closing or is_alone
        return 0

    cdef int flush(self, Channel channel) except -1:
        """Write what can be written without waiting; the rest stays in the connection's output."""
        cdef ssize_t sent
        if not buffer_length(&channel.output):
            return 0
        sent = send(
            channel.fd, channel.output.data + channel.output.start, buffer_length(&channel.output),
            MSG_NOSIGNAL | MSG_DONTWAIT,
        )
        if sent >= 0:
            buffer_drop(&channel.output, sent)
            if not buffer_length(&channel.output) and channel.output.capacity > KEPT_BYTES:
                buffer_free(&channel.output)
            channel.since = now()
        elif errno != EAGAIN and errno != EINTR:
            self.close(channel)  # EPIPE, ECONNRESET: the client has gone; nothing to complain about
        return 0

    cdef int settle(self, Channel channel) except -1:
        """After sending: close what is finished, go on watching what is not."""
        self.flush(channel)
        if channel.closed:
            return 0
        if channel.has_work() and buffer_length(&channel.output) < self.output_buffer:
            self.runnable[channel.fd] = channel
        elif channel.closing and not channel.inbound and not buffer_length(&channel.output):
            if channel.retiring and not channel.eof and not channel.failed and (channel.fresh or channel.told_end):
                channel.fresh = True
            elif channel.draining and not channel.eof:
                self.linger(channel)
            else:
                return self.close(channel)
        return self.watch(channel)

    cdef int linger(self, Channel channel) except -1:
        """Closing with unread input would reset the connection and lose the answer: read on for a while."""
        if not channel.lingering:
            channel.lingering = True
            channel.since = now()
            if shutdown(channel.fd, SHUT_WR) < 0:
                channel.eof = True
        return 0

    cdef int close_retired(self, Channel channel) except -1:
        """Close a connection that brought nothing more; what comes in this very moment is answered still."""
        channel.retiring = False
        if shutdown(channel.fd, SHUT_RD) < 0:
            return self.close(channel)
        return self.read(channel)

    cdef int close(self, Channel channel) except -1:
        if channel.closed:
            return 0
        channel.closed = True
        self.channels.pop(channel.fd, None)
        self.runnable.pop(channel.fd, None)
        try:
            if channel.interest != NOT_WATCHED and self.epoll >= 0:
                self.control(EPOLL_CTL_DEL, channel.fd, 0)
        finally:
            close(channel.fd)
            self.orphans += channel.abandon()
        return self.accept_on()

    cdef int accept_on(self) except -1:
        """There is room for a connection again."""
        if not self.accepting and not self.draining and not self.accept_again:
            self.watch_listener(True)
        return 0

    cdef int close_all(self) except -1:
        cdef Channel channel
        try:
            for channel in list(self.channels.values()):
                self.close(channel)
        finally:
            if self.epoll >= 0:
                close(self.epoll)
                self.epoll = -1
            self.accepting = False
            host, self.host = self.host, None
            if host is not None:
                host.close()
        return 0

    # Answers that are awaited

    cdef int wait(self, Channel channel, Exchange exchange) except -1:
        """Leave an exchange to its task until it has something to hand out. The first one brings asyncio in."""
        try:
            if exchange.task is not None:
                exchange.task.go_on()
            else:
                if self.host is None:
                    from fastcore.asynchronous import Host

                    self.host = Host(self, self.event_loop, self.log)
                exchange.task = self.host.start(channel, exchange)
        except Exception:  # no uvloop, no descriptors left
            exchange.fail()
            channel.answering.put(exchange)
            return 0
        if channel.waiting is None:
            channel.waiting = {}
        channel.waiting[exchange.request.request_id] = exchange
        if channel.eof and channel.remote:
            self.close(channel)
        return 0

    def resume(self, Channel channel not None, Exchange exchange not None) -> None:
        """A waiting exchange has something to hand out. For its task."""
        self.take_back(channel, exchange)

    cdef int take_back(self, Channel channel, Exchange exchange) except -1:
        if channel.closed or channel.waiting.pop(exchange.request.request_id, None) is None:
            return 0
        channel.answering.put(exchange)
        return self.pump(channel)

    def end_waiting(self, Channel channel not None, Exchange exchange not None) -> None:
        """The task of an exchange has ended. For this task."""
        cdef Request request = exchange.request
        exchange.task = None
        if channel.closed:
            self.orphans -= 1
            exchange.close()
            request.close()
            self.accept_on()
        elif exchange.aborted:
            del channel.waiting[request.request_id]
            exchange.close()
            channel.end_request(request.request_id, 1)
            request.close()
            self.pump(channel)
        else:
            exchange.end()
            self.take_back(channel, exchange)

    cdef int run_runnable(self) except -1:
        cdef Channel channel
        if not self.runnable:
            return 0
        runnable, self.runnable = self.runnable, {}
        for channel in runnable.values():
            if not channel.closed:
                self.pump(channel)
        return 0

    # Time

    cdef int note_progress(self, Channel channel) except -1:
        """PARAMS must be complete in one time-out however slowly they drip; in the other phases any byte counts."""
        cdef int phase = channel.current_phase()
        if phase != PHASE_PARAMS or channel.watched_phase != PHASE_PARAMS:
            channel.since = now()
        channel.watched_phase = phase
        return 0

    cdef int sweep(self) except -1:
        """Look for what has waited too long, once in a while and only if there is a connection."""
        cdef Channel channel
        cdef double time
        cdef int verdict
        if not self.channels and not self.accept_again:
            return 0
        time = now()
        if self.accept_again and time >= self.accept_again:
            self.accept_again = 0.0
            if not self.draining:
                self.watch_listener(True)
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
