"""How long one call into the application may take, and from when on it is called slow. Off unless asked for.

One timer (SIGALRM) is armed at most once in a limit's length, by a call and not by each: it looks, when it goes off,
how long the running call has run, and is armed again for what is left. A slow call is logged with its stack and goes
on; one that takes too long has RequestTimeout raised in it. What cannot be ended in this way, since it catches
everything or never comes back from C code, is ended with its process, by a thread of C that needs nothing of Python
(faulthandler). An idle worker is not woken by any of it, after the last time.
"""

from __future__ import annotations

import signal
import time
import traceback
from types import FrameType

from fastcore.errors import RequestTimeout
from fastcore.limits import Limits

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from typing import Any

    from fastcore.log import Log

LAST_RESORT = 4  # times the limit: a call that goes on for so long ends its worker


class CallTimer:
    """Bounds the calls between begin() and end(). In the main thread only, and only where SIGALRM is nobody else's."""

    def __init__(self, limits: Limits, log: Log) -> None:
        self._limit = float(limits.request_timeout)  # seconds; 0 for none, as below
        self._slow = limits.slow_request_ms / 1000
        self._first = min(seconds for seconds in (self._limit, self._slow) if seconds)
        self._log = log
        self._request: Any = None  # whose call runs
        self._started = 0.0  # seconds (monotonic)
        self._due = 0.0  # seconds (monotonic): when the armed timer goes off
        self._told = False  # that the running call is slow
        self._guarded = 0.0  # when the call began that the last resort is armed for; 0 where it is not
        self._refused = False

    def begin(self, request: Any) -> None:
        """The application is called for `request`."""
        self._started = time.monotonic()
        self._request = request
        self._told = False
        if self._started + self._first < self._due or (self._started >= self._due and not self._refused):
            self._arm(self._first)

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
        if self._limit and self._guarded != self._started:
            self._guard(self._started + self._limit * LAST_RESORT - time.monotonic())

    def _refuse(self, why: str) -> None:
        self._refused = True
        name = "request_timeout" if self._limit else "slow_request_ms"
        self._log(f"limits.{name} is not heeded: {why}")

    def _guard(self, seconds: float) -> None:
        """End this process then, unless the alarm's handler has run before."""
        import faulthandler

        self._guarded = self._started
        try:
            faulthandler.dump_traceback_later(max(seconds, 0.001), exit=True)
        except (RuntimeError, AttributeError, ValueError, OSError):  # no thread, no standard error: no last resort
            self._guarded = 0.0

    def _unguard(self) -> None:
        if self._guarded:
            import faulthandler

            faulthandler.cancel_dump_traceback_later()
            self._guarded = 0.0

    def _on_alarm(self, _number: int, frame: FrameType | None) -> None:
        self._due = 0.0
        request = self._request
        if request is None:
            self._unguard()
            return
        taken = time.monotonic() - self._started
        if self._limit and taken >= self._limit:
            self._arm(self._limit)  # again later, should it be caught and the call go on
            what = f"a call took longer than {self._limit:g} s"
            self._tell(what, frame)
            raise RequestTimeout(what)
        if self._slow and not self._told and taken >= self._slow:
            self._told = True
            self._tell(f"a call takes longer than {self._slow:g} s", frame)
        marks = [self._limit] if self._told else [self._limit, self._slow]
        left = [mark - taken for mark in marks if mark]
        if left:
            self._arm(max(min(left), 0.001))

    def _tell(self, what: str, frame: FrameType | None) -> None:
        request = self._request
        method = request.get("REQUEST_METHOD", "?")
        path = (request.get("SCRIPT_NAME") or "") + (request.get("PATH_INFO") or "")
        stack = "".join(traceback.format_stack(frame)).rstrip()
        self._log(f"{what}: {method} {path!r}\n{stack}")
