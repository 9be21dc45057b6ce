"""One accepted connection: the protocol's state, its socket, and the requests that are being answered on it.

What the records say is acted upon at once. No bytes are read or written here (see service).
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Collection
from typing import Any, Protocol

from fastcore.constants import FILTER, STDOUT
from fastcore.errors import ClientGone, body_error
from fastcore.limits import Limits
from fastcore.pure.connection import ANSWERING, PHASE_BODY, PHASE_PARAMS, REFUSED, Connection, Overload
from fastcore.pure.exchange import Exchange
from fastcore.pure.records import build_header
from fastcore.pure.request import Request
from fastcore.pure.response import error_page
from fastcore.pure.sendfile import FileRecord
from fastcore.pure.stream import StreamBody

NOT_WATCHED = -1
READ_SIZE = 65536  # bytes of one recv()
ON_TIME, OVERDUE, BODY_OVERDUE, RETIRED = range(4)  # what judge() says


class Waiter(Protocol):
    """The worker loop, as a channel that streams its bodies knows it."""

    def wait_for_input(self, channel: Channel) -> None: ...

    def watch(self, channel: Channel) -> None: ...


class Channel(Connection):
    """One accepted connection: the protocol's state, its socket, and the requests being answered on it."""

    def __init__(
        self, sock: socket.socket, limits: Limits, workers: int, roles: Collection[int], overload: Overload
    ) -> None:
        super().__init__(limits, workers=workers, roles=roles, overload=overload)
        self.spool_directory: str | None = None  # where long bodies go
        self.waiter: Waiter | None = None  # there where bodies are streamed
        self.held: StreamBody | None = None  # what has no room; nothing is read until it has
        self.sock = sock
        self.fd = sock.fileno()
        self.interest = NOT_WATCHED  # what epoll watches for us
        self.unsent = memoryview(b"")
        self.filling: FileRecord | None = None  # announced; nothing else is sent until its content is
        self.ahead = 0  # bytes of `unsent` that go before this content
        self.ready: deque[Request] = deque()  # input complete, application not called yet
        self.answering: deque[Exchange] = deque()
        self.waiting: dict[int, Exchange] = {}  # by request id: a task has the turn
        self.remote = sock.family != socket.AF_UNIX
        self.eof = False  # the peer will send no more; it may still read
        self.lingering = False
        self.retiring = False  # the loop drains: one more request may be on its way, and then no more
        self.closed = False
        self.watched_phase = PHASE_PARAMS
        self.since = time.monotonic()  # seconds: when this phase began, or made progress

    def on_request(self, request: Request) -> None:
        if self.waiter is not None and request.waits_for_body and request.role != FILTER:
            self._stream(request, request.content_length)

    def _stream(self, request: Request, declared: int) -> None:
        """The application is called now and reads what comes."""
        request.stream_body(StreamBody(declared, self.limits.body_memory, self.spool_directory, self))
        self.ready.append(request)

    def on_body(self, request: Request, data: bytes) -> None:
        try:
            if request.arriving is not None:
                self._put(request.arriving, data)
            else:
                request.store_body(data, self.limits, self.spool_directory)
        except OSError:  # no room for the temporary file
            self.on_refusal(request, 507)

    def _put(self, arriving: StreamBody, data: bytes) -> None:
        """Hand on what came. Reading rests where it finds no room, unless others on this connection have to go on."""
        arriving.put(data)
        memory = self.limits.body_memory
        if arriving.held >= max(memory - READ_SIZE, memory // 2, 1) and self.active_requests == 1:
            arriving.paused = True
            self.held = arriving

    def receive_more(self) -> None:
        """Wait for input of this connection and take it (Source)."""
        if self.waiter is not None:
            self.waiter.wait_for_input(self)

    def resume(self) -> None:
        """There is room again (Source)."""
        self.held = None
        if self.waiter is not None and not self.closed and self.interest != NOT_WATCHED:
            self.since = time.monotonic()
            self.waiter.watch(self)

    def on_body_end(self, request: Request) -> None:
        try:
            request.finish_body()
        except OSError:  # what was written last did not fit
            self.on_refusal(request, 507)
        else:
            if request.role == FILTER:
                if self.waiter is not None:
                    self._stream(request, -1)
            elif request.arriving is None:
                self.ready.append(request)

    def on_data(self, request: Request, data: bytes) -> None:
        try:
            if request.arriving is not None:
                self._put(request.arriving, data)
            else:
                request.store_data(data, self.limits, self.spool_directory)
        except OSError:
            self.on_refusal(request, 507)

    def on_data_end(self, request: Request) -> None:
        try:
            request.finish_data()
        except OSError:
            self.on_refusal(request, 507)
        else:
            if request.arriving is None:
                self.ready.append(request)

    def on_refusal(self, request: Request, status: int) -> None:
        if request.arriving is not None:
            if request not in self.ready:  # it is being answered
                request.arriving.fail(body_error(status))
                return
            self.ready.remove(request)
        head, text = error_page(status)
        self.send_stdout(request.request_id, head + text)
        self.end_request(request.request_id)
        request.close()

    def on_abort(self, request: Request) -> None:
        if request.arriving is not None:
            request.arriving.gone = True
            request.arriving.fail(ClientGone("the client has given the request up"))
        for exchange in list(self.answering):
            if exchange.request is request:
                self.answering.remove(exchange)
                exchange.close()
        if request in self.ready:
            self.ready.remove(request)
        request.close()

    def _abort(self, inbound: Any) -> None:
        """A request whose answer has a task ends when that has ended: it is cancelled, once."""
        exchange = self._with_task()
        if exchange is None:
            super()._abort(inbound)
        elif not exchange.aborted:
            exchange.aborted = True
            self._enter(inbound, REFUSED)
            exchange.task.cancel()
            if exchange.request.arriving is not None:  # it may be waited for just now, by a plain read()
                exchange.request.arriving.fail(ClientGone("the client has given the request up"))

    def _with_task(self) -> Exchange | None:
        """The exchange of the current record's request, where a task has begun it; it waits for its end now."""
        exchange = self.waiting.get(self._request_id)
        if exchange is not None:
            return exchange
        for exchange in self.answering:
            if exchange.request.request_id == self._request_id and exchange.task is not None:
                self.answering.remove(exchange)
                self.waiting[self._request_id] = exchange
                return exchange
        return None

    def announce(self, record: FileRecord, request_id: int) -> None:
        """Put the header of a record into the output; its content follows from its file."""
        header = build_header(STDOUT, request_id, record.left)
        self.unsent = memoryview(b"".join((self.unsent, self.data_to_send(), header)))
        self.ahead = len(self.unsent)
        self.filling = record

    def judge(self, waited: float) -> int:
        """What is to be done about a connection that made no progress for `waited` seconds: ON_TIME for nothing."""
        limits = self.limits
        phase = self.phase
        if self.lingering:
            return OVERDUE if waited > limits.linger_timeout else ON_TIME
        if self.unsent or self.filling is not None:
            return OVERDUE if waited > limits.write_timeout else ON_TIME
        if phase == PHASE_BODY:
            return BODY_OVERDUE if waited > limits.body_timeout and self.held is None else ON_TIME
        if self.retiring and self.fresh:
            return RETIRED
        if phase == ANSWERING:
            return ON_TIME  # the application's iterator sets its own pace
        return (
            OVERDUE if waited > (limits.header_timeout if phase == PHASE_PARAMS else limits.idle_timeout) else ON_TIME
        )

    def abandon(self) -> int:
        """The connection is gone: every answer is closed, every body freed. Returns how many tasks are still to end."""
        for request in self.requests():
            if request.arriving is not None:  # it may be read just now
                request.arriving.gone = True
                request.arriving.fail(ClientGone("the client has left"))
        tasks = 0
        while self.answering:
            tasks += _give_up(self.answering.popleft())
        while self.waiting:
            tasks += _give_up(self.waiting.popitem()[1])
        while self.ready:
            self.ready.popleft().close()
        return tasks


def _give_up(exchange: Exchange) -> int:
    if exchange.task is not None:
        exchange.task.cancel()
        return 1
    exchange.close()
    exchange.request.close()
    return 0
