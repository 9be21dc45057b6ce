"""As many workers as there is work for, between a least and a most number.

The parent looks at the scoreboard when connections come, 20 times a second at most, and at nothing while nobody asks:
what wakes it is the listener itself, watched for one event at a time. Another worker is started when all are busy and a
connection waits, or when all are busy at two looks; one that has been idle for long enough ends.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time

from fastcore import scoreboard
from fastcore.workers import Prefork

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from fastcore.scoreboard import Worker

SETTLE = 0.05
"""Seconds from the sign of a connection to the look whether a worker has taken it."""

AGAIN = 0.1
"""Seconds between two looks while all workers are busy: so fast does their number grow."""


class Scaling:
    """What to do with so many workers; no processes here, time comes as an argument.

    least, most  how many there are at least and at most
    idle_exit    seconds after which one that has nothing to do may end
    """

    def __init__(self, least: int, most: int, idle_exit: float) -> None:
        if not 1 <= least <= most:
            raise ValueError(f"min_workers is from 1 to workers, not {least} of {most}")
        self.least, self.most, self.idle_exit = least, most, idle_exit
        self.wanted = least
        self.next_look = 0.0  # of the clock that `look` is given; 0 for none before a connection comes
        self._all_were_busy = False

    def look(self, workers: Iterable[Worker], waiting: bool, now: float) -> list[int]:
        """Decide how many are wanted, and when to look again; returns the pids of those that may end.

        waiting  whether a connection waits in the listener
        """
        present = [worker for worker in workers if worker.state not in ("none", "ending")]
        busy = [worker for worker in present if worker.state == "handling"]  # beside reading it can take another
        if present and len(busy) >= self.wanted:
            if self.wanted < self.most and (waiting or self._all_were_busy):
                self.wanted += 1
            self._all_were_busy = True
            self.next_look = now + AGAIN if self.wanted < self.most else now + self.idle_exit
            return []
        self._all_were_busy = False
        surplus = self.wanted - self.least
        idle = sorted((worker for worker in present if worker.state == "idle"), key=lambda each: -each.seconds)
        ending = [worker.pid for worker in idle if worker.seconds >= self.idle_exit][: max(surplus, 0)]
        self.wanted -= len(ending)
        rest = [worker.seconds for worker in idle if worker.pid not in ending]
        more = self.wanted > self.least
        self.next_look = now + max(self.idle_exit - max(rest, default=0.0), SETTLE) if more else 0.0
        return ending


class Elastic(Prefork):
    """Workers whose number follows the work: `Prefork` with the listener, the scoreboard and `Scaling`."""

    def __init__(
        self,
        scaling: Scaling,
        listener: socket.socket,
        board: int,
        work: Callable[[int, int], object],
        *rest: Any,
    ) -> None:
        super().__init__(scaling.most, work, *rest)
        self._scaling = scaling
        self._listener = listener
        self._board = board
        self._epoll = select.epoll()
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._reader, select.EPOLLIN)
        self._epoll.register(listener, 0)
        self._armed = False

    def run(self) -> int:
        """See `Prefork.run`."""
        before = {number: signal.signal(number, lambda *_: None) for number in self._signals - {signal.SIGCHLD}}
        wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        try:
            return super().run()
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._epoll.close()
            os.close(self._reader)
            os.close(self._writer)

    def _missing(self) -> set[int]:
        if len(self._born) - len(self._retiring) >= self._scaling.wanted:
            return set()
        return super()._missing()

    def _is_surplus(self, code: int) -> bool:
        """One that was told to end by somebody else, who has his reasons (a memory budget)."""
        if code != 0 or self._scaling.wanted <= self._scaling.least:
            return False
        self._scaling.wanted -= 1
        return True

    def _be_worker(self, number: int, mask: set[int | signal.Signals]) -> None:
        signal.set_wakeup_fd(-1)
        for number_of_signal in self._signals:
            signal.signal(number_of_signal, signal.SIG_DFL)
        self._epoll.close()
        os.close(self._reader)
        os.close(self._writer)
        super()._be_worker(number, mask)

    def _sleep(self, seconds: float) -> Iterable[int]:
        if self._ending:
            self._watch(False)
        elif self._scaling.next_look:
            seconds = min(seconds, max(self._scaling.next_look - time.monotonic(), 0.0) + 0.001)
        else:
            self._watch(self._scaling.wanted < self._scaling.most)
        # SIGCHLD has a handler while it may come: without one it would not end the wait.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)
        try:
            events = self._epoll.poll(seconds)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        now = time.monotonic()
        heard: Iterable[int] = ()
        for descriptor, _ in events:
            if descriptor == self._reader:
                heard = os.read(self._reader, 256)
            else:
                self._armed = False
                self._scaling.next_look = min(self._scaling.next_look or now + SETTLE, now + SETTLE)
        if self._scaling.next_look and now >= self._scaling.next_look and not self._ending:
            self._look(now)
        return heard

    def _look(self, now: float) -> None:
        poller = select.poll()
        poller.register(self._listener, select.POLLIN)
        workers = [each for each in scoreboard.read(self._board) if each.pid not in self._retiring]
        for pid in self._scaling.look(workers, bool(poller.poll(0)), now):
            if pid in self._born:
                self._retiring.add(pid)
                os.kill(pid, signal.SIGTERM)
        if self._scaling.wanted < self._scaling.most:
            self._watch(True)

    def _watch(self, wanted: bool) -> None:
        """Look out for one connection, or for none."""
        if wanted != self._armed:
            self._epoll.modify(self._listener, select.EPOLLIN | select.EPOLLONESHOT if wanted else 0)
            self._armed = wanted
