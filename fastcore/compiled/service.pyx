"""The connections of one worker: what comes is read, answered and sent, and each is closed in its time.

Applications run here, one after the other; their iterators are advanced only while their reader keeps up. No record is
parsed here (see connection) and no answer is made (see exchange). The twin is fastcore.pure.service; this one calls the
system itself.
"""

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t

from fastcore.compiled.buffer cimport buffer_drop, buffer_free, buffer_length
from fastcore.compiled.channel cimport NOT_WATCHED, READ_BYTES, Channel, Waiter, has_gone, has_output
from fastcore.compiled.direct cimport DIRECT_LEAST, is_direct, send_direct
from fastcore.compiled.exchange cimport Exchange, new_exchange
from fastcore.compiled.request cimport Request
from fastcore.compiled.scoreboard cimport Page
from fastcore.compiled.sendfile cimport GONE, SENT, FileRecord
from fastcore.compiled.system cimport (
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, SHUT_RD,
    SHUT_WR, close, epoll_ctl, epoll_event, now, recv, send, shutdown,
)

import os

from fastcore.errors import ProtocolError
from fastcore.log import LimitedLog, unfailing

cdef enum:
    CHUNKS = 16              # sent on one connection before the others are looked at
    KEPT_BYTES = 1 << 17     # of memory for output that an idle connection keeps
    REPLY_BYTES = 1 << 20    # of management answers waiting for a peer that does not read
    PHASE_PARAMS = 1
    PHASE_BODY = 2

READ_SIZE = READ_BYTES
PUMP_BATCH = CHUNKS
MAX_REPLY_BYTES = REPLY_BYTES
DIRECT_BYTES = DIRECT_LEAST


cdef class Service(Waiter):
    """Reads, answers, sends and closes; which connection has its turn is what its subclass, the worker loop, says."""

    def __init__(self, application, limits, log, event_loop, bint stream_body, Page scoreboard=None):
        self.epoll = -1
        self.limits = limits
        self.application = application
        self.log = unfailing(log)
        self.complain = LimitedLog(self.log)
        self.event_loop = event_loop
        self.stream_body = stream_body
        self.scoreboard = scoreboard
        self.channels = {}
        self.runnable = {}
        self.output_buffer = limits.output_buffer
        if limits.request_timeout or limits.slow_request_ms:
            from fastcore.calltimer import CallTimer

            self.timer = CallTimer(limits, self.log)

    cdef int control(self, int operation, int fd, uint32_t interest) except -1:
        cdef epoll_event event
        event.events = interest
        event.data.fd = fd
        if epoll_ctl(self.epoll, operation, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        return 0

    cdef int watch(self, Channel channel) except -1:
        """Tell epoll what this channel waits for: input, unless a body has no room for it, and room for waiting output."""
        cdef int interest = (0 if channel.eof or channel.held is not None else EPOLLIN) | (EPOLLOUT if has_output(channel) else 0)
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

    cdef int note_progress(self, Channel channel) except -1:
        """PARAMS must be complete in one time-out however slowly they drip; in the other phases any byte counts."""
        cdef int phase = channel.current_phase()
        if phase != PHASE_PARAMS or channel.watched_phase != PHASE_PARAMS:
            channel.since = now()
        channel.watched_phase = phase
        return 0

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
        """Answer the connection's requests, in turn and a chunk at a time, while its reader keeps up.

        A new one goes first, and then one that has begun, however many new ones there are.
        """
        cdef Exchange exchange
        cdef bint is_new = False
        for _ in range(CHUNKS):
            if self.stopping or not self.has_room(channel):
                break
            is_new = channel.ready.first is not None and not (is_new and channel.answering.first is not None)
            if is_new:
                exchange = new_exchange(<Request>channel.ready.take(), self.application, self.log)
                if self.timer is not None:
                    exchange.timer = self.timer
                if self.scoreboard is not None:
                    self.scoreboard.start(channel, exchange)
            elif channel.answering.first is not None:
                exchange = <Exchange>channel.answering.take()
                if exchange.file is not None and self.announce(channel, exchange):
                    if channel.closed:
                        return 0
                    continue
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
            if exchange.finished and self.scoreboard is not None:
                self.scoreboard.finish(channel, exchange)
            if channel.closed:
                return 0
        return self.settle(channel)

    @cython.final  # PERF: asked twice a request, without a detour through the table of methods
    cdef bint has_room(self, Channel channel) noexcept:
        """Whether more may be put into the connection's output."""
        return channel.filling is None and buffer_length(&channel.output) < self.output_buffer

    cdef bint announce(self, Channel channel, Exchange exchange) except -1:
        """Begin a record that the kernel fills from the answer's file; False where the next piece is no such."""
        cdef FileRecord record = exchange.next_record()
        if record is None:
            return False
        channel.announce(record, exchange.request.request_id)
        channel.answering.put(exchange)
        self.flush(channel)
        return True

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
        if channel.filling is not None and not self.fill(channel, channel.filling):
            return 0
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

    cdef bint fill(self, Channel channel, FileRecord record) except -1:
        """Send up to the end of the record that is filled from a file; whether it is whole."""
        cdef ssize_t sent
        cdef int what
        if channel.ahead:
            sent = send(
                channel.fd, channel.output.data + channel.output.start, channel.ahead,
                MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE,
            )
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.close(channel)
                return False
            buffer_drop(&channel.output, sent)
            channel.ahead -= sent
            channel.since = now()
        if channel.ahead:
            return False
        what = record.send(channel.fd)
        if what == SENT:
            channel.since = now()
        elif what == GONE:
            self.close(channel)
        if channel.closed or record.left:
            return False
        channel.filling = None
        return True

    cdef int settle(self, Channel channel) except -1:
        """After sending: close what is finished, go on watching what is not."""
        self.flush(channel)
        if channel.closed:
            return 0
        if channel.has_work() and self.has_room(channel):
            self.runnable[channel.fd] = channel
        elif channel.closing and not channel.inbound and not buffer_length(&channel.output):
            if channel.retiring and not channel.eof and not channel.failed and (
                channel.told_end or channel.current_phase() == PHASE_PARAMS
            ):
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
        raise NotImplementedError

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
        if self.scoreboard is not None:
            self.scoreboard.rest(self.channels, False)

    cdef int run_runnable(self) except -1:
        cdef Channel channel
        if not self.runnable:
            return 0
        runnable, self.runnable = self.runnable, {}
        for channel in runnable.values():
            if not channel.closed:
                self.pump(channel)
        return 0
