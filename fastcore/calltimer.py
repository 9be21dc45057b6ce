"""How long one call into the application may take: SIGALRM raises RequestTimeout in it. Off unless asked for.

The timer is armed at most once in a time-out's length, by a call and not by each: it looks, when it goes off, how long
the running call has run, and is armed again for what is left. An idle worker is not woken by it, after the last time.
"""

from __future__ import annotations

import signal
import time
import traceback
from types import FrameType
from typing import Any

from fastcore.errors import RequestTimeout
from fastcore.log import Log


class CallTimer:
    """Bounds the calls between begin() and end(). In the main thread only, and only where SIGALRM is nobody else's."""

    def __init__(self, seconds: float, log: Log) -> None:
        self._seconds = seconds
        self._log = log
        self._request: Any = None  # whose call runs
        self._started = 0.0  # seconds (monotonic)
        self._due = 0.0  # seconds (monotonic): when the armed timer goes off
        self._refused = False

    def begin(self, request: Any) -> None:
        """The application is called for `request`."""
        self._started = time.monotonic()
        self._request = request
        if self._started >= self._due and not self._refused:
            self._arm(self._seconds)

    def end(self) -> None:
        """It has returned, or raised."""
        self._request = None

    def _arm(self, seconds: float) -> None:
        handler = signal.getsignal(signal.SIGALRM)
        if handler != self._on_alarm:
            if handler is not signal.SIG_DFL:
                self._refuse("the application uses SIGALRM itself")
                return
            try:
                signal.signal(signal.SIGALRM, self._on_alarm)
            except ValueError:
                self._refuse("this is not the main thread")
                return
        self._due = time.monotonic() + seconds
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def _refuse(self, why: str) -> None:
        self._refused = True
        self._log(f"limits.request_timeout is not heeded: {why}")

    def _on_alarm(self, _number: int, frame: FrameType | None) -> None:
        self._due = 0.0
        request = self._request
        if request is None:
            return
        left = self._started + self._seconds - time.monotonic()
        self._arm(left if left > 0 else self._seconds)  # again later, should it be caught and the call go on
        if left > 0:
            return
        method = request.get("REQUEST_METHOD", "?")
        path = (request.get("SCRIPT_NAME") or "") + (request.get("PATH_INFO") or "")
        what = f"a call took longer than {self._seconds:g} s"
        stack = "".join(traceback.format_stack(frame)).rstrip()
        self._log(f"{what}: {method} {path!r}\n{stack}")
        raise RequestTimeout(what)
