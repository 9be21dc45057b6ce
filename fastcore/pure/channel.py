"""One accepted connection: the protocol's state, its socket, and the requests that are being answered on it.

What the records say is acted upon at once. No bytes are read or written here (see loop).
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Collection
from typing import Any

from fastcore.constants import FILTER
from fastcore.limits import Limits
from fastcore.pure.connection import PHASE_PARAMS, REFUSED, Connection, Overload
from fastcore.pure.exchange import Exchange
from fastcore.pure.request import Request
from fastcore.pure.response import error_page

NOT_WATCHED = -1


class Channel(Connection):
    """One accepted connection: the protocol's state, its socket, and the requests being answered on it."""

    def __init__(
        self, sock: socket.socket, limits: Limits, workers: int, roles: Collection[int], overload: Overload
    ) -> None:
        super().__init__(limits, workers=workers, roles=roles, overload=overload)
        self.spool_directory: str | None = None  # where long bodies go
        self.sock = sock
        self.fd = sock.fileno()
        self.interest = NOT_WATCHED  # what epoll watches for us
        self.unsent = memoryview(b"")
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
        request.spool_directory = self.spool_directory

    def on_body(self, request: Request, data: bytes) -> None:
        try:
            request.store_body(data, self.limits)
        except OSError:  # no room for the temporary file
            self.on_refusal(request, 507)

    def on_body_end(self, request: Request) -> None:
        try:
            request.finish_body()
        except OSError:  # what was written last did not fit
            self.on_refusal(request, 507)
        else:
            if request.role != FILTER:
                self.ready.append(request)

    def on_data(self, request: Request, data: bytes) -> None:
        try:
            request.store_data(data, self.limits)
        except OSError:
            self.on_refusal(request, 507)

    def on_data_end(self, request: Request) -> None:
        try:
            request.finish_data()
        except OSError:
            self.on_refusal(request, 507)
        else:
            self.ready.append(request)

    def on_refusal(self, request: Request, status: int) -> None:
        head, text = error_page(status)
        self.send_stdout(request.request_id, head + text)
        self.end_request(request.request_id)
        request.close()

    def on_abort(self, request: Request) -> None:
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

    def abandon(self) -> int:
        """The connection is gone: every answer is closed, every body freed. Returns how many tasks are still to end."""
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
