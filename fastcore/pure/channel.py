"""One accepted connection: the protocol's state, its socket, and the requests that are being answered on it.

What the records say is acted upon at once. No bytes are read or written here (see loop).
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Collection

from fastcore.constants import FILTER
from fastcore.limits import Limits
from fastcore.pure.connection import PHASE_PARAMS, Connection, Overload
from fastcore.pure.exchange import Exchange, error_page
from fastcore.pure.request import Request

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
        self.eof = False  # the peer will send no more; it may still read
        self.lingering = False
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

    def abandon(self) -> None:
        """The connection is gone: every answer is closed, every body freed."""
        while self.answering:
            exchange = self.answering.popleft()
            exchange.close()
            exchange.request.close()
        while self.ready:
            self.ready.popleft().close()
