"""What the supervisor waits for: descriptors and signals, by one epoll; it sleeps until one of them has something."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from functools import partial

__all__ = ["Poller", "collect"]

PIECE = 65536


class Poller:
    """Descriptors with what is to be done when they are readable.

    >>> poller.watch(reader, read)
    >>> poller.wait(-1)  # until something comes
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._acts: dict[int, Callable[[], object]] = {}
        self._wakeup: tuple[int, ...] = ()

    def watch(self, number: int, act: Callable[[], object]) -> None:
        """From now on `act` is called when the descriptor is readable."""
        self._epoll.register(number, select.EPOLLIN)
        self._acts[number] = act

    def unwatch(self, number: int) -> None:
        """No more of that descriptor, while it is still open; one that is not watched is left alone."""
        if self._acts.pop(number, None) is not None:
            self._epoll.unregister(number)

    def wait(self, seconds: float) -> None:
        """Wait at most so long (negative: without end), then act on what has come."""
        for number, _ in self._epoll.poll(seconds):
            act = self._acts.get(number)
            if act is not None:
                act()

    def work_off(self, deadline: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Wait and act until nothing is watched any more, or `until` says so; False where the deadline came first."""
        while self._acts and not until():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.wait(left)
        return True

    def catch(self, numbers: Iterable[int], act: Callable[[int], object]) -> None:
        """Have `act` called with each of these signals from `wait`, not where the program stands when it comes."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in numbers:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

        def read() -> None:
            for number in os.read(reader, 256):
                act(number)

        self._wakeup = (reader, writer)
        self.watch(reader, read)

    def close(self) -> None:
        if self._wakeup:
            signal.set_wakeup_fd(-1)
        self._epoll.close()
        for number in self._wakeup:
            os.close(number)
        self._wakeup = ()


def collect(ends: Iterable[int], seconds: float, limit: int, until: int | None = None) -> dict[int, bytes]:
    """What comes from these descriptors until all end, or that one does; of each the last `limit` bytes.

    Raises TimeoutError where that takes longer, however much comes meanwhile. The descriptors stay open.

    >>> collect([started.output, started.errors], 30.0, 4096)[started.output]
    b'done\\n'
    """
    received = dict.fromkeys(ends, b"")
    ended: set[int] = set()
    poller = Poller()

    def read(number: int) -> None:
        data = os.read(number, PIECE)
        received[number] = (received[number] + data)[-limit:]
        if not data:
            ended.add(number)
            poller.unwatch(number)

    try:
        for number in received:
            poller.watch(number, partial(read, number))
        if not poller.work_off(time.monotonic() + seconds, lambda: until in ended):
            raise TimeoutError(f"longer than {seconds:g} s")
    finally:
        poller.close()
    return received
