"""The page of one worker on a scoreboard, for its loop to write: no lock, no system call, no answer waits for it.

fastcore.scoreboard has the layout and the reading end.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

from fastcore.pure.connection import PHASE_BODY, PHASE_PARAMS
from fastcore.scoreboard import (
    BUCKETS_AT,
    ENDING,
    HANDLING,
    IDLE,
    NONE,
    PAGE,
    READING,
    SCANNED,
    STARTING,
    URL_AT,
    URL_BYTES,
    WINDOW,
    WRITING,
    bucket_of,
    check_place,
)

if TYPE_CHECKING:
    from fastcore.pure.channel import Channel
    from fastcore.pure.exchange import Exchange

_U32 = struct.Struct("=I")
_STATE = struct.Struct("=II")
_REQUESTS = struct.Struct("=Q")
_WINDOW = struct.Struct("=QQQ")
_TIME = struct.Struct("=d")

_SERIAL_AT, _PID_AT, _STATE_AT, _CONNECTIONS_AT, _REQUESTS_AT, _SINCE_AT, _BORN_AT, _WINDOW_AT, _LENGTH_AT = (
    0, 4, 8, 12, 16, 24, 32, 40, 64,
)  # fmt: skip


class Page:
    """One worker's page. It goes on with the counts of the worker that had the place before."""

    def __init__(self, descriptor: int, number: int, time: float) -> None:
        """Map page `number` of a scoreboard; the descriptor stays the caller's.

        Raises ValueError where there is no such page, OSError where it cannot be mapped.
        """
        check_place(descriptor, number)
        self._page = mmap.mmap(descriptor, PAGE, offset=number * PAGE)
        self._state = NONE
        _U32.pack_into(self._page, _SERIAL_AT, 0)
        _U32.pack_into(self._page, _LENGTH_AT, 0)
        _U32.pack_into(self._page, _PID_AT, os.getpid())
        _TIME.pack_into(self._page, _BORN_AT, time)
        self.enter(STARTING, time, 0)

    def enter(self, state: int, time: float, connections: int) -> None:
        """What it does from now on (seconds, monotonic), with so many connections."""
        _U32.pack_into(self._page, _CONNECTIONS_AT, connections)
        if state != self._state:
            self._state = state
            _TIME.pack_into(self._page, _SINCE_AT, time)
            _U32.pack_into(self._page, _STATE_AT, state)

    def start(self, channel: Channel, exchange: Exchange) -> None:
        """The application is called for this request, which has just come completely."""
        exchange.begun = channel.since
        self.begin(exchange.request, channel.since)

    def finish(self, channel: Channel, exchange: Exchange) -> None:
        """The answer is whole, and as much of it sent as its reader takes."""
        time = monotonic() if channel.closed or channel.unsent else channel.since
        self.done(time - exchange.begun, time)

    def rest(self, channels: Mapping[int, Channel], draining: bool) -> None:
        """What is left to do while the loop waits, as the first of its connections have it."""
        state = ENDING if draining else IDLE
        for channel in islice(channels.values(), 0 if draining else SCANNED):
            if channel.waiting:
                state = HANDLING
                break
            if channel.unsent or channel.answering:
                state = WRITING
            elif state == IDLE and channel.phase in (PHASE_PARAMS, PHASE_BODY):
                state = READING
        self.enter(state, monotonic(), len(channels))

    def begin(self, request: Any, time: float) -> None:
        """The application is called for `request`."""
        uri = (request.get("REQUEST_URI") or "").encode("latin-1", "replace")
        url = uri.partition(b"?")[0][:URL_BYTES]
        serial = _U32.unpack_from(self._page, _SERIAL_AT)[0] | 1
        _U32.pack_into(self._page, _SERIAL_AT, serial)
        self._page[URL_AT : URL_AT + len(url)] = url
        _U32.pack_into(self._page, _LENGTH_AT, len(url))
        _U32.pack_into(self._page, _SERIAL_AT, (serial + 1) & 0xFFFFFFFF)
        self._state = HANDLING
        _TIME.pack_into(self._page, _SINCE_AT, time)
        _U32.pack_into(self._page, _STATE_AT, HANDLING)

    def done(self, seconds: float, time: float) -> None:
        """A request has been answered, after so many seconds."""
        requests = _REQUESTS.unpack_from(self._page, _REQUESTS_AT)[0]
        window = int(time) // WINDOW
        if window != _REQUESTS.unpack_from(self._page, _WINDOW_AT)[0]:
            self._roll(window, requests)
        _REQUESTS.pack_into(self._page, _REQUESTS_AT, (requests + 1) & 0xFFFFFFFFFFFFFFFF)
        at = BUCKETS_AT + 4 * bucket_of(seconds)
        _U32.pack_into(self._page, at, (_U32.unpack_from(self._page, at)[0] + 1) & 0xFFFFFFFF)

    def _roll(self, window: int, requests: int) -> None:
        """A new window begins: what the last one began with is the one's before, where that was just before."""
        last, _, at = _WINDOW.unpack_from(self._page, _WINDOW_AT)
        before = at if window == last + 1 else requests
        _WINDOW.pack_into(self._page, _WINDOW_AT, window, before, requests)
