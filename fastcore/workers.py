"""Several worker processes on one listener: forked, watched, started again with back-off, ended together.

The parent only waits for signals and children; it serves nothing. When it is gone, even by SIGKILL, its workers drain.
"""

from __future__ import annotations

import gc
import os
import sys
import time

from fastcore.log import LimitedLog, stderr_log, unfailing

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Collection, Iterable

    from fastcore.log import Log
else:
    import _signal as signal  # the same without its enums, which cost every server 0.7 MB

FIRST_DELAY = 0.1  # seconds before a worker that died young is started again; doubled each time
LONGEST_DELAY = 30.0
GROWN_UP = 10.0  # seconds: a worker that lived longer is started again at once
FORCED_WAIT = 5.0  # seconds from the second signal until what has not ended is killed

SERVED = 86  # exit status of a worker that has served its time; an application that calls exit() has another

END_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)  # sent to a whole group; the parent passes them on


class Prefork:
    """Runs `work(lifeline, number)` in `count` forked processes until told to end.

    `work` is called in each child with a descriptor that becomes readable when the parent is gone, and the lowest
    number from 0 that no other child has; `on_end(number)` is called in the parent when that one has ended. The child
    ends when it returns, and another takes its place: at once where it returned 0, so had served its time; else, and
    after any other end, with back-off. The signals of `end_signals` are passed on as SIGTERM: the first drains, the
    second forces, and what has not ended some seconds later is killed. One that this process ignores (nohup's SIGHUP)
    stays ignored. `on_stop` is called in the parent when the first has come; `heartbeat` is a time in seconds and what
    the parent calls so often.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[int, int], object],
        log: Log = stderr_log,
        end_signals: Collection[signal.Signals] = END_SIGNALS,
        on_end: Callable[[int], object] = lambda _number: None,
        on_stop: Callable[[], object] | None = None,
        heartbeat: tuple[float, Callable[[], object]] | None = None,
    ) -> None:
        if count < 1:
            raise ValueError(f"a server needs one worker at least, not {count}")
        self._count = count
        self._work = work
        self._on_end = on_end
        self._on_stop = on_stop
        self._beat_every, self._beat = heartbeat if heartbeat is not None else (3600.0, lambda: None)
        self._beat_at = time.monotonic() + self._beat_every
        self._log = unfailing(log)
        self._mention = LimitedLog(self._log)
        heeded = [number for number in end_signals if signal.getsignal(number) != signal.SIG_IGN]
        self._signals = frozenset({signal.SIGCHLD, *heeded})
        self._ended_by = 0
        self._retiring: set[int] = set()  # pids of those that end because they are not needed
        self._born: dict[int, float] = {}  # pid → seconds (monotonic)
        self._numbers: dict[int, int] = {}  # pid → its number
        self._delay = 0.0
        self._start_at = 0.0
        self._ending = False
        self._force_at = self._kill_at = 0.0  # seconds (monotonic); 0 for never
        self._lifeline, self._lifeline_end = os.pipe()

    def run(self) -> int:
        """Fork the workers and stay until all have ended after a signal; returns the first one's number."""
        gc.collect()
        gc.freeze()  # pages shared with the children stay shared
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        on_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would neither come nor leave a status
        try:
            while self._born or not self._ending:
                if not self._ending:
                    self._start_missing(mask)
                self._wait()
        finally:
            for pid in self._born:
                os.kill(pid, signal.SIGKILL)
            if on_child is not None:
                signal.signal(signal.SIGCHLD, on_child)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(self._lifeline)
            os.close(self._lifeline_end)
            gc.unfreeze()
        return self._ended_by

    def _start_missing(self, mask: set[int | signal.Signals]) -> None:
        while (numbers := self._missing()) and time.monotonic() >= self._start_at:
            sys.stdout.flush()
            sys.stderr.flush()
            number = min(numbers)
            try:
                pid = os.fork()
            except OSError as error:  # the workers that are there go on
                self._put_off(0.0, f"cannot start a worker: {error.strerror}; trying again")
                return
            if not pid:
                self._be_worker(number, mask)
            self._born[pid], self._numbers[pid] = time.monotonic(), number

    def _missing(self) -> set[int]:
        """The numbers of which one more worker may have one; none where there are enough."""
        return set(range(self._count)).difference(self._numbers.values())

    def _be_worker(self, number: int, mask: set[int | signal.Signals]) -> None:
        status = 1
        try:
            os.close(self._lifeline_end)
            for end_signal in self._signals.intersection(_FROM_TERMINAL):
                signal.signal(end_signal, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            ended_by = self._work(self._lifeline, number)
            status = 0 if ended_by else SERVED
        except BaseException:
            import traceback

            self._log(f"the worker failed\n{traceback.format_exc().rstrip()}")
        finally:
            os._exit(status)

    def _wait(self) -> None:
        timeout = 3600.0
        if not self._ending and self._missing():
            timeout = max(self._start_at - time.monotonic(), 0)
        elif self._kill_at:
            timeout = max((self._force_at or self._kill_at) - time.monotonic(), 0)
        timeout = min(timeout, max(self._beat_at - time.monotonic(), 0))
        heard = self._sleep(timeout + 0.001)
        if time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + self._beat_every
            self._beat()
        for number in heard:
            if number == signal.SIGCHLD:
                continue
            if not self._ended_by and self._on_stop is not None:
                self._on_stop()
            self._ended_by = self._ended_by or number
            self._end()
        self._reap()
        if self._force_at and time.monotonic() >= self._force_at:
            self._force_at = 0.0
            self._end()  # a busy worker may have taken two signals for one
        if self._kill_at and time.monotonic() >= self._kill_at:
            self._kill()

    def _sleep(self, seconds: float) -> Iterable[int]:
        """Wait at most so long; returns the signals that came."""
        info = signal.sigtimedwait(self._signals, seconds)
        return () if info is None else (info.si_signo,)

    def _end(self) -> None:
        if self._ending and not self._kill_at:
            self._kill_at = time.monotonic() + FORCED_WAIT
            self._force_at = self._kill_at - FORCED_WAIT / 2
        self._ending = True
        for pid in self._born:
            os.kill(pid, signal.SIGTERM)

    def _kill(self) -> None:
        """A call that never comes back into Python hears no signal but this one."""
        self._force_at = self._kill_at = 0.0
        for pid in self._born:
            self._log(f"worker {pid} does not end: killed")
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._born:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            born = self._born.pop(pid, None)
            if born is not None:
                self._on_end(self._numbers.pop(pid))
            if born is None or self._ending:
                continue
            code = os.waitstatus_to_exitcode(status)
            if pid in self._retiring or self._is_surplus(code):
                self._retiring.discard(pid)
                continue
            if code == SERVED:  # no reason to wait
                self._start_at = 0.0
                self._mention(f"worker {pid} has ended; a new one takes its place")
                continue
            cause = f"was killed by {_name(-code)}" if code < 0 else f"exited with status {code}"
            self._put_off(time.monotonic() - born, f"worker {pid} {cause}; a new one starts")

    def _is_surplus(self, code: int) -> bool:
        """Whether a worker that ended by itself with this exit code leaves its place empty."""
        return False

    def _put_off(self, lived: float, what: str) -> None:
        """No worker is started for a while, the longer the oftener that was so."""
        self._delay = self._next_delay(lived)
        self._start_at = time.monotonic() + self._delay
        self._log(f"{what} in {self._delay:g} s")

    def _next_delay(self, lived: float) -> float:
        if lived > GROWN_UP:
            return 0.0
        return min(max(self._delay * 2, FIRST_DELAY), LONGEST_DELAY)


def _name(number: int) -> str:
    """SIGKILL; of a real-time signal that has no name its number. Nothing is imported: there may be no descriptors."""
    names = (name for name in dir(signal) if name.startswith("SIG") and "_" not in name)
    return next((name for name in names if getattr(signal, name) == number), f"signal {number}")
