"""What the processes of a site print: whole lines, printable, bounded in length and rate, with time, name and pid.

`LineBuffer` and `RateLimit` know no descriptors; `Output` writes for the supervisor and never blocks it. Children
are not trusted: a control character is shown as \\xNN, so that no output can steer a terminal or forge the
beginning of a line.
"""

from __future__ import annotations

import re
import time
from collections import deque

from framework.process.printable import printable
from framework.process.sinks import LEVELS, LogError, Lost, Sink, Stream

__all__ = ["LineBuffer", "Output", "RateLimit", "level_of", "printable"]

MAX_LINE_BYTES = 8192
"""Longer lines are cut; the rest of the line is counted, not kept."""

LINES_PER_SECOND = 200
BURST = 10
LINES_AT_ONCE = LINES_PER_SECOND * BURST
"""A child may print so many lines a second in the long run (`log_rate`), BURST times that at once; the rest is counted
and told."""

MAX_QUEUED_BYTES = 1 << 20
"""Output that waits for a slow reader; what comes on top is counted and told when the reader is back."""

END_OF_WRITER = b"\0"
"""What the parent of a worker writes for it, with an end of line, when it has ended: the next one begins a new line."""

_WORDS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "ERROR": "error", "CRITICAL": "critical"}
_PREFIX = re.compile(r"<([0-7])>")


def level_of(line: str, usual: str, before: str) -> tuple[str, str]:
    """How urgent a line of output is, and its text.

    `<3>` in front (sd-daemon(3)) says it and is taken away; the first word may be a level of Python's logging; an
    indented line goes with the one before; others are as `usual` for their stream.

    >>> level_of("<4>disk is slow", "info", "info")
    ('warning', 'disk is slow')
    """
    prefix = _PREFIX.match(line)
    if prefix:
        return LEVELS[int(prefix[1])], line[3:]
    if line[:1] in (" ", "\t"):
        return before, line
    return _WORDS.get(line.partition(" ")[0].rstrip(":"), usual), line


class LineBuffer:
    """Bytes in, whole lines out. Holds at most MAX_LINE_BYTES, whatever comes in.

    A line that ends with END_OF_WRITER is what a worker left that ended within it; alone it is none at all.
    """

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
            if self._partial != END_OF_WRITER:
                lines.append(self._take())
            self._partial = b""
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
        text = printable(
            self._partial.removesuffix(END_OF_WRITER).removesuffix(b"\r").decode("utf-8", "backslashreplace")
        )
        if self._cut:
            text += f" … ({self._cut} bytes cut)"
        self._partial, self._cut = b"", 0
        return text


class RateLimit:
    """A bucket of BURST times `rate` lines, filled by `rate` a second; 0 is no limit. `now` is of any steady clock."""

    __slots__ = ("_last", "_level", "_rate", "dropped")

    def __init__(self, now: float, rate: int = LINES_PER_SECOND) -> None:
        self._rate = rate
        self._level = float(rate * BURST)
        self._last = now
        self.dropped = 0

    def take(self, now: float) -> bool:
        """Whether one more line may pass; a refused one is counted in `dropped`."""
        if not self._rate:
            return True
        self._level = min(float(self._rate * BURST), self._level + (now - self._last) * self._rate)
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
    """Lines to one sink, queued up to MAX_QUEUED_BYTES while it takes none. `lost` counts those that it never took."""

    def __init__(self, descriptor: int = 1, sink: Sink | None = None) -> None:
        self._sink = sink if sink is not None else Stream(descriptor)
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._untold = 0
        self._reason = ""
        self.lost = 0

    @property
    def where(self) -> str:
        """Where it goes, for people."""
        return self._sink.name

    def write(self, name: str, pid: int | None, text: str, level: str = "info") -> None:
        """One line: local time with milliseconds, level, who, what."""
        self._put(self._sink.format(name, pid, level, text))

    def line(self, text: str) -> None:
        """One line as it is."""
        self._put(self._sink.format("", None, "info", text))

    def _put(self, data: bytes) -> None:
        if self._queued + len(data) > MAX_QUEUED_BYTES:
            self._lose("the reader of this log was too slow")
        else:
            self._queue.append(data)
            self._queued += len(data)
        self.pump()

    def _lose(self, reason: str) -> None:
        if self._reason != reason and reason.startswith(self.where):  # nobody can read it there
            _complain(f"sitectl: log {reason}; lines are lost until there is room\n")
        self._untold += 1
        self.lost += 1
        self._reason = reason

    @property
    def waiting(self) -> bool:
        """Whether lines are queued for a reader that takes none."""
        return bool(self._queue)

    def pump(self) -> None:
        """Write what the sink takes without blocking."""
        while self._queue:
            data = self._queue.popleft()
            self._queued -= len(data)
            try:
                written = self._sink.take(data)
            except BlockingIOError:
                written = 0
            except Lost as lost:
                self._lose(str(lost))
                continue
            except OSError:  # the reader is gone: a site goes on without its log
                continue
            rest = data[written:]
            if rest:
                self._queue.appendleft(rest)
                self._queued += len(rest)
                if not written:
                    return
            elif self._untold and not self._queue:
                self._tell_lost()

    def _tell_lost(self) -> None:
        lost, reason = self._untold, self._reason
        self._untold, self._reason = 0, ""
        self.line(f"({lost} lines lost: {reason})")

    def reopen(self) -> None:
        """Open a log file again under its name, after it was moved; where that fails the old one goes on."""
        try:
            self._sink.reopen()
            self.write("supervisor", None, "the log was opened again")
        except LogError as error:
            self.write("supervisor", None, f"{error}; the old one goes on", "error")

    def drain(self, seconds: float) -> None:
        """Wait at most so long for the reader to take what is queued."""
        deadline = time.monotonic() + seconds
        while self._queue and (left := deadline - time.monotonic()) > 0:
            if self._sink.wait(left):
                before = self._queued
                self.pump()
                if self._queued == before:  # ready, and takes nothing: the journal is away
                    time.sleep(0.05)


def _complain(text: str) -> None:
    """To standard error, where somebody reads it."""
    try:
        Stream(2).take(text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass
