"""What the supervisor waits for: descriptors and signals, by one epoll; it sleeps until one of them has something."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterable

__all__ = ["Poller"]


class Poller:
    """Descriptors with what is to be done when they are readable.

    >>> poller.watch(reader, read)
    >>> poller.wait(-1)  # until something comes
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._acts: dict[int, Callable[[], object]] = {}

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

    def catch(self, numbers: Iterable[int], act: Callable[[int], object]) -> None:
        """Have `act` called with each of these signals from `wait`, not where the program stands when it comes."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in numbers:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

        def read() -> None:
            for number in os.read(reader, 256):
                act(number)

        self.watch(reader, read)

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        self._epoll.close()
