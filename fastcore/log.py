"""Where a worker's own words go: one line or traceback at a time to standard error, at a bounded rate."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable

    Log = Callable[[str], None]


def stderr_log(text: str) -> None:
    """Write `text` to standard error in one piece, after the program's name and process id."""
    if sys.stderr is None:
        return  # there was no descriptor 2 at the start: what has this number now is something else, a client perhaps
    message = f"fastcore[{os.getpid()}]: {text}\n".encode("utf-8", "backslashreplace")
    try:
        sys.stderr.flush()
        os.write(2, message)
    except (OSError, ValueError):
        pass  # nobody listens any more; a worker does not end because of that


def unfailing(log: Log) -> Log:
    """`log`, except that what it raises is dropped: a server does not end because its log is broken."""

    def unfailing_log(text: str) -> None:
        try:
            log(text)
        except Exception:  # noqa: S110 (where would it be told?)
            pass

    return unfailing_log


class LimitedLog:
    """A log for what a peer can cause: at most `rate` texts a second, then a count of what was left out."""

    def __init__(self, log: Log, rate: int = 10) -> None:
        self._log = log
        self._rate = rate
        self._second = 0
        self._written = 0
        self._left_out = 0

    def __call__(self, text: str) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._written = second, 0
            if self._left_out:
                self._log(f"{self._left_out} more messages of this kind were left out")
                self._left_out = 0
        if self._written < self._rate:
            self._written += 1
            self._log(text)
        else:
            self._left_out += 1
