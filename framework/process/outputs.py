"""What each worker of a back end prints goes to pipes of its own, so that the lines of two are never mixed.

The supervisor makes two for each worker; the back end passes them on when it forks. Whole lines would be safe in a
shared pipe up to PIPE_BUF bytes (pipe(7)), but `print` and tracebacks are written in pieces.
"""

from __future__ import annotations

import os
import select

__all__ = ["WorkerOutputs"]

END_OF_WRITER = b"\0\n"  # framework.process.logs.END_OF_WRITER; that module is the supervisor's


class WorkerOutputs:
    """The writing ends from descriptor `first` on: standard output and error of worker 0, of worker 1, and so on."""

    def __init__(self, first: int, workers: int) -> None:
        self._first = first
        self._workers = workers
        for number in self._all():
            os.set_inheritable(number, False)

    def take(self, worker: int) -> None:
        """In a worker: print to its own from now on, and leave those of the others alone."""
        for index in (0, 1):
            os.dup2(self._first + 2 * worker + index, index + 1)
        for number in self._all():
            os.close(number)

    def end(self, worker: int) -> None:
        """In the parent: a worker has ended, perhaps within a line. Never waits for a reader."""
        for index in (0, 1):
            number = self._first + 2 * worker + index
            poller = select.poll()
            poller.register(number, select.POLLOUT)
            if any(events & select.POLLOUT for _, events in poller.poll(0)):
                os.write(number, END_OF_WRITER)

    def _all(self) -> range:
        return range(self._first, self._first + 2 * self._workers)
