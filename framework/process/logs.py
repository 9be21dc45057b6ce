"""What the processes of a site print: whole lines, printable, bounded in length and rate, with time, name and pid.

`LineBuffer` and `RateLimit` know no descriptors; `Output` writes for the supervisor and never blocks it. Children
are not trusted: a control character is shown as \\xNN, so that no output can steer a terminal or forge the
beginning of a line.
"""

from __future__ import annotations

import os
import re
import select
import time
from collections import deque
from datetime import datetime

__all__ = ["LineBuffer", "Output", "RateLimit", "printable"]

MAX_LINE_BYTES = 8192
"""Longer lines are cut; the rest of the line is counted, not kept."""

LINES_PER_SECOND = 200
LINES_AT_ONCE = 2000
"""A child may print this many lines in a burst, LINES_PER_SECOND in the long run; the rest is counted and told."""

MAX_QUEUED_BYTES = 1 << 20
"""Output that waits for a slow reader; what comes on top is counted and told when the reader is back."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with control and direction characters shown as escapes; a tab stays.

    >>> printable("red \\x1b[31m")
    'red \\\\x1b[31m'
    """
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class LineBuffer:
    """Bytes in, whole lines out. Holds at most MAX_LINE_BYTES, whatever comes in."""

    __slots__ = ("_cut", "_partial")

    def __init__(self) -> None:
        self._partial = b""
        self._cut = 0

    def feed(self, data: bytes) -> list[str]:
        """Take what was read; return the lines it completed, without their ends."""
        *whole, rest = data.split(b"\n")
        lines = []
        for piece in whole:
            self._add(piece)
            lines.append(self._take())
        self._add(rest)
        return lines

    def flush(self) -> list[str]:
        """The last line, where it has no end."""
        return [self._take()] if self._partial or self._cut else []

    def _add(self, piece: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._partial)
        self._partial += piece[:room]
        self._cut += max(0, len(piece) - room)

    def _take(self) -> str:
        text = printable(self._partial.removesuffix(b"\r").decode("utf-8", "backslashreplace"))
        if self._cut:
            text += f" … ({self._cut} bytes cut)"
        self._partial, self._cut = b"", 0
        return text


class RateLimit:
    """A bucket of LINES_AT_ONCE lines that fills by LINES_PER_SECOND. `now` is in seconds of any steady clock."""

    __slots__ = ("_last", "_level", "dropped")

    def __init__(self, now: float) -> None:
        self._level = float(LINES_AT_ONCE)
        self._last = now
        self.dropped = 0

    def take(self, now: float) -> bool:
        """Whether one more line may pass; a refused one is counted in `dropped`."""
        self._level = min(float(LINES_AT_ONCE), self._level + (now - self._last) * LINES_PER_SECOND)
        self._last = now
        if self._level < 1:
            self.dropped += 1
            return False
        self._level -= 1
        return True

    def take_dropped(self) -> int:
        """How many were refused since the last call."""
        dropped, self.dropped = self.dropped, 0
        return dropped


class Output:
    """Lines to one descriptor (the journal, a terminal, a file), queued up to MAX_QUEUED_BYTES while it takes none."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._lost = 0
        self._poller = select.poll()
        self._poller.register(descriptor, select.POLLOUT)

    def write(self, name: str, pid: int | None, text: str) -> None:
        """One line: local time with milliseconds, who, what."""
        now = time.time()
        stamp = datetime.fromtimestamp(now).isoformat(" ", "milliseconds")
        who = f"{name}[{pid}]" if pid else name
        self.line(f"{stamp} {who} {text}")

    def line(self, text: str) -> None:
        """One line as it is."""
        data = text.encode("utf-8", "backslashreplace") + b"\n"
        if self._queued + len(data) > MAX_QUEUED_BYTES:
            self._lost += 1
        else:
            self._queue.append(data)
            self._queued += len(data)
        self.pump()

    @property
    def waiting(self) -> bool:
        """Whether lines are queued for a reader that takes none."""
        return bool(self._queue)

    def pump(self) -> None:
        """Write what the descriptor takes without blocking: it takes a page whenever poll(2) says that it is ready."""
        while self._queue and self._ready():
            data = self._queue.popleft()
            self._queued -= len(data)
            piece, rest = data[: select.PIPE_BUF], data[select.PIPE_BUF :]
            try:
                written = os.write(self._descriptor, piece)
            except BlockingIOError:
                written = 0
            except OSError:  # the reader is gone: a site goes on without its log
                continue
            rest = piece[written:] + rest
            if rest:
                self._queue.appendleft(rest)
                self._queued += len(rest)
                if not written:
                    return
        if self._lost and not self._queue:
            lost, self._lost = self._lost, 0
            self.line(f"({lost} lines lost: the reader of this log was too slow)")

    def _ready(self) -> bool:
        return bool(self._poller.poll(0))

    def drain(self, seconds: float) -> None:
        """Wait at most so long for the reader to take what is queued."""
        deadline = time.monotonic() + seconds
        while self._queue and (left := deadline - time.monotonic()) > 0:
            if self._poller.poll(left * 1000):
                self.pump()
