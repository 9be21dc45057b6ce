"""A timer of the kernel for a worker loop: its descriptor is readable every so many seconds (timerfd_create(2)).

The loop has no clock to look at for it, so a request costs nothing more; and what it calls comes from the loop alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

__all__ = ["Pulse"]


class Pulse:
    """Calls `act` about every `seconds` where it is called itself whenever its descriptor is readable. Raises OSError.

    >>> pulse = Pulse(30.0, say_alive)
    >>> loop = WorkerLoop(listener, application, pulse=(pulse.fileno(), pulse))
    """

    def __init__(self, seconds: float, act: Callable[[], object]) -> None:
        self._act = act
        self._fd = _timer(seconds)

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._fd

    def __call__(self) -> None:
        """Take notice of the time that has passed, and act."""
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        self._act()

    def close(self) -> None:
        """Give the timer back."""
        os.close(self._fd)


def _timer(seconds: float) -> int:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    # Blocking and close-on-exec have the same numbers for timers as for files.
    number = int(library.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    whole, rest = int(seconds), max(int(seconds % 1 * 1e9), int(seconds < 1))
    times = (ctypes.c_long * 4)(whole, rest, whole, rest)  # the interval, then the first time: seconds and nanoseconds
    if number < 0 or library.timerfd_settime(number, 0, times, None) < 0:
        error = ctypes.get_errno()
        if number >= 0:
            os.close(number)
        raise OSError(error, f"timerfd: {os.strerror(error)}")
    return number
