"""The connections of one worker: what comes is read, answered and sent, and each is closed in its time.

Applications run here, one after the other; their iterators are advanced only while their reader keeps up. No record is
parsed here (see connection) and no answer is made (see exchange).
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING

from fastcore.constants import STDOUT
from fastcore.errors import ProtocolError
from fastcore.limits import Limits
from fastcore.log import LimitedLog, unfailing
from fastcore.pure.channel import NOT_WATCHED, READ_SIZE, Channel
from fastcore.pure.connection import PHASE_BODY, PHASE_PARAMS
from fastcore.pure.exchange import CHUNK, WHOLE, Exchange, NativeApplication
from fastcore.pure.records import build_header

if TYPE_CHECKING:
    from fastcore.asynchronous import EventLoopName, Host
    from fastcore.calltimer import CallTimer
    from fastcore.log import Log
    from fastcore.pure.scoreboard import Page
    from fastcore.pure.sendfile import FileRecord

PUMP_BATCH = 16  # chunks sent on one connection before the others are looked at
MAX_REPLY_BYTES = 1 << 20  # of management answers waiting for a peer that does not read
DIRECT_BYTES = 16384  # pieces of this length are worth a sendmsg() of their own: they are not copied


class Service:
    """Reads, answers, sends and closes; which connection has its turn is what its subclass, the worker loop, says."""

    def __init__(
        self,
        application: NativeApplication,
        limits: Limits,
        log: Log,
        event_loop: EventLoopName,
        stream_body: bool,
        scoreboard: Page | None = None,
    ) -> None:
        self.limits = limits
        self.requests = 0  # answered since the start
        self._application = application
        self._stream_body = stream_body
        self._scoreboard = scoreboard
        self._log = unfailing(log)
        self._complain = LimitedLog(self._log)
        self._event_loop = event_loop
        self._host: Host | None = None  # there from the first coroutine on
        self._orphans = 0  # tasks whose connection is gone
        self._epoll: select.epoll | None = None  # there while it runs
        self._channels: dict[int, Channel] = {}
        self._runnable: dict[int, Channel] = {}  # by fd: more to send, and the reader keeps up
        self._stopping = False
        self._timer: CallTimer | None = None
        if limits.request_timeout or limits.slow_request_ms:
            from fastcore.calltimer import CallTimer

            self._timer = CallTimer(limits, self._log)

    def watch(self, channel: Channel) -> None:
        """Tell epoll what this channel waits for: input until its end, room for output where some is waiting.

        No input while a body that the application reads has no room for it.
        """
        interest = (0 if channel.eof or channel.held is not None else select.EPOLLIN) | (
            select.EPOLLOUT if channel.unsent or channel.filling is not None else 0
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

    def _note_progress(self, channel: Channel) -> None:
        """PARAMS must be complete in one time-out however slowly they drip; in the other phases any byte counts."""
        phase = channel.phase
        if phase != PHASE_PARAMS or channel.watched_phase != PHASE_PARAMS:
            channel.since = time.monotonic()
        channel.watched_phase = phase

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
                room = select.POLLOUT if channel.unsent or channel.filling is not None else 0
                poll.register(channel.fd, select.POLLIN | room)
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
        """Answer the connection's requests, in turn and a chunk at a time, while its reader keeps up.

        A new one goes first, and then one that has begun, however many new ones there are.
        """
        is_new = False
        for _ in range(PUMP_BATCH):
            if self._stopping or not self._has_room(channel):
                break
            is_new = bool(channel.ready) and not (is_new and channel.answering)
            if is_new:
                exchange = Exchange(channel.ready.popleft(), self._application, self._log)
                exchange.timer = self._timer
                if self._scoreboard is not None:
                    self._scoreboard.start(channel, exchange)
            elif channel.answering:
                exchange = channel.answering.popleft()
                if self._announce(channel, exchange):
                    if channel.closed:
                        return
                    continue
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
            if exchange.finished and self._scoreboard is not None:
                self._scoreboard.finish(channel, exchange)
            if channel.closed:
                return
        self._settle(channel)

    def _has_room(self, channel: Channel) -> bool:
        """Whether more may be put into the connection's output."""
        return channel.filling is None and len(channel.unsent) < self.limits.output_buffer

    def _announce(self, channel: Channel, exchange: Exchange) -> bool:
        """Begin a record that the kernel fills from the answer's file; False where the next piece is no such."""
        record = exchange.next_record()
        if record is None:
            return False
        channel.announce(record, exchange.request.request_id)
        channel.answering.append(exchange)
        self._flush(channel)
        return True

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
        if channel.filling is not None and not self._fill(channel, channel.filling):
            return
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

    def _fill(self, channel: Channel, record: FileRecord) -> bool:
        """Send up to the end of the record that is filled from a file; whether it is whole."""
        try:
            if channel.ahead:
                sent = channel.sock.send(channel.unsent[: channel.ahead], socket.MSG_NOSIGNAL | socket.MSG_MORE)
                channel.ahead -= sent
                channel.unsent = channel.unsent[sent:]
                channel.since = time.monotonic()
            if not channel.ahead and record.send(channel.sock):
                channel.since = time.monotonic()
        except BlockingIOError:
            return False
        except OSError:
            self._close(channel)
            return False
        if record.left:
            return False
        channel.filling = None
        return True

    def _settle(self, channel: Channel) -> None:
        """After sending: close what is finished, go on watching what is not."""
        self._flush(channel)
        if channel.closed:
            return
        if (channel.ready or channel.answering) and self._has_room(channel):
            self._runnable[channel.fd] = channel
        elif channel.closing and not channel.active_requests and not channel.unsent:
            awaited = channel.told_end or channel.phase == PHASE_PARAMS
            if channel.retiring and awaited and not channel.eof and not channel.failed:
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
        raise NotImplementedError

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
        if self._scoreboard is not None:
            self._scoreboard.rest(self._channels, False)

    def _run_runnable(self) -> None:
        runnable, self._runnable = self._runnable, {}
        for channel in runnable.values():
            if not channel.closed:
                self._pump(channel)
