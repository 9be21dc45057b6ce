"""The worker loop: one thread, one listener, epoll. The only server code that reads and writes sockets.

A peer is checked before a byte of it is read. Applications run here, one after the other; their iterators are advanced
only while their reader keeps up. With the first answer that has to be awaited the loop goes on inside asyncio (see
fastcore.asynchronous). No record is parsed here (see connection) and no answer is made (see exchange).
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from fastcore.addresses import LOOPBACK
from fastcore.constants import RESPONDER, STDOUT
from fastcore.errors import ProtocolError
from fastcore.limits import DEFAULT_LIMITS, Limits
from fastcore.log import LimitedLog, Log, stderr_log, unfailing
from fastcore.pure.channel import BODY_OVERDUE, NOT_WATCHED, OVERDUE, READ_SIZE, RETIRED, Channel
from fastcore.pure.connection import IDLE, PHASE_BODY, PHASE_PARAMS, Overload
from fastcore.pure.exchange import CHUNK, WHOLE, Exchange, NativeApplication
from fastcore.pure.peers import Peers
from fastcore.pure.records import build_header

if TYPE_CHECKING:
    from fastcore.asynchronous import EventLoopName, Host
    from fastcore.calltimer import CallTimer

ACCEPT_BATCH = 64  # connections taken before the others are looked at
PUMP_BATCH = 16  # chunks sent on one connection before the others are looked at
MAX_REPLY_BYTES = 1 << 20  # of management answers waiting for a peer that does not read
DRAIN_GRACE = 1.0  # seconds that a kept connection may still bring the request that was on its way when a drain began
DIRECT_BYTES = 16384  # pieces of this length are worth a sendmsg() of their own: they are not copied
ACCEPT_PAUSE = 1.0  # seconds without accepting where it fails: the system is out of descriptors or memory
EPOLLEXCLUSIVE = 1 << 28

MAX_WAIT = 3600.0  # seconds of one epoll_wait()

# accept(2): the trouble of one connection, not of the listener or the system
_ITS_TROUBLE = (
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


class WorkerLoop:
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
        """
        self.limits = limits
        self.requests = 0  # answered since the start
        self._listener = listener
        self._application = application
        self._workers = workers
        self._lifeline = lifeline
        self._roles = frozenset(roles)
        self._overload = overload
        self._spool_directory = spool_directory
        self._stream_body = stream_body
        self._log = unfailing(log)
        self._complain = LimitedLog(self._log)
        self._peers = Peers(allow_uids, allow_hosts, self._complain)
        self._event_loop = event_loop
        self._host: Host | None = None  # there from the first coroutine on
        self._orphans = 0  # tasks whose connection is gone
        self._epoll: select.epoll | None = None
        self._channels: dict[int, Channel] = {}
        self._runnable: dict[int, Channel] = {}  # by fd: more to send, and the reader keeps up
        self._accepting = False
        self._accept_again = 0.0  # seconds (monotonic): when to try again after exhaustion
        self._next_sweep = 0.0
        self._timer: CallTimer | None = None
        if limits.request_timeout:
            from fastcore.calltimer import CallTimer

            self._timer = CallTimer(limits.request_timeout, self._log)
        self._sweep_period: float = min(
            limits.header_timeout,
            limits.body_timeout,
            limits.idle_timeout,
            limits.write_timeout,
            limits.linger_timeout,
        )
        self._draining = False
        self._stopping = False
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
            self._watch_listener(True)
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

    def is_over(self) -> bool:
        """Whether there is nothing more to do after drain() or stop()."""
        if self._draining and not self._stopping:
            self._drain_idle()
        return self._stopping or (self._draining and not self._channels)

    def _drain_idle(self) -> None:
        """Retire the kept connections: what their clients have sent before they knew is answered, then they are closed.

        A connection that waits for a next request is not closed at once: the request may be on its way, and many
        clients (nginx, HAProxy) repeat no POST. It is answered and closed, or closed after DRAIN_GRACE seconds.
        """
        self._watch_listener(False)
        for channel in list(self._channels.values()):
            if not channel.closing:
                channel.retiring = channel.phase == IDLE or channel.asked_values
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
        if self._accept_again:
            due.append(self._accept_again)
        return min(max(min(due) - time.monotonic(), 0) + 0.001, MAX_WAIT) if due else -1

    def _on_event(self, fd: int, events: int) -> None:
        if fd == self._listener.fileno():
            self._accept()
            if events & (select.EPOLLERR | select.EPOLLHUP) and self._accepting:
                self._pause_accepting("the listener was shut down")  # accept() may say no more than "try again"
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

    def _watch_listener(self, accepting: bool) -> None:
        if accepting == self._accepting or self._epoll is None:
            return
        if accepting:
            self._epoll.register(self._listener, select.EPOLLIN | EPOLLEXCLUSIVE)
        else:
            self._epoll.unregister(self._listener)
        self._accepting = accepting

    def _accept(self) -> None:
        for _ in range(ACCEPT_BATCH):
            if self._stopping or self._draining or len(self._channels) + self._orphans >= self.limits.connections:
                self._watch_listener(False)
                return
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _ITS_TROUBLE:
                    continue
                self._pause_accepting(error.strerror or str(error))
                return
            self._open(sock)

    def _pause_accepting(self, reason: str) -> None:
        self._complain(f"cannot accept a connection: {reason}; trying again in {ACCEPT_PAUSE:g} s")
        self._watch_listener(False)
        self._accept_again = time.monotonic() + ACCEPT_PAUSE

    def _open(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if not self._peers.allow(sock):
            sock.close()
            return
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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

    # One connection

    def watch(self, channel: Channel) -> None:
        """Tell epoll what this channel waits for: input until its end, room for output where some is waiting.

        No input while a body that the application reads has no room for it.
        """
        interest = (0 if channel.eof or channel.held is not None else select.EPOLLIN) | (
            select.EPOLLOUT if channel.unsent else 0
        )
        if interest == channel.interest or self._epoll is None:
            return
        if channel.interest == NOT_WATCHED:
            self._epoll.register(channel.fd, interest)
        else:
            self._epoll.modify(channel.fd, interest)
        channel.interest = interest

    def _read(self, channel: Channel) -> None:
        """Take what has come, act on it, and answer."""
        try:
            data = channel.sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self._close(channel)
            return
        if not data:
            self._on_eof(channel)
        elif not channel.lingering and not channel.failed:
            self._feed(channel, data)

    def _feed(self, channel: Channel, data: bytes) -> None:
        self._take(channel, data)
        if not channel.closed:
            self._pump(channel)

    def _take(self, channel: Channel, data: bytes) -> None:
        """Act on what has come, except that nothing is answered yet."""
        try:
            channel.receive_data(data)
        except ProtocolError as error:
            self._complain(f"closed a connection that does not speak FastCGI: {error}")
            self._close(channel)
            return
        except BaseException:  # a time-out or a signal in the middle of it: where the next record begins is lost
            self._close(channel)
            raise
        if channel.pending_bytes + len(channel.unsent) > MAX_REPLY_BYTES + self.limits.output_buffer:
            self._complain("closed a connection that asks on and on and reads no answers")
            self._close(channel)
            return
        self._note_progress(channel)

    def wait_for_input(self, channel: Channel) -> None:
        """Block until something has come on this connection and is taken; a body that waits in vain is refused.

        For an application that reads its body as it comes; other connections wait. What comes for other requests of
        this one is kept for later.
        """
        deadline = time.monotonic() + self.limits.body_timeout
        poll = select.poll()
        while True:
            self._flush(channel)
            if channel.closed:
                return
            if self._stopping:
                self._close(channel)
                return
            try:
                data = channel.sock.recv(READ_SIZE)
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0:
                    channel.refuse_bodies(408)
                    return
                poll.register(channel.fd, select.POLLIN | (select.POLLOUT if channel.unsent else 0))
                poll.poll(left * 1000 + 1)
                continue
            except OSError:
                data = b""
            if data:
                self._take(channel, data)
            else:
                channel.eof = True
                self._close(channel)
            return

    def _on_eof(self, channel: Channel) -> None:
        """The peer sends no more. It may still read: a half-close aborts only a request that can never be whole."""
        channel.eof = True
        if channel.lingering or channel.phase in (PHASE_PARAMS, PHASE_BODY):
            self._close(channel)
            return
        channel.closing = True
        if channel.remote and channel.waiting:  # over TCP the end of input is all that is seen of a peer that has gone
            self._close(channel)
            return
        self._settle(channel)

    def _pump(self, channel: Channel) -> None:
        """Answer the connection's requests, in turn and a chunk at a time, while its reader keeps up."""
        for _ in range(PUMP_BATCH):
            if self._stopping or len(channel.unsent) >= self.limits.output_buffer:
                break
            is_new = bool(channel.ready)
            if is_new:
                exchange = Exchange(channel.ready.popleft(), self._application, self._log)
                exchange.timer = self._timer
            elif channel.answering:
                exchange = channel.answering.popleft()
            else:
                break
            try:
                if is_new:
                    exchange.start()
                self._advance(channel, exchange)
            except BaseException:  # KeyboardInterrupt: it is closed with the connection
                channel.answering.append(exchange)
                raise
            if exchange.waiting:
                self._wait(channel, exchange)
                if channel.closed:
                    return
            elif not exchange.finished:
                channel.answering.append(exchange)
            if not channel.closed:
                self._flush(channel)
            if channel.closed:
                return
        self._settle(channel)

    def _advance(self, channel: Channel, exchange: Exchange) -> None:
        """One chunk of one answer into the connection's output."""
        request = exchange.request
        chunk = exchange.next_chunk()
        if channel.closed or (request.arriving is not None and request.arriving.gone):  # while the application read
            exchange.close()
            exchange.end()
            request.close()
            return
        errors = request.take_errors()
        if errors:
            channel.send_stderr(request.request_id, errors)
        direct = (
            chunk is not None and DIRECT_BYTES <= len(chunk) <= WHOLE and not (channel.pending_bytes or channel.unsent)
        )
        if chunk and not direct:
            channel.send_stdout(request.request_id, chunk)
        if exchange.finished:
            if exchange.broken:
                self._break_off(channel, exchange)
            else:
                channel.end_request(request.request_id, exchange.app_status)
            request.close()
            self.requests += 1
        if direct and chunk is not None:
            self._send_direct(channel, request.request_id, chunk)

    def _send_direct(self, channel: Channel, request_id: int, chunk: bytes) -> None:
        """Send a big piece without copying it, and what is in the output after it; what does not go is kept.

        An error is left to _flush(), which meets it again.
        """
        parts: list[memoryview | bytes] = []
        content = memoryview(chunk)
        while content:
            piece, content = content[:CHUNK], content[CHUNK:]
            parts += [build_header(STDOUT, request_id, len(piece)), piece]
        parts.append(channel.data_to_send())
        try:
            sent = channel.sock.sendmsg(parts, (), socket.MSG_NOSIGNAL)
            channel.since = time.monotonic()
        except OSError:
            sent = 0
        if sent < sum(map(len, parts)):
            channel.unsent = memoryview(b"".join(parts))[sent:]

    def _break_off(self, channel: Channel, exchange: Exchange) -> None:
        """End an answer that is not whole, and its connection, unless that harms another request on it.

        Where a length was declared, the client sees that bytes are missing. HAProxy waits for them unless the
        connection ends, and mod_fcgid would fill them with an error page if it ended without END_REQUEST. A request
        whose body still comes after its answer counts as another: HAProxy would go on to use the ended connection.
        """
        request = exchange.request
        if request.keep_connection:  # another may have come meanwhile
            try:
                channel.receive_data(channel.sock.recv(READ_SIZE))
            except (OSError, ProtocolError):
                pass
        if not channel.is_active(request.request_id):
            return  # what came was its ABORT
        is_alone = channel.active_requests == 1 and not channel.input_pending
        if is_alone and exchange.left < 0:
            channel.break_off(request.request_id)
        else:
            channel.end_request(request.request_id, exchange.app_status)
            channel.closing |= is_alone

    def _flush(self, channel: Channel) -> None:
        """Write what can be written without waiting; the rest stays in `unsent`."""
        if channel.pending_bytes:
            new = channel.data_to_send()
            channel.unsent = memoryview(bytes(channel.unsent) + new if channel.unsent else new)
        if not channel.unsent:
            return
        try:
            sent = channel.sock.send(channel.unsent, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:  # EPIPE, ECONNRESET: the client has gone; nothing to complain about
            self._close(channel)
            return
        channel.unsent = channel.unsent[sent:]
        channel.since = time.monotonic()

    def _settle(self, channel: Channel) -> None:
        """After sending: close what is finished, go on watching what is not."""
        self._flush(channel)
        if channel.closed:
            return
        if (channel.ready or channel.answering) and len(channel.unsent) < self.limits.output_buffer:
            self._runnable[channel.fd] = channel
        elif channel.closing and not channel.active_requests and not channel.unsent:
            if channel.retiring and not channel.eof and not channel.failed and (channel.fresh or channel.told_end):
                channel.fresh = True
            elif channel.input_pending and not channel.eof:
                self._linger(channel)
            else:
                self._close(channel)
                return
        self.watch(channel)

    def _linger(self, channel: Channel) -> None:
        """Closing with unread input would reset the connection and lose the answer: read on for a while."""
        if not channel.lingering:
            channel.lingering = True
            channel.since = time.monotonic()
            try:
                channel.sock.shutdown(socket.SHUT_WR)
            except OSError:
                channel.eof = True

    def _close_retired(self, channel: Channel) -> None:
        """Close a connection that brought nothing more; what comes in this very moment is answered still.

        On a unix socket no byte can get lost between the two calls: after the first the client cannot send any more.
        """
        channel.retiring = False
        try:
            channel.sock.shutdown(socket.SHUT_RD)
        except OSError:  # it has gone
            self._close(channel)
        else:
            self._read(channel)

    def _close(self, channel: Channel) -> None:
        if channel.closed:
            return
        channel.closed = True
        self._channels.pop(channel.fd, None)
        self._runnable.pop(channel.fd, None)
        try:
            if channel.interest != NOT_WATCHED and self._epoll is not None:
                self._epoll.unregister(channel.fd)
        finally:
            channel.sock.close()
            self._orphans += channel.abandon()
        self._accept_on()

    def _accept_on(self) -> None:
        """There is room for a connection again."""
        if not self._accepting and not self._draining and not self._accept_again:
            self._watch_listener(True)

    def _close_all(self) -> None:
        try:
            for channel in list(self._channels.values()):
                self._close(channel)
        finally:
            if self._epoll is not None:
                self._epoll.close()
                self._epoll = None
            self._accepting = False
            host, self._host = self._host, None
            if host is not None:
                host.close()

    # Answers that are awaited

    def _wait(self, channel: Channel, exchange: Exchange) -> None:
        """Leave an exchange to its task until it has something to hand out. The first one brings asyncio in."""
        try:
            if exchange.task is not None:
                exchange.task.go_on()
            else:
                if self._host is None:
                    from fastcore.asynchronous import Host

                    self._host = Host(self, self._event_loop, self._log)
                exchange.task = self._host.start(channel, exchange)
        except Exception:  # no uvloop, no descriptors left
            exchange.fail()
            channel.answering.append(exchange)
            return
        channel.waiting[exchange.request.request_id] = exchange
        if channel.eof and channel.remote:
            self._close(channel)

    def resume(self, channel: Channel, exchange: Exchange) -> None:
        """A waiting exchange has something to hand out. For its task."""
        if channel.closed or channel.waiting.pop(exchange.request.request_id, None) is None:
            return
        channel.answering.append(exchange)
        self._pump(channel)

    def end_waiting(self, channel: Channel, exchange: Exchange) -> None:
        """The task of an exchange has ended. For this task."""
        request = exchange.request
        exchange.task = None
        if channel.closed:
            self._orphans -= 1
            exchange.close()
            request.close()
            self._accept_on()
        elif exchange.aborted:
            del channel.waiting[request.request_id]
            exchange.close()
            channel.end_request(request.request_id, 1)
            request.close()
            self._pump(channel)
        else:
            exchange.end()
            self.resume(channel, exchange)

    def _run_runnable(self) -> None:
        runnable, self._runnable = self._runnable, {}
        for channel in runnable.values():
            if not channel.closed:
                self._pump(channel)

    # Time

    def _note_progress(self, channel: Channel) -> None:
        """PARAMS must be complete in one time-out however slowly they drip; in the other phases any byte counts."""
        phase = channel.phase
        if phase != PHASE_PARAMS or channel.watched_phase != PHASE_PARAMS:
            channel.since = time.monotonic()
        channel.watched_phase = phase

    def _sweep(self) -> None:
        """Look for what has waited too long, once in a while and only if there is a connection."""
        now = time.monotonic()
        if self._accept_again and now >= self._accept_again:
            self._accept_again = 0.0
            if not self._draining:
                self._watch_listener(True)
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
